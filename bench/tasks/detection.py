"""Objects in an image, by boxes and masks: which are found, and how well, as COCO rates it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.statistics.coco import LARGEST
from bench.tasks.base import Metric, Task
from models.errors import BenchError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

    from bench.data.listing import Listing
    from bench.statistics.average_precision import Detections, Truth
    from bench.statistics.significance import Difference
    from bench.tasks.boxes import Boxes

RESAMPLES = 1000
SEED = 0
"""Of the draws of images, the same for all cells: differences are paired."""

_RESAMPLES = f"resamples_{RESAMPLES}_{SEED}"  # those of other draws are not taken for these
_KINDS = ("truth", "found")
_TRUTH = ("boxes", "classes", "crowd", "areas")
_FOUND = ("boxes", "scores", "classes")


@dataclass(frozen=True, eq=False)
class Detected:
    """What is to be found in each image, and what was, in evaluation order.

    With the truths, so that cells can be compared where their images are not. What takes a second
    or two to be found is kept with the boxes, so that comparing a hundred cells takes none.
    Where masks are rated too, all objects and all that is found have theirs.

    kept_map, kept_resamples: `map` and `resampled`, None where they are to be found yet.
    """

    truths: tuple["Truth", ...]
    found: tuple["Detections", ...]
    kept_map: float | None = None
    kept_resamples: "np.ndarray | None" = None

    @cached_property
    def coco(self) -> dict[str, float | None]:
        """COCO's 12 numbers, in percent; None where there is no object of their size."""
        from bench.statistics.average_precision import coco_numbers

        return coco_numbers(self.truths, self.found)

    @cached_property
    def masks(self) -> dict[str, float | None] | None:
        """The same twelve of masks; None where something has none."""
        from bench.statistics.average_precision import coco_numbers

        return coco_numbers(self.truths, self.found, "mask") if self.has_masks else None

    @property
    def has_masks(self) -> bool:
        masks = [*(truth.masks for truth in self.truths), *(found.masks for found in self.found)]
        return all(of_image is not None for of_image in masks)

    @cached_property
    def resampled(self) -> "np.ndarray":
        """mAP in percent of resamples of the images, (RESAMPLES,): the same draws in all cells."""
        from bench.statistics.average_precision import bootstrap

        if self.kept_resamples is not None:
            return self.kept_resamples
        return bootstrap(self.truths, self.found, SEED, RESAMPLES)

    @property
    def map(self) -> float:
        value = self.coco["map"] if self.kept_map is None else self.kept_map
        assert value is not None  # `Detection.check` refuses images without objects
        return value


class Detection(Task):
    """Items are the boxes found, `Detected`; the headline is mAP, its interval a bootstrap's."""

    name = "detection"
    doing = "detects"
    headline = Metric(
        key="map",
        title="mAP",
        of_float="fp32_map",
        interval="bootstrap interval over images",
        test="t-test and percentiles of a paired bootstrap over images",
    )
    counts = ("map", "boxes", "objects", "total")
    file = "detections.npz"

    def check(self, listing: "Listing", outputs: int | None) -> None:
        truths = listing.truths
        if truths is None:
            raise BenchError(
                f"{listing.name} has labels and no boxes, and the network detects; choose a data "
                "set of boxes, or a network that classifies"
            )
        # A crowd is none, and what is larger than any size that COCO rates is not either.
        if not any((~truth.crowd & (truth.areas <= LARGEST)).any() for truth in truths):
            raise BenchError(
                f"no image of the {listing.side} side of {listing.name} has an object to be found; "
                "look at the annotations, or raise data.limit"
            )

    def collector(
        self, listing: "Listing", network: "nn.Module", device: "torch.device"
    ) -> "Boxes":
        from bench.tasks.boxes import Boxes

        self.check(listing, None)  # once more: images may have been left out since
        return Boxes(listing, network)

    def measured(self, items: Detected) -> dict[str, Any]:
        from bench.statistics.resamples import percentile_interval

        low, high = percentile_interval(items.map, items.resampled)
        numbers: dict[str, Any] = {**items.coco}
        if items.has_masks:
            numbers["masks"] = items.masks
        return numbers | {
            "boxes": sum(len(found.scores) for found in items.found),
            "objects": sum(len(truth.classes) for truth in items.truths),
            "total": len(items.truths),
            "ci_low": max(low, 0.0),
            "ci_high": min(high, 100.0),
        }

    def doubts(self, low: float, outputs: int) -> list[str]:
        if low > 0:
            return []
        return [
            "the float network finds as good as nothing; look at its weights, its preprocessing "
            "and the category ids"
        ]

    def save(self, folder: Path, items: Detected) -> None:
        import numpy as np

        from bench.statistics.masks import joined_masks

        arrays: dict[str, Any] = _joined("truth", items.truths, _TRUTH)
        arrays |= _joined("found", items.found, _FOUND)
        arrays |= {"map": items.map, _RESAMPLES: items.resampled}
        if items.has_masks:
            arrays |= joined_masks("truth", [list(truth.masks or ()) for truth in items.truths])
            arrays |= joined_masks("found", [list(found.masks or ()) for found in items.found])
        np.savez_compressed(folder / self.file, **arrays)

    def read(self, folder: Path) -> Detected:
        import numpy as np

        from bench.statistics.average_precision import Detections, Truth
        from bench.statistics.masks import parted_masks

        with np.load(folder / self.file) as kept:
            truths = [Truth(*parts) for parts in _parts("truth", kept, _TRUTH)]
            found = [Detections(*parts) for parts in _parts("found", kept, _FOUND)]
            masks = [parted_masks(kind, kept, kept[f"{kind}_counts"]) for kind in _KINDS]
            resamples = kept.get(_RESAMPLES)
            value = float(kept["map"]) if "map" in kept else None
        if masks[0] is not None and masks[1] is not None:
            truths = [t._replace(masks=of) for t, of in zip(truths, masks[0], strict=True)]
            found = [f._replace(masks=of) for f, of in zip(found, masks[1], strict=True)]
        return Detected(tuple(truths), tuple(found), value, resamples)

    def misfit(self, items: Detected, recorded: Mapping[str, Any]) -> str | None:
        here = {
            "boxes": sum(len(found.scores) for found in items.found),
            "objects": sum(len(truth.classes) for truth in items.truths),
            "total": len(items.truths),
        }
        if here == {key: recorded[key] for key in here}:
            return None
        return f"{_counted(here)} and its record {_counted(recorded)}"

    def counted(self, recorded: Mapping[str, Any]) -> str:
        return _counted(recorded)

    def in_words(self, recorded: Mapping[str, Any]) -> str:
        masks = recorded.get("masks")
        return f"mAP {recorded['map']:.2f} %" + (
            f", of masks {masks['map']:.2f} %" if masks and masks["map"] is not None else ""
        )

    def changed(self, first: Detected, second: Detected) -> int:
        pairs = zip(first.found, second.found, strict=True)
        return sum(not _equal(one, other) for one, other in pairs)

    def difference(self, first: Detected, second: Detected) -> str | None:
        if len(first.found) != len(second.found):
            return "not as many images"
        images = self.changed(first, second)
        return f"other boxes on {images} images" if images else None

    def compare(self, first: Sequence[Detected], second: Sequence[Detected]) -> "Difference":
        import numpy as np

        from bench.statistics.resamples import compare_resampled, compare_resampled_seeds

        images = len(first[0].truths)
        if len(first) == 1:
            (one,), (other,) = first, second
            means = one.map, other.map
            return compare_resampled(means, one.resampled, other.resampled, images)
        a, b = (np.stack([items.resampled for items in side]) for side in (first, second))
        values = [items.map for items in first], [items.map for items in second]
        return compare_resampled_seeds(values, a, b, images)

    def mean(self, seeds: Sequence[Detected]) -> float:
        return sum(items.map for items in seeds) / len(seeds)


def _joined(kind: str, images: Sequence[Any], names: Sequence[str]) -> dict[str, "np.ndarray"]:
    """Return what is known of each box, of all images behind each other, and how many each has."""
    import numpy as np

    counts = np.array([len(image.classes) for image in images], dtype=np.int64)
    parts = {name: np.concatenate([getattr(image, name) for image in images]) for name in names}
    return {f"{kind}_{name}": values for name, values in {"counts": counts, **parts}.items()}


def _parts(kind: str, kept: Mapping[str, "np.ndarray"], names: Sequence[str]) -> list[Any]:
    """Return the arrays of each image, in the order of `names`: what `_joined` joined."""
    import numpy as np

    ends = np.cumsum(kept[f"{kind}_counts"])
    columns = [np.split(kept[f"{kind}_{name}"], ends[:-1]) for name in names]
    return list(zip(*columns, strict=True))


def _equal(one: "Detections", other: "Detections") -> bool:
    import numpy as np

    from bench.statistics.masks import same_masks

    same = all(np.array_equal(getattr(one, n), getattr(other, n)) for n in _FOUND)
    return same and same_masks(one.masks, other.masks)


def _counted(numbers: Mapping[str, Any]) -> str:
    found, objects, images = (numbers[key] for key in ("boxes", "objects", "total"))
    return f"{found} boxes found of {objects} objects on {images} images"
