"""Decoded images on disk: decoded once, memory-mapped ever after."""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from filelock import FileLock, Timeout

from bench.data.datasets import open_dataset, options_of
from bench.data.listing import Labels, Listing, digest
from models.errors import BenchError
from models.preprocessing import Preprocessing

FORMAT_VERSION = 1
# Images decoded between two writes: enough to keep the threads busy, 40 MB at 224 pixels.
CHUNK = 256
_PARTIAL = ".partial"

Progress = Callable[[int, int], None]
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """A decoded `Listing`.

    images: (N, 3, size, size), read-only and memory-mapped; channels last in memory.
    """

    listing: Listing
    images: Pixels

    @property
    def labels(self) -> Labels:
        """(N,) int64."""
        return self.listing.labels

    def __len__(self) -> int:
        return len(self.listing)


def cache_key(listing: Listing, preprocessing: Preprocessing) -> str:
    """Return the sha256 (hex) of all that the decoded pixels depend on; mean and std do not."""
    import PIL

    wanted = (preprocessing.size, preprocessing.resize, preprocessing.interpolation)
    return digest((FORMAT_VERSION, listing.fingerprint, listing.stamp, *wanted, PIL.__version__))


def decode(
    listing: Listing,
    config: Mapping[str, object],
    preprocessing: Preprocessing,
    cache_dir: Path,
    progress: Progress | None = None,
    workers: int = 1,
) -> ImageSet:
    """Return the images of `listing`, decoded now or by an earlier call.

    config: the `data` node that `listing` was scanned with.
    cache_dir: gets one folder a decoded set; it is complete or it does not exist. A second process
        that asks for the same set waits for the first.
    progress: called with (images done, images in all), not at all where nothing is decoded.
    workers: decoding threads, at least 1.
    Raises BenchError naming the file when an image cannot be read.
    """
    if preprocessing.resize < preprocessing.size or preprocessing.size < 1 or workers < 1:
        raise BenchError(
            f"cannot decode at size={preprocessing.size}, resize={preprocessing.resize}, "
            f"workers={workers}; resize must be at least size, and both others at least 1"
        )
    key = cache_key(listing, preprocessing)
    folder = cache_dir / key
    try:
        if not folder.is_dir():
            cache_dir.mkdir(parents=True, exist_ok=True)
            with FileLock(_lock_path(cache_dir, key)):
                _remove_leftovers(cache_dir, key)
                if not folder.is_dir():
                    _fill(folder, listing, config, preprocessing, progress, workers)
        return ImageSet(listing, _load(folder, len(listing), preprocessing.size))
    except OSError as error:
        raise BenchError(
            f"cannot keep decoded images in {str(cache_dir)!r}: {error}; check the space and the "
            "permissions there"
        ) from error


def _lock_path(cache_dir: Path, key: str) -> Path:
    return cache_dir / f"{key}.lock"


def _remove_leftovers(cache_dir: Path, own_key: str) -> None:
    """Remove what killed processes left; the lock on `own_key` is held."""
    for partial in cache_dir.glob(f"*{_PARTIAL}"):
        key = partial.name.removesuffix(_PARTIAL)
        if key == own_key:
            shutil.rmtree(partial, ignore_errors=True)
            continue
        try:
            # Whoever writes a partial folder holds its lock: one that is free has no writer.
            with FileLock(_lock_path(cache_dir, key), timeout=0):
                shutil.rmtree(partial, ignore_errors=True)
        except Timeout:
            continue


def _fill(
    folder: Path,
    listing: Listing,
    config: Mapping[str, object],
    preprocessing: Preprocessing,
    progress: Progress | None,
    workers: int,
) -> None:
    """Decode into a folder beside `folder` and rename it."""
    partial = folder.with_name(folder.name + _PARTIAL)
    partial.mkdir()
    try:
        size = preprocessing.size
        shape = (len(listing), size, size, 3)
        # Written, not memory-mapped: on a full disk a mapped write kills the process.
        with (partial / "images.npy").open("wb") as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            done = 0
            for chunk in _decoded_chunks(listing, config, preprocessing, workers):
                file.writelines(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done, len(listing))
            file.flush()
            os.fsync(file.fileno())
        about = {"name": listing.name, "side": listing.side, "images": len(listing)}
        about |= {"fingerprint": listing.fingerprint, "size": size, "resize": preprocessing.resize}
        about |= {"interpolation": preprocessing.interpolation}
        (partial / "about.json").write_text(json.dumps(about, indent=1) + "\n")
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _decoded_chunks(
    listing: Listing, config: Mapping[str, object], preprocessing: Preprocessing, workers: int
) -> Iterator[list[bytes]]:
    """Yield the images in order, `CHUNK` at a time, each (size, size, 3) in C order."""
    from PIL import Image

    from bench.data.pixels import pixels_of

    read = open_dataset(options_of(config)).reader(listing)
    damage = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)

    def one(index: int) -> bytes:
        try:
            return pixels_of(read(index), preprocessing).tobytes()
        except damage as error:
            why = " ".join(str(error).split())
            raise BenchError(
                f"cannot decode image {listing.files[index]!r} of the {listing.side} side of "
                f"{listing.name!r}: {why}; replace the file"
            ) from error

    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(listing), CHUNK):
            yield list(pool.map(one, range(start, min(start + CHUNK, len(listing)))))


def _load(folder: Path, count: int, size: int) -> Pixels:
    path = folder / "images.npy"
    try:
        images = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        images = None
    if images is None or images.shape != (count, size, size, 3) or images.dtype != np.uint8:
        raise BenchError(f"decoded images {str(path)!r} are damaged; delete {str(folder)!r}")
    return images.transpose(0, 3, 1, 2)
