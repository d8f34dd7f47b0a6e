"""Decoded images on disk: decoded once, memory-mapped ever after.

images.npy      (N, size, size, 3) uint8; of clips of F frames (N, size, size, 3 F); of texts
                (N, words) int32
checksums.npy   (N,) uint32, CRC-32 of each image
about.json      what they are, and the names of images that cannot be decoded
"""

import json
import logging
import os
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np

from bench.data.datasets import options_of
from bench.data.decoding import cannot_decode, decoded_chunks, report
from bench.data.imageset import (
    CheckedImages,
    Checks,
    DamagedImages,
    Identity,
    ImageSet,
    Stored,
    channels_first,
)
from bench.data.listing import Listing, fingerprint_of, without
from bench.data.outputs import check_medium
from bench.files.checksum import fits, sealed
from bench.files.entry import CacheEntry
from bench.files.kinds import ABOUT, DATA, PIXEL_CHECKSUMS, PIXELS
from models.errors import BenchError
from models.preprocessing import Preparation, Preprocessing

T = TypeVar("T")

log = logging.getLogger(__name__)

FORMAT_VERSION = 2

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ImageCache:
    """Where decoded images are kept, and which of them were found right.

    folder: of all caches of an `outputs` folder; gets `data/<key>` for each decoded set.
    """

    folder: Path
    checked: CheckedImages = field(default_factory=CheckedImages)


def cache_key(listing: Listing, preprocessing: Preparation) -> str:
    """Return the sha256 (hex) of all that the decoded pixels depend on."""
    import PIL

    of_images = FORMAT_VERSION, listing.fingerprint, listing.stamp
    return fingerprint_of((*of_images, *preprocessing.decoded_by.values(), PIL.__version__))


def decode(
    listing: Listing,
    config: Mapping[str, object],
    preprocessing: Preparation,
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
    check_medium(listing, preprocessing)
    resize = preprocessing.resize if isinstance(preprocessing, Preprocessing) else None
    if preprocessing.size < 1 or workers < 1 or (resize or preprocessing.size) < preprocessing.size:
        raise BenchError(
            f"cannot decode at size={preprocessing.size}, resize={resize}, "
            f"workers={workers}; resize must be at least size, and both others at least 1"
        )
    options = options_of(config)
    stored = _stored(listing, preprocessing)
    entry = CacheEntry(cache.folder, DATA, cache_key(listing, preprocessing))

    def read() -> ImageSet | None:
        return _read(entry, listing, stored, cache.checked)

    def make() -> ImageSet:
        if entry.is_whole:
            entry.discard()
        chunks = decoded_chunks(listing, options, preprocessing, workers)
        entry.complete(lambda folder: _fill(folder, listing, preprocessing, chunks, progress))
        return entry.reread(read())

    try:
        images = read()
        if images is None:
            images = entry.read_or_make(read, make)
    except OSError as error:
        raise BenchError(
            f"cannot keep decoded images in {str(entry.path.parent)!r}: {error}; check the space "
            "and the permissions there"
        ) from error
    if (left_out := images.listing.left_out) and not options.skip_bad:
        raise BenchError(cannot_decode(listing, left_out[0], "another run left it out"))
    return images


def reopen(listing: Listing, entry: CacheEntry, stored: Stored) -> ImageSet:
    """Return the images of `listing` that another process has decoded into `entry`.

    listing, entry, stored: as its `ImageSet` has them.
    Raises BenchError when they are not there.
    """
    images = _read(entry, listing, stored, CheckedImages())
    if images is None:
        raise BenchError(
            f"the decoded images of {listing.name} are not in {str(entry.path)!r} here; give all "
            "processes the same folder with paths.outputs=DIR"
        )
    return images


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
    with error.entry.locked():
        if _identity(error.entry) == error.identity:
            error.entry.remove()


def _fill(
    folder: Path,
    listing: Listing,
    preprocessing: Preparation,
    chunks: Iterable[Mapping[str, bytes | None]],
    progress: Progress | None,
) -> None:
    """Write decoded images, of which `chunks` has one after the other, into a new folder."""
    folder.mkdir()
    total, stored = len(listing), _stored(listing, preprocessing)
    crc32: list[int] = []
    left_out: list[str] = []
    # Written, not memory-mapped: on a full disk a mapped write kills the process.
    with (folder / PIXELS).open("wb") as file:
        _write_header(file, total, stored)
        for chunk in chunks:
            good = [image for image in chunk.values() if image is not None]
            left_out += [name for name, image in chunk.items() if image is None]
            crc32 += map(zlib.crc32, good)
            file.writelines(good)
            if progress is not None:
                progress(len(crc32) + len(left_out), total)
        if left_out:
            file.seek(0)
            _write_header(file, len(crc32), stored)
        file.flush()
        os.fsync(file.fileno())
    report(listing, left_out)
    np.save(folder / PIXEL_CHECKSUMS, np.array(crc32, dtype=np.uint32))
    about = {"name": listing.name, "side": listing.side, "images": len(crc32)}
    about |= {"fingerprint": listing.fingerprint, **preprocessing.decoded_by}
    about |= {"left_out": left_out}
    (folder / ABOUT).write_text(sealed(json.dumps(about, indent=1)), encoding="utf-8")


def _stored(listing: Listing, preprocessing: Preparation) -> Stored:
    shape = preprocessing.stored_shape
    if listing.clip is not None:
        shape = (*shape[:-1], listing.channels)
    return Stored(shape, preprocessing.stored_type)


def _write_header(file: BinaryIO, count: int, stored: Stored) -> None:
    """Write the header of images.npy; NumPy pads it, so that another count is as long."""
    header = {"descr": stored.type, "fortran_order": False, "shape": (count, *stored.shape)}
    np.lib.format.write_array_header_1_0(file, header)


def _identity(entry: CacheEntry) -> Identity | None:
    """Return what tells the file of images from one written since; None where there is none."""
    try:
        about = entry.file(PIXELS).stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return about.st_dev, about.st_ino, about.st_mtime_ns


def _read(
    entry: CacheEntry, listing: Listing, stored: Stored, checked: CheckedImages
) -> ImageSet | None:
    """Return the images of an entry; None where it is not whole, or just being removed.

    What was whole stays readable when it is removed afterwards: it is mapped.
    """
    identity = _identity(entry)
    if identity is None:
        return None
    try:
        pixels = np.load(entry.file(PIXELS), mmap_mode="r")
        crc32 = np.load(entry.file(PIXEL_CHECKSUMS))
        content = entry.file(ABOUT).read_bytes()
        if not fits(content):
            return None
        left_out = json.loads(content)["left_out"]
        used = listing if listing.left_out == tuple(left_out) else without(listing, left_out)
    except (OSError, ValueError, EOFError):
        return None
    shape = (len(used), *stored.shape)
    fit = pixels.shape == shape and pixels.dtype == stored.type
    fit = fit and crc32.shape == shape[:1]
    if not fit or _identity(entry) != identity:
        return None
    checks = Checks(entry, identity, crc32, checked.of(identity, len(used)))
    return ImageSet(used, channels_first(pixels), checks)
