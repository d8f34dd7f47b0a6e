"""Digits in motion: a set of clips that needs no files of one's own."""

import hashlib
from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
from PIL import Image

from bench.data.drawing import Draws, Pixels, Values, cropped, resized, texture
from bench.data.listing import Listing, Side, fingerprint_of
from bench.data.mnist5k import SPLIT_VERSION, packaged_file, read_digits, split
from bench.data.options import Options
from bench.data.segments import places
from models.clips import Clip

VERSION = 1
"""Raised when other pixels are drawn."""
SIZE = 32
FRAMES = 16
CLIPS = {"train": 2000, "eval": 500}
DIRECTIONS = ((1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1))
"""Of the labels 0..7, right, then clockwise, as (right, down)."""
NEARER, FARTHER = 8, 9
CLASSES = 10

_HEIGHTS = (9, 13)
_GROWTH = (8, 24)  # from which height to which one that comes nearer grows
_SPEED = (16, 32)  # sixteenths of a pixel a frame, on each axis
_INSTANTS = 4  # of a frame
_EXPOSURE = 12  # instants that a frame shows, the latest at full strength, those before ever weaker
_DARKER = 3  # what is behind the digit, by so many times
_BRIGHT = (128, 255)  # each colour of the digit
_GRAIN = 20
_TEXTURE = ((3, 4), (8, 2))


class Motion:
    """Clips of 16 frames, 32 x 32: 2,000 to train on, 500 to evaluate on, drawn on the spot.

    In front of a texture that stands still, one of the digits of `mnist5k`, of the same side, moves
    in one of 8 directions (it leaves on one side and comes in on the other), grows or shrinks. What
    the digit is does not matter. A network of single frames sees no motion; so a frame shows the
    last three frames' time, as a long exposure does with a light that is brightest at its end: the
    digit at full strength, and behind it where it was, ever weaker.
    """

    keys: ClassVar[frozenset[str]] = frozenset({"segments", "candidates"})

    def __init__(self, options: Options) -> None:
        self.options = options

    def _clip(self, side: Side) -> Clip:
        return Clip(self.options.segments, self.options.candidates if side == "train" else 1)

    def scan(self, side: Side) -> Listing:
        """List the clips of `side`, as many of each class; the number in a name is its place."""
        labels = np.arange(CLIPS[side], dtype=np.int64) % CLASSES
        folder = "train" if side == "train" else "test"
        content = hashlib.sha256(packaged_file().read_bytes()).hexdigest()
        clip = self._clip(side)
        return Listing(
            name="motion",
            side=side,
            files=tuple(f"motion/{folder}/{place:05d}" for place in range(len(labels))),
            labels=labels,
            classes=CLASSES,
            fingerprint=fingerprint_of((content, SPLIT_VERSION, VERSION, side, *clip)),
            # The pixels depend on nothing besides.
            stamp=fingerprint_of(()),
            outputs=CLASSES,
            clip=clip,
        )

    def reader(self, listing: Listing) -> Callable[[int], list[Image.Image]]:
        digits, labels = read_digits()
        inks = digits[split(labels, listing.side)]
        wanted = places(FRAMES, self._clip(listing.side), listing.side)

        def read(index: int) -> list[Image.Image]:
            number = int(listing.files[index].rpartition("/")[2])
            return [Image.fromarray(frame) for frame in frames(inks, listing.side, number, wanted)]

        return read


def frames(digits: Pixels, side: Side, number: int, wanted: Sequence[int]) -> list[Pixels]:
    """Return frames of a clip, each (32, 32, 3), the same on every machine.

    digits: (N, 28, 28), of which one is drawn. number: of the clip, whose label is number % 10.
    wanted: which frames, of 0..15.
    """
    draws = Draws(VERSION, 0 if side == "train" else 1, number)
    ink = cropped(digits[draws.between(0, len(digits) - 1)])
    label, height, speed = number % CLASSES, draws.between(*_HEIGHTS), draws.between(*_SPEED)
    start = draws.many(0, SIZE - 1, 2)
    behind = texture(draws, SIZE, _TEXTURE).astype(np.int64) // _DARKER
    colour = draws.many(*_BRIGHT, 3)
    grain = draws.many(-_GRAIN, _GRAIN, FRAMES, 3, SIZE, SIZE)
    drawn = []
    for frame, strength in zip(
        wanted, exposures(ink, label, height, speed, start, wanted), strict=True
    ):
        mixed = (behind * (255 - strength) + colour[:, None, None] * strength + 127) // 255
        noisy = np.clip(mixed + grain[frame], 0, 255).astype(np.uint8)
        drawn.append(np.ascontiguousarray(noisy.transpose(1, 2, 0)))
    return drawn


def exposures(
    ink: Values, label: int, height: int, speed: int, start: Values, wanted: Sequence[int]
) -> list[Values]:
    """Return how much of each pixel of some frames is of the digit, (32, 32), 0..255.

    ink: (h, w), 0..255. height: of a digit that moves, in pixels. speed: in sixteenths of a pixel a
    frame. start: (2,), where its centre begins, from that of the frame, right and down.
    """
    stamps: dict[int, Values] = {}
    strengths = []
    for frame in wanted:
        strength = np.zeros((SIZE, SIZE), dtype=np.int64)
        for age in range(_EXPOSURE):
            instant = _INSTANTS * frame - age
            tall = height if label < NEARER else _height(label, instant)
            if tall not in stamps:
                stamps[tall] = _stamp(ink, tall)
            right, down = start + _shift(label, speed, instant)
            top, left = -down % SIZE, -right % SIZE
            seen = stamps[tall][top : top + SIZE, left : left + SIZE]
            np.maximum(strength, seen * (_EXPOSURE - age), out=strength)
        strengths.append(strength // _EXPOSURE)
    return strengths


def _height(label: int, instant: int) -> int:
    """Return how high a digit is that grows or shrinks; the exposure begins before the clip."""
    first, last = -_EXPOSURE + 1, _INSTANTS * (FRAMES - 1)
    passed = instant - first if label == NEARER else last - instant
    low, high = _GROWTH
    return low + (high - low) * passed // (last - first)


def _shift(label: int, speed: int, instant: int) -> Values:
    """Return how far a digit has moved since the clip began, (2,) whole pixels right and down."""
    if label >= NEARER:
        return np.zeros(2, dtype=np.int64)
    return (np.array(DIRECTIONS[label]) * speed * instant + 8 * _INSTANTS) // (16 * _INSTANTS)


def _stamp(ink: Values, height: int) -> Values:
    """Return a canvas with `ink` around its centre, no wider than it is high, four times.

    (64, 64): each part of (32, 32) is the canvas, of which what leaves on one side comes in on the
    other.
    """
    tall, wide = ink.shape
    width = min(height, max(3, (2 * wide * height + tall) // (2 * tall)))
    canvas = np.zeros((SIZE, SIZE), dtype=np.int64)
    top, left = (SIZE - height) // 2, (SIZE - width) // 2
    canvas[top : top + height, left : left + width] = resized(ink, height, width)
    return np.tile(canvas, (2, 2))
