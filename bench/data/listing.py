"""What an image set consists of before a pixel is decoded."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import numpy as np
import numpy.typing as npt

from bench.data.options import Options
from models.clips import COLOURS, Clip
from models.errors import BenchError
from models.preprocessing import Medium

if TYPE_CHECKING:
    from PIL import Image

    from bench.statistics.average_precision import Truth

Side = Literal["train", "eval"]
Labels = npt.NDArray[np.int64]
Text = npt.NDArray[np.int64]
"""The words of a text, (n,): the rank of each in its language, from 0."""

# Part of the identity of a set that is cut down: another value chooses other images.
CHOICE_SEED = 0


@dataclass(frozen=True, eq=False)
class Listing:
    """The images of one side of a data set, in a fixed order.

    name: the name results are reported under.
    files: one name an image, relative to the side's folder, or made up ("mnist5k/test/00412").
    labels: (N,) int64, read-only, the index of the network output that is right.
    classes: number of distinct labels among these images, or of categories of their truths.
    fingerprint: sha256 (hex) of the content: of what each file contains and its label, in this
        order, or of the packaged file they come from. The same wherever the files lie, whatever
        they and their folders are called, and whenever they were written.
    stamp: sha256 (hex) of what a decoded copy depends on besides: place and modification times.
    outputs: number of classes that the labels count, 0..outputs - 1, whether or not there are
        images of each; None where the data set does not say.
    left_out: names of images that cannot be decoded, and are not among `files`.
    earlier: the fingerprint of the same images before it was of what files contain: of names, sizes
        and labels. None where it never was, or where the files are read as other pixels now.
    truths: what is to be found in each image, of a set to detect on; None of one of labels alone,
        and labels count nothing where there are truths.
    sizes: (N, 2) int64, width and height of each image in pixels, where truths are in these and
        images are not square; None otherwise.
    medium: what they are: images, or texts, which count as images wherever one is spoken of.
    stats: (N, 4) int64, of each file its inode, size in bytes, and times of modification and of
        change in nanoseconds since 1970; None of images that are no files.
    clip: what is kept of each, where they are clips; None where they are images.
    """

    name: str
    side: Side
    files: tuple[str, ...]
    labels: Labels
    classes: int
    fingerprint: str
    stamp: str
    outputs: int | None = None
    left_out: tuple[str, ...] = ()
    earlier: str | None = None
    stats: Labels | None = None
    truths: "tuple[Truth, ...] | None" = None
    sizes: Labels | None = None
    clip: Clip | None = None
    medium: Medium = "image"

    def __post_init__(self) -> None:
        self.labels.setflags(write=False)

    def __len__(self) -> int:
        return len(self.files)

    @property
    def channels(self) -> int:
        """Of a decoded image; a clip has those of its frames, one frame behind the other."""
        return COLOURS * self.frames

    @property
    def frames(self) -> int:
        """How many images each is: of a clip those that are kept, otherwise one."""
        return 1 if self.clip is None else self.clip.frames

    @property
    def kind(self) -> str:
        """What each is, for a message: an image, a text or a clip."""
        return self.medium if self.clip is None else "clip"


class Dataset(Protocol):
    """What `DATASETS` holds: a class, made from the options of the `data` node.

    keys: the options it understands besides `name`, `limit` and `subset`.
    """

    keys: ClassVar[frozenset[str]]

    def __init__(self, options: Options) -> None: ...

    def scan(self, side: Side) -> Listing:
        """List every image of `side`. Raises BenchError when there is none."""
        ...

    def reader(self, listing: Listing) -> "Callable[[int], Image.Image | list[Image.Image] | Text]":
        """Return what opens image i of `listing`, from any thread; pixels may load later.

        Of a clip these are its frames, as many as the listing says; of a text its words.
        """
        ...


def fingerprint_of(parts: Iterable[object]) -> str:
    """Return the sha256 (hex) of `parts`, which are told apart: ("ab", "c") is not ("a", "bc")."""
    # fsencode: a file name need not be valid text.
    return hashlib.sha256(b"\0".join(os.fsencode(str(part)) for part in parts)).hexdigest()


def limited(listing: Listing, limit: int) -> Listing:
    """Keep the first `limit` images of a fixed permutation of `listing`, in listing order.

    The permutation sorts by the sha256 of seed and name, so that every machine and every version
    of every library keeps the same images, and a smaller limit keeps some of a larger one's.
    Raises BenchError when there are fewer than `limit` images.
    """
    return _first(listing, "limit", limit, _permutation(listing))


def subset(listing: Listing, count: int) -> Listing:
    """Keep `count` images of `listing`, spread over its classes, in listing order.

    The permutation of `limited` is taken in rounds of one image a class. So two classes differ by
    at most one image, unless the smaller has no more, and a smaller count keeps some of a larger
    one's.
    Raises BenchError when there are fewer than `count` images.
    """
    permutation = _permutation(listing)
    seen: Counter[int] = Counter()
    rounds = {}
    for i in permutation:
        label = int(listing.labels[i])
        rounds[i] = seen[label]
        seen[label] += 1
    return _first(listing, "subset", count, sorted(permutation, key=rounds.__getitem__))


def chosen(listing: Listing, places: Labels) -> Listing:
    """Return the images at `places` of `listing`, in that order, under its own fingerprint."""
    return replace(
        listing,
        files=tuple(listing.files[i] for i in places),
        labels=listing.labels[places],
        **_kept(listing, [int(i) for i in places]),
    )


@cache
def random_order(count: int) -> Labels:
    """Return the order in which a part of `count` images is evaluated: a fixed permutation of them.

    By the sha256 of seed and place, so that every machine and every version of every library has
    the same one. Names have no say: sets of one fingerprint may have other ones.
    """
    keys = [fingerprint_of((CHOICE_SEED, "order", i)) for i in range(count)]
    order = np.array(sorted(range(count), key=keys.__getitem__), dtype=np.int64)
    order.setflags(write=False)
    return order


def without(listing: Listing, left_out: Sequence[str]) -> Listing:
    """Return `listing` without the files of these names: another set, with its own fingerprint.

    Without any it is `listing` itself. Raises ValueError when one of them is not there.
    """
    if not left_out:
        return listing
    missing = set(left_out)
    if not missing <= set(listing.files):
        raise ValueError(f"not all of {', '.join(left_out)} are images of {listing.name}")
    kept = [i for i, name in enumerate(listing.files) if name not in missing]
    labels = listing.labels[kept]
    return replace(
        listing,
        files=tuple(listing.files[i] for i in kept),
        labels=labels,
        fingerprint=fingerprint_without(listing.fingerprint, left_out),
        left_out=tuple(left_out),
        **_kept(listing, kept),
    )


def fingerprint_without(fingerprint: str, left_out: Iterable[str]) -> str:
    """Return the fingerprint of a set that lacks the files `left_out`, which are some."""
    return fingerprint_of((fingerprint, "without", *sorted(left_out)))


def _permutation(listing: Listing) -> list[int]:
    return sorted(
        range(len(listing)), key=lambda i: fingerprint_of((CHOICE_SEED, listing.files[i]))
    )


def _first(listing: Listing, option: str, count: int, order: Sequence[int]) -> Listing:
    """Keep the first `count` images of `order`, a permutation of `listing`, in listing order."""
    if count > len(listing):
        raise BenchError(
            f"data.{option}={count} is more than the {len(listing)} images of the {listing.side} "
            f"side of {listing.name!r}; lower it, or leave it null for all"
        )
    if count == len(listing):
        return listing
    kept = sorted(order[:count])
    labels = listing.labels[kept]
    return replace(
        listing,
        files=tuple(listing.files[i] for i in kept),
        labels=labels,
        fingerprint=fingerprint_of((listing.fingerprint, option, CHOICE_SEED, count)),
        **_kept(listing, kept),
    )


def _kept(listing: Listing, places: Sequence[int]) -> dict[str, Any]:
    """Return what else is known of the images at `places`, and how many classes they have."""
    truths, counted = listing.truths, listing.labels[places]
    kept = None if truths is None else tuple(truths[place] for place in places)
    if kept is not None:
        counted = np.concatenate([truth.classes for truth in kept])
    return {
        "classes": len(np.unique(counted)),
        "stats": None if listing.stats is None else listing.stats[places],
        "truths": kept,
        "sizes": None if listing.sizes is None else listing.sizes[places],
    }
