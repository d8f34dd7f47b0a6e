"""One label an image: whether it is the best class, and among the best five."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.data.outputs import check_outputs
from bench.tasks.base import Metric, Task
from models.errors import BenchError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

    from bench.data.listing import Listing
    from bench.statistics.significance import Difference
    from bench.tasks.labels import Labels


class Correctness(NamedTuple):
    """Whether the label is the best class, and among the best five: boolean (N,) arrays."""

    top1: "np.ndarray"
    top5: "np.ndarray"


class Classification(Task):
    """Items are `Correctness`, stored as one bit an image; the headline is top-1."""

    name = "classification"
    doing = "classifies"
    headline = Metric(
        key="top1",
        title="top-1",
        of_float="fp32_top1",
        interval="Wilson interval",
        test="exact McNemar test and bootstrap over images",
    )
    counts = ("correct", "correct_top5", "total")
    file = "correct.npz"

    def identity(self) -> dict[str, str]:
        """Return nothing: cells had ids before there was a choice."""
        return {}

    def check(self, listing: "Listing", outputs: int | None) -> None:
        if listing.truths is not None:
            raise BenchError(
                f"{listing.name} has boxes to be found, and the network classifies; choose a data "
                "set of one label an image, or a network that detects"
            )
        check_outputs(listing, outputs)

    def collector(
        self, listing: "Listing", network: "nn.Module", device: "torch.device"
    ) -> "Labels":
        from bench.tasks.labels import Labels

        return Labels(listing, device)

    def measured(self, items: Correctness) -> dict[str, Any]:
        from bench.statistics.intervals import wilson_interval

        (correct, correct_top5), total = map(_count, items), len(items.top1)
        low, high = wilson_interval(correct, total)
        return {
            "top1": 100 * correct / total,
            "top5": 100 * correct_top5 / total,
            "correct": correct,
            "correct_top5": correct_top5,
            "total": total,
            "ci_low": low,
            "ci_high": high,
        }

    def doubts(self, low: float, outputs: int) -> list[str]:
        if low > 100 / outputs:
            return []
        return [
            f"the float network is no better than guessing one of {outputs} classes; look at its "
            "weights, its preprocessing and the order of the classes"
        ]

    def save(self, folder: Path, items: Correctness) -> None:
        import numpy as np

        np.savez(
            folder / self.file,
            top1=np.packbits(items.top1),
            top5=np.packbits(items.top5),
            total=np.int64(len(items.top1)),
        )

    def read(self, folder: Path) -> Correctness:
        import numpy as np

        with np.load(folder / self.file) as packed:
            bits, total = [packed[name] for name in Correctness._fields], int(packed["total"])
        return Correctness(*(np.unpackbits(each, count=total).astype(bool) for each in bits))

    def misfit(self, items: Correctness, recorded: Mapping[str, Any]) -> str | None:
        counts = *map(_count, items), len(items.top1)
        in_record = recorded["correct"], recorded["correct_top5"], recorded["total"]
        if counts == in_record:
            return None
        return (
            f"{counts[0]} (top-5: {counts[1]}) of {counts[2]} images right and its record "
            f"{in_record[0]} ({in_record[1]}) of {in_record[2]}"
        )

    def counted(self, recorded: Mapping[str, Any]) -> str:
        return f"{self.in_words(recorded)}, top-5 {recorded['correct_top5']}"

    def in_words(self, recorded: Mapping[str, Any]) -> str:
        return f"{recorded['correct']}/{recorded['total']}"

    def against_float(self, before: Correctness, now: Correctness) -> dict[str, Any]:
        if len(before.top1) != len(now.top1):
            return {}
        return {
            "lost": _count(before.top1 & ~now.top1),
            "gained": _count(~before.top1 & now.top1),
        }

    def changed(self, first: Correctness, second: Correctness) -> int:
        return _count(first.top1 != second.top1)

    def difference(self, first: Correctness, second: Correctness) -> str | None:
        if any(a.shape != b.shape for a, b in zip(first, second, strict=True)):
            return "not as many images"
        top1, top5 = (_count(a != b) for a, b in zip(first, second, strict=True))
        return f"{top1} images differ in top-1, {top5} in top-5" if top1 or top5 else None

    def compare(self, first: Sequence[Correctness], second: Sequence[Correctness]) -> "Difference":
        from bench.statistics.significance import Difference, compare_cells, compare_seeds

        a, b = _stacked(first), _stacked(second)
        if len(a) == 1:
            return compare_cells(a[0], b[0])
        if a.shape[1] == 1:  # which has no variance over images
            return Difference(100 * float(a.mean() - b.mean()), -100.0, 100.0, 1.0)
        return compare_seeds(a, b)

    def mean(self, seeds: Sequence[Correctness]) -> float:
        return 100 * float(_stacked(seeds).mean())


def _stacked(seeds: Sequence[Correctness]) -> "np.ndarray":
    """Return (seeds, images) of whether the best class was right."""
    import numpy as np

    return np.stack([items.top1 for items in seeds])


def _count(right: "np.ndarray") -> int:
    import numpy as np

    return int(np.count_nonzero(right))
