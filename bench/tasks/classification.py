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
    """Whether the label is the best class, and among the best five: boolean (N,) arrays.

    seen: which images of the set these are, boolean, in the set's order; None where all.
    """

    top1: "np.ndarray"
    top5: "np.ndarray"
    seen: "np.ndarray | None" = None


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
    in_parts = True

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
        from bench.statistics.sequences import accuracy_sequence

        correct, correct_top5, total = _count(items.top1), _count(items.top5), len(items.top1)
        low, high = wilson_interval(correct, total)
        part: dict[str, Any] = {}
        if items.seen is not None:  # it may have ended where it suited
            part = {"part_of": len(items.seen)}
            low, high = accuracy_sequence(correct, total, len(items.seen))
        return {
            "top1": 100 * correct / total,
            "top5": 100 * correct_top5 / total,
            "correct": correct,
            "correct_top5": correct_top5,
            "total": total,
            "ci_low": low,
            "ci_high": high,
            **part,
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
            **_packed(items.seen),
        )

    def read(self, folder: Path) -> Correctness:
        import numpy as np

        with np.load(folder / self.file) as packed:
            bits, total = [packed[name] for name in ("top1", "top5")], int(packed["total"])
            seen = packed.get("seen"), packed.get("part_of")
        top1, top5 = (np.unpackbits(each, count=total).astype(bool) for each in bits)
        if seen[0] is None:
            return Correctness(top1, top5)
        return Correctness(top1, top5, np.unpackbits(seen[0], count=int(seen[1])).astype(bool))

    def misfit(self, items: Correctness, recorded: Mapping[str, Any]) -> str | None:
        counts = _count(items.top1), _count(items.top5), len(items.top1)
        in_record = recorded["correct"], recorded["correct_top5"], recorded["total"]
        seen, part_of = items.seen, recorded.get("part_of")
        here = (None, None) if seen is None else (len(seen), _count(seen))
        there = (None, None) if part_of is None else (part_of, recorded["total"])
        if counts == in_record and here != there:
            return f"{here[1]} of {here[0]} images seen and its record {there[1]} of {there[0]}"
        if counts == in_record:
            return None
        return (
            f"{counts[0]} (top-5: {counts[1]}) of {counts[2]} images right and its record "
            f"{in_record[0]} ({in_record[1]}) of {in_record[2]}"
        )

    def counted(self, recorded: Mapping[str, Any]) -> str:
        return f"{self.in_words(recorded)}, top-5 {recorded['correct_top5']}"

    def in_words(self, recorded: Mapping[str, Any]) -> str:
        words = f"{recorded['correct']}/{recorded['total']}"
        part_of = recorded.get("part_of")
        return words if part_of is None else f"{words} of {part_of:,}"

    def against_float(self, before: Correctness, now: Correctness) -> dict[str, Any]:
        from bench.statistics.bets import drop_of
        from bench.tasks.parts import sample

        if _size(before) != _size(now):
            return {}
        first, second = self.common([before, now])
        flips = {
            "lost": _count(first.top1 & ~second.top1),
            "gained": _count(~first.top1 & second.top1),
        }
        if now.seen is None or before.seen is not None:
            return flips
        drop = drop_of(sample(before, now))
        return flips | {"drop_low": drop.low, "drop_high": drop.high}

    def common(self, cells: Sequence[Correctness]) -> list[Correctness]:
        if all(cell.seen is None for cell in cells):
            return list(cells)
        from bench.tasks.parts import common

        return common(cells)

    def changed(self, first: Correctness, second: Correctness) -> int:
        first, second = self.common([first, second])
        return _count(first.top1 != second.top1)

    def difference(self, first: Correctness, second: Correctness) -> str | None:
        if _size(first) != _size(second):
            return "not as many images"
        first, second = self.common([first, second])
        top1, top5 = _count(first.top1 != second.top1), _count(first.top5 != second.top5)
        return f"{top1} images differ in top-1, {top5} in top-5" if top1 or top5 else None

    def compare(self, first: Sequence[Correctness], second: Sequence[Correctness]) -> "Difference":
        from bench.statistics.significance import Difference, compare_cells, compare_seeds

        cells = self.common([*first, *second])
        a, b = _stacked(cells[: len(first)]), _stacked(cells[len(first) :])
        if len(a) == 1:
            return compare_cells(a[0], b[0])
        if a.shape[1] == 1:  # which has no variance over images
            return Difference(100 * float(a.mean() - b.mean()), -100.0, 100.0, 1.0)
        return compare_seeds(a, b)

    def mean(self, seeds: Sequence[Correctness]) -> float:
        return 100 * float(_stacked(self.common(seeds)).mean())


def _stacked(seeds: Sequence[Correctness]) -> "np.ndarray":
    """Return (seeds, images) of whether the best class was right."""
    import numpy as np

    return np.stack([items.top1 for items in seeds])


def _size(items: Correctness) -> int:
    """Return how many images the set has, seen or not."""
    return len(items.top1 if items.seen is None else items.seen)


def _packed(seen: "np.ndarray | None") -> dict[str, Any]:
    """Return what a file says of which images were seen: nothing where all were."""
    import numpy as np

    return {} if seen is None else {"seen": np.packbits(seen), "part_of": np.int64(len(seen))}


def _count(right: "np.ndarray") -> int:
    import numpy as np

    return int(np.count_nonzero(right))
