"""Decoded images on disk: decoded once, memory-mapped ever after.

<key>/images.npy      (N, size, size, 3) uint8
<key>/checksums.npy   (N,) uint32, CRC-32 of each image
<key>/about.json      what they are, and the names of images that cannot be decoded
<key>.lock            held by who writes or removes the entry
"""

import json
import logging
import os
import shutil
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
from filelock import FileLock, Timeout

from bench.data.datasets import options_of
from bench.data.decoding import cannot_decode, decoded_chunks, report
from bench.data.imageset import CheckedImages, Checks, DamagedImages, Identity, ImageSet
from bench.data.listing import Listing, fingerprint_of, without
from bench.data.options import Options
from bench.files.checksum import fits, sealed
from models.errors import BenchError
from models.preprocessing import Preprocessing

T = TypeVar("T")

log = logging.getLogger(__name__)

FORMAT_VERSION = 1
_PARTIAL = ".partial"

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ImageCache:
    """Where decoded images are kept, and which of them were found right.

    folder: of all caches of an `outputs` folder; gets `data/<key>` for each decoded set.
    """

    folder: Path
    checked: CheckedImages = field(default_factory=CheckedImages)


def cache_key(listing: Listing, preprocessing: Preprocessing) -> str:
    """Return the sha256 (hex) of all that the decoded pixels depend on; mean and std do not."""
    import PIL

    shape = (preprocessing.size, preprocessing.resize, preprocessing.interpolation)
    return fingerprint_of(
        (FORMAT_VERSION, listing.fingerprint, listing.stamp, *shape, PIL.__version__)
    )


def decode(
    listing: Listing,
    config: Mapping[str, object],
    preprocessing: Preprocessing,
    cache: ImageCache,
    progress: Progress | None = None,
    workers: int = 1,
) -> ImageSet:
    """Return the images of `listing`, decoded now or by an earlier call.

    With `skip_bad` in `config`, images that cannot be decoded are not in the set that is returned,
    nor in its listing. One that cannot be read at all may be there again tomorrow, and is an error.

    config: the `data` node that `listing` was scanned with.
    cache: gets one folder a decoded set; it is complete or it does not exist. A second process
        that asks for the same set waits for the first. One that is damaged is decoded again.
    progress: called with (images done, images in all), not at all where nothing is decoded.
    workers: decoding threads, at least 1.
    Raises BenchError naming the file when an image cannot be read.
    """
    if preprocessing.resize < preprocessing.size or preprocessing.size < 1 or workers < 1:
        raise BenchError(
            f"cannot decode at size={preprocessing.size}, resize={preprocessing.resize}, "
            f"workers={workers}; resize must be at least size, and both others at least 1"
        )
    key, options = cache_key(listing, preprocessing), options_of(config)
    cache_dir = cache.folder / "data"
    folder = cache_dir / key
    read = partial(_read, folder, listing, preprocessing.size, cache.checked)
    try:
        found = read()
        if found is None:
            cache_dir.mkdir(parents=True, exist_ok=True)
            # Whoever makes room in the cache takes an entry away under the same lock.
            with FileLock(_lock_path(cache_dir, key)):
                _remove_leftovers(cache_dir, key)
                found = read()
                if found is None:
                    if folder.exists():
                        log.warning(
                            "warning: %s is damaged, or has no checksums; decoded again", folder
                        )
                        _remove(folder)
                    _fill(folder, listing, options, preprocessing, progress, workers)
                    found = read()
    except OSError as error:
        raise BenchError(
            f"cannot keep decoded images in {str(cache_dir)!r}: {error}; check the space and the "
            "permissions there"
        ) from error
    if found is None:
        raise BenchError(f"{folder} is damaged as soon as it is written; check the disk")
    if (left_out := found.listing.left_out) and not options.skip_bad:
        raise BenchError(cannot_decode(listing, left_out[0], "another run left it out"))
    return found


def reopen(listing: Listing, folder: Path, size: int) -> ImageSet:
    """Return the images of `listing` that another process has decoded into `folder`.

    listing, folder: as its `ImageSet` has them. size: height and width of an image in pixels.
    Raises BenchError when they are not there.
    """
    found = _read(folder, listing, size, CheckedImages())
    if found is None:
        raise BenchError(
            f"the decoded images of {listing.name} are not in {str(folder)!r} here; give all "
            "processes the same folder with paths.outputs=DIR"
        )
    return found


def with_whole_images(work: Callable[[], T]) -> T:
    """Return what `work` returns, which decodes and reads images.

    Where it meets a damaged entry, that is removed, and it begins anew, once.
    """
    try:
        return work()
    except DamagedImages as error:
        log.warning("warning: %s; decoded and measured again", error.what)
        discard(error)
    return work()


def discard(error: DamagedImages) -> None:
    """Remove the entry that `error` speaks of, unless it has been decoded again since."""
    with FileLock(_lock_path(error.folder.parent, error.folder.name)):
        if _identity(error.folder) == error.identity:
            _remove(error.folder)


def _lock_path(cache_dir: Path, key: str) -> Path:
    return cache_dir / f"{key}.lock"


def _remove(folder: Path) -> None:
    """Remove an entry, whole or not; a kill meanwhile leaves what is removed as a leftover."""
    shutil.rmtree(folder.rename(folder.with_name(folder.name + _PARTIAL)))


def _remove_leftovers(cache_dir: Path, own_key: str) -> None:
    """Remove what killed processes left; the lock on `own_key` is held."""
    for leftover in cache_dir.glob(f"*{_PARTIAL}"):
        key = leftover.name.removesuffix(_PARTIAL)
        if key == own_key:
            shutil.rmtree(leftover, ignore_errors=True)
            continue
        try:
            # Whoever writes a partial folder holds its lock: one that is free has no writer.
            with FileLock(_lock_path(cache_dir, key), timeout=0):
                shutil.rmtree(leftover, ignore_errors=True)
        except Timeout:
            continue


def _fill(
    folder: Path,
    listing: Listing,
    options: Options,
    preprocessing: Preprocessing,
    progress: Progress | None,
    workers: int,
) -> None:
    """Decode into a folder beside `folder` and rename it."""
    partial = folder.with_name(folder.name + _PARTIAL)
    partial.mkdir()
    try:
        size, total = preprocessing.size, len(listing)
        crc32: list[int] = []
        left_out: list[str] = []
        # Written, not memory-mapped: on a full disk a mapped write kills the process.
        with (partial / "images.npy").open("wb") as file:
            _write_header(file, total, size)
            for chunk in decoded_chunks(listing, options, preprocessing, workers):
                good = [image for image in chunk.values() if image is not None]
                left_out += [name for name, image in chunk.items() if image is None]
                crc32 += map(zlib.crc32, good)
                file.writelines(good)
                if progress is not None:
                    progress(len(crc32) + len(left_out), total)
            if left_out:
                file.seek(0)
                _write_header(file, len(crc32), size)
            file.flush()
            os.fsync(file.fileno())
        report(listing, left_out)
        np.save(partial / "checksums.npy", np.array(crc32, dtype=np.uint32))
        about = {"name": listing.name, "side": listing.side, "images": len(crc32)}
        about |= {"fingerprint": listing.fingerprint, "size": size, "resize": preprocessing.resize}
        about |= {"interpolation": preprocessing.interpolation, "left_out": left_out}
        (partial / "about.json").write_text(sealed(json.dumps(about, indent=1)))
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _write_header(file: BinaryIO, count: int, size: int) -> None:
    """Write the header of images.npy; NumPy pads it, so that another count is as long."""
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, size, size, 3)}
    np.lib.format.write_array_header_1_0(file, header)


def _identity(folder: Path) -> Identity | None:
    """Return what tells the file of images from one written since; None where there is none."""
    try:
        about = (folder / "images.npy").stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return about.st_dev, about.st_ino, about.st_mtime_ns


def _read(folder: Path, listing: Listing, size: int, checked: CheckedImages) -> ImageSet | None:
    """Return the entry in `folder`; None where it is not there, not whole, or just being removed.

    What was whole stays readable when it is removed afterwards: it is mapped.
    """
    identity = _identity(folder)
    if identity is None:
        return None
    try:
        images = np.load(folder / "images.npy", mmap_mode="r")
        crc32 = np.load(folder / "checksums.npy")
        content = (folder / "about.json").read_bytes()
        if not fits(content):
            return None
        left_out = json.loads(content)["left_out"]
        used = listing if listing.left_out == tuple(left_out) else without(listing, left_out)
    except (OSError, ValueError, EOFError):
        return None
    shape = (len(used), size, size, 3)
    fit = images.shape == shape and images.dtype == np.uint8 and crc32.shape == shape[:1]
    if not fit or _identity(folder) != identity:
        return None
    checks = Checks(folder, identity, crc32, checked.of(identity, len(used)))
    return ImageSet(used, images.transpose(0, 3, 1, 2), checks)
