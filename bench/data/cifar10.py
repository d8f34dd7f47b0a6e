"""CIFAR-10 (Krizhevsky 2009) from the original pixels, in torchvision's files."""

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from filelock import FileLock
from PIL import Image

from bench.data.listing import Listing, Side, fingerprint_of
from bench.data.options import Options
from models.errors import BenchError

if TYPE_CHECKING:
    from torchvision.datasets import CIFAR10


class Cifar10:
    """50,000 images to train on and 10,000 to evaluate on, 32 x 32, under root/cifar-10-batches-py.

    The files are pickles: torchvision checks the md5 of every one before any is opened.
    """

    keys: ClassVar[frozenset[str]] = frozenset({"root", "download"})

    def __init__(self, options: Options) -> None:
        self.options = options

    def _load(self, side: Side) -> "CIFAR10":
        from torchvision.datasets import CIFAR10

        root = self.options.root
        if root is None:
            raise BenchError(
                "data.root is not set for data set 'cifar10'; set it to the folder that holds "
                f"{CIFAR10.base_folder}, or to any folder with data.download=true to fetch it"
            )
        files = root / CIFAR10.base_folder
        try:
            return CIFAR10(root, train=side == "train")
        except RuntimeError as error:
            if not self.options.download:
                problem = "is altered or incomplete (md5)" if files.is_dir() else "is not there"
                raise BenchError(
                    f"{str(files)!r} {problem}; set data.root to the folder that holds an intact "
                    f"{CIFAR10.base_folder}, or data.download=true to fetch it"
                ) from error
        try:
            root.mkdir(parents=True, exist_ok=True)
            # A second process waits, and then finds the files there.
            with FileLock(root / f"{CIFAR10.filename}.lock"):
                return CIFAR10(root, train=side == "train", download=True)
        except (OSError, RuntimeError) as error:
            raise BenchError(
                f"cannot fetch CIFAR-10 into {str(root)!r}: {' '.join(str(error).split())}; fetch "
                f"{CIFAR10.url} by hand and unpack it there"
            ) from error

    def scan(self, side: Side) -> Listing:
        """List one side, in file order. Raises BenchError when the files are missing or altered."""
        data = self._load(side)
        folder = "train" if side == "train" else "test"
        labels = np.array(data.targets, dtype=np.int64)
        sources = data.train_list if side == "train" else data.test_list
        return Listing(
            name="cifar10",
            side=side,
            files=tuple(f"cifar10/{folder}/{place:05d}" for place in range(len(labels))),
            labels=labels,
            classes=len(np.unique(labels)),
            # Each source is (file name, md5), and the md5 has just been checked.
            fingerprint=fingerprint_of(
                ("cifar10", side, *(part for source in sources for part in source))
            ),
            stamp=fingerprint_of(()),
            outputs=len(data.classes),
        )

    def reader(self, listing: Listing) -> Callable[[int], Image.Image]:
        pixels = self._load(listing.side).data
        places = [int(name.rpartition("/")[2]) for name in listing.files]
        return lambda index: Image.fromarray(pixels[places[index]])
