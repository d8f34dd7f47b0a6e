"""Digits on textured canvases: a set to detect objects in that needs no files of one's own."""

import hashlib
from collections.abc import Callable
from functools import lru_cache
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from bench.data.drawing import Draws, cropped, resized, texture
from bench.data.listing import Listing, Side, fingerprint_of
from bench.data.mnist5k import SPLIT_VERSION, packaged_file, read_digits, split
from bench.data.options import Options
from bench.statistics.boxes import Truth

VERSION = 1
"""Raised when other pixels or boxes are drawn."""
SIZE = 96
IMAGES = {"train": 3000, "eval": 500}
DIGITS = (1, 5)
HEIGHTS = (16, 40)
_TRIES = 20
_OVERLAP = 10  # the largest share, in percent, of the smaller box that two may share
_CONTRAST = 80  # between a digit and the mean of the texture, of 255, in each colour's mean
TEXTURE = ((3, 4), (8, 2), (24, 1))

Pixels = npt.NDArray[np.uint8]


class Canvases(NamedTuple):
    """images: (N, 3, 96, 96) uint8, RGB. truths: N; category d + 1 is the digit d."""

    images: Pixels
    truths: tuple[Truth, ...]


class DigitsCanvas:
    """Canvases of one to five digits: 3,000 to train on, 500 to evaluate on, 96 x 96 pixels.

    The digits of each side are those of the same side of `mnist5k`, so none is on both; they are
    16 to 40 pixels high, of one colour each, and overlap by a tenth at most. Category d + 1 is the
    digit d.
    """

    task: ClassVar[str] = "detection"
    keys: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, options: Options) -> None:
        self.options = options

    def scan(self, side: Side) -> Listing:
        """List the canvases of `side`; the number in an image's name is its place."""
        truths = canvases(side).truths
        content = hashlib.sha256(packaged_file().read_bytes()).hexdigest()
        folder = "train" if side == "train" else "test"
        found = np.unique(np.concatenate([truth.classes for truth in truths]))
        return Listing(
            name="digits_canvas",
            side=side,
            files=tuple(f"digits_canvas/{folder}/{place:05d}" for place in range(len(truths))),
            labels=np.zeros(len(truths), dtype=np.int64),
            classes=len(found),
            fingerprint=fingerprint_of((content, SPLIT_VERSION, VERSION, side)),
            # The pixels depend on nothing besides.
            stamp=fingerprint_of(()),
            truths=truths,
        )

    def reader(self, listing: Listing) -> Callable[[int], Image.Image]:
        images = canvases(listing.side).images
        places = [int(name.rpartition("/")[2]) for name in listing.files]
        return lambda index: Image.fromarray(images[places[index]].transpose(1, 2, 0))


@lru_cache(maxsize=2)
def canvases(side: Side) -> Canvases:
    """Return the canvases of one side, the same on every machine.

    All that is drawn is whole numbers of a bit generator, whose stream NumPy keeps, and all that is
    computed is whole numbers too.
    """
    digits, labels = read_digits()
    places = split(labels, side)
    inks = [cropped(digits[place]) for place in places]
    images = np.empty((IMAGES[side], 3, SIZE, SIZE), dtype=np.uint8)
    truths = []
    for number in range(len(images)):
        draws = Draws(VERSION, 0 if side == "train" else 1, number)
        canvas = texture(draws, SIZE, TEXTURE)
        boxes: list[tuple[int, ...]] = []
        classes: list[int] = []
        for _ in range(draws.between(*DIGITS)):
            chosen = draws.between(0, len(inks) - 1)
            ink = _scaled(inks[chosen], draws)
            box = _place(ink, boxes, draws)
            if box is not None:
                _paint(canvas, ink, box, draws)
                boxes.append(box)
                classes.append(int(labels[places[chosen]]) + 1)
        images[number] = canvas
        truths.append(_truth(boxes, classes))
    images.setflags(write=False)
    return Canvases(images, tuple(truths))


def _scaled(ink: npt.NDArray[np.int64], draws: Draws) -> npt.NDArray[np.int64]:
    """Return `ink` at a drawn height, as wide as it is high in proportion."""
    height, width = ink.shape
    if width > height:  # a digit that lies is no wider than others are high
        new = draws.between(*HEIGHTS)
        return resized(ink, max(4, (2 * height * new + width) // (2 * width)), new)
    new = draws.between(*HEIGHTS)
    return resized(ink, new, max(4, (2 * width * new + height) // (2 * height)))


def _place(
    ink: npt.NDArray[np.int64], boxes: list[tuple[int, ...]], draws: Draws
) -> tuple[int, ...] | None:
    """Return a box (left, top, width, height) for `ink`; None where none is found."""
    height, width = ink.shape
    for _ in range(_TRIES):
        box = (draws.between(0, SIZE - width), draws.between(0, SIZE - height), width, height)
        if all(_shared(box, other) <= _OVERLAP for other in boxes):
            return box
    return None


def _shared(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """Return how much of the smaller of two boxes both have, in percent."""
    sides = [
        min(one[i] + one[i + 2], other[i] + other[i + 2]) - max(one[i], other[i]) for i in (0, 1)
    ]
    area = max(0, sides[0]) * max(0, sides[1])
    return 100 * area // min(one[2] * one[3], other[2] * other[3])


def _paint(canvas: Pixels, ink: npt.NDArray[np.int64], box: tuple[int, ...], draws: Draws) -> None:
    """Paint `ink` into `box` of `canvas`, in a colour that is told from what is there."""
    left, top, width, height = box
    part = canvas[:, top : top + height, left : left + width]
    there = int(part.sum(dtype=np.int64)) // part.size
    while True:
        colour = draws.many(0, 255, 3)
        if abs(int(colour.sum()) // 3 - there) >= _CONTRAST:
            break
    mixed = part.astype(np.int64) * (255 - ink) + colour[:, None, None] * ink
    part[:] = ((mixed + 127) // 255).astype(np.uint8)


def _truth(boxes: list[tuple[int, ...]], classes: list[int]) -> Truth:
    array = np.array(boxes, dtype=np.float32).reshape(-1, 4)
    return Truth(
        boxes=array,
        classes=np.array(classes, dtype=np.int64),
        crowd=np.zeros(len(array), dtype=bool),
        areas=array[:, 2] * array[:, 3],
    )
