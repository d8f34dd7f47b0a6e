"""What a task is: what is stored of each image, and what is made of it.

Importing this, or a task, imports neither torch nor NumPy: tables need to know what a number is.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from bench.data.listing import Listing
    from bench.statistics.significance import Difference

Items = Any
"""What a task stores of all images of a cell, in evaluation order; each task says what that is."""


class Metric(NamedTuple):
    """A number of a task, in percent.

    key: the field of a result that has it. title: what stands above it. of_float: the field with
    that of the float network, on the same images. interval: what its 95 % interval is called.
    test: of the difference of two cells, and where its interval is from.
    """

    key: str
    title: str
    of_float: str
    interval: str
    test: str


class Collector(Protocol):
    """Turns what a network returns, batch by batch in evaluation order, into items."""

    def take(self, outputs: "Tensor") -> None:
        """Take what the network returned for the next images.

        Raises BenchError where it does not fit the images.
        """
        ...

    def check(self) -> None:
        """Raise BenchError where something that was taken since the last call is not finite.

        On a GPU this waits for all that is queued there.
        """
        ...

    def items(self) -> Items: ...


class Task(ABC):
    """What a network does with an image. Items of several cells are of the same images, paired.

    doing: what a network of the task does, in words: "classifies".
    headline: the number that stands where there is room for one.
    counts: the fields of a result that tell two measurements of a cell apart.
    file: what items are stored in, beside a result.
    in_parts: whether a part of the images says something of all, so that it may be evaluated alone.
    """

    name: ClassVar[str]
    doing: ClassVar[str]
    headline: ClassVar[Metric]
    counts: ClassVar[tuple[str, ...]]
    file: ClassVar[str]
    in_parts: ClassVar[bool] = False

    def identity(self) -> dict[str, str]:
        """Return what a task adds to the identity of a cell."""
        return {"task": self.name}

    @abstractmethod
    def check(self, listing: "Listing", outputs: int | None) -> None:
        """Raise BenchError for images that a network cannot be measured on.

        outputs: how many numbers an image has in the network's output; None if that is not known.
        """

    @abstractmethod
    def collector(
        self, listing: "Listing", network: "nn.Module", device: "torch.device"
    ) -> Collector:
        """Return what takes the outputs of `network` on `device` for the images of `listing`."""

    @abstractmethod
    def measured(self, items: Items) -> dict[str, Any]:
        """Return the numbers of a result by their fields: those of the task, `total`, and the 95 %
        interval of the headline, `ci_low` and `ci_high`.
        """

    @abstractmethod
    def doubts(self, low: float, outputs: int) -> list[str]:
        """Return a line on each thing that makes a float network's number one not to build on.

        low: the lower end of the 95 % interval of its headline, in percent.
        """

    @abstractmethod
    def save(self, folder: Path, items: Items) -> None:
        """Write `file` into the folder of a cell."""

    @abstractmethod
    def read(self, folder: Path) -> Items:
        """Return what `save` wrote. Whatever reading a file may raise is raised."""

    @abstractmethod
    def misfit(self, items: Items, recorded: Mapping[str, Any]) -> str | None:
        """Return in words where items do not add up to what is `recorded`; None where they do.

        recorded: fields of the result, those of `measured` at least.
        """

    @abstractmethod
    def counted(self, recorded: Mapping[str, Any]) -> str:
        """Return the `counts` of a record in words."""

    @abstractmethod
    def in_words(self, recorded: Mapping[str, Any]) -> str:
        """Return what a record, or `measured`, comes to: `912/1000`."""

    def against_float(self, before: Items, now: Items) -> dict[str, Any]:
        """Return what else a result says of a quantized network, where the float one's is `before`.

        On the same images, each of them paired.
        """
        return {}

    def common(self, cells: Sequence[Items]) -> list[Items]:
        """Return the items of the images that all of `cells`, of one set, have seen."""
        return list(cells)

    @abstractmethod
    def changed(self, first: Items, second: Items) -> int:
        """Return of how many images the items differ in what the headline is made of."""

    @abstractmethod
    def difference(self, first: Items, second: Items) -> str | None:
        """Return in words in how many images two measurements differ; None where in none."""

    @abstractmethod
    def compare(self, first: Sequence[Items], second: Sequence[Items]) -> "Difference":
        """Compare two methods on the same images and seeds, a value a seed, in points of the
        headline: over images where there is one seed, over images and seeds where there are more.
        """

    @abstractmethod
    def mean(self, seeds: Sequence[Items]) -> float:
        """Return the mean headline, in percent, of cells that differ in their seed."""
