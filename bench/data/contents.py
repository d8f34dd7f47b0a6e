"""What image files contain, by checksum: each is read once, and then known by its inode.

A file that has the inode, size and times it had is taken to be what it was: whoever writes into it
or puts another in its place changes its time of change, which no program sets.
"""

import hashlib
import json
import logging
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from io import BytesIO
from math import inf
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from bench.data.listing import Listing, fingerprint_of
from bench.data.truths import digest_of
from bench.files.entry import CacheEntry
from models.errors import BenchError

log = logging.getLogger(__name__)

_WORTH_A_WORD = 2**30  # bytes to be read
_READERS = 8


class TooMuch(BenchError):
    """More files would have to be read than may be."""


# Of a file: its sha256, and a byte that says whether its pixels are read as they always were.
_ROW_BYTES, _CONTENT_BYTES = 32, 33
_PLAIN, _BY_RULE = b"\1", b"\0"


class SetIdentity(NamedTuple):
    """Which images a set consists of: see `Listing.fingerprint` and `Listing.earlier`."""

    fingerprint: str
    earlier: str | None


@dataclass(frozen=True)
class Kept:
    """What is kept of the folder of one side.

    files: what each file contains, by its row of `Listing.stats`, both as bytes.
    signature: of the class folders when they were last listed. images: in them then.
    sets: of these by the number that `limit` or `subset` keep.
    """

    files: dict[bytes, bytes] = field(default_factory=dict)
    signature: str = ""
    images: int = 0
    sets: dict[int, SetIdentity] = field(default_factory=dict)


def with_contents(
    whole: Listing,
    listing: Listing,
    folder: Path,
    signature: str,
    entry: CacheEntry | None,
    most_bytes: float = inf,
) -> Listing:
    """Return `listing` with the fingerprint of what its files contain, and of labels or objects.

    whole: all images of the side, of which `listing` has some. signature: of its class folders.
    entry: where checksums are kept; None to keep none.
    most_bytes: of files whose content is not known; more of them are not read.
    Raises BenchError naming a file that cannot be read, and TooMuch.
    """
    assert listing.stats is not None
    kept = Kept() if entry is None else read_kept(entry)
    files = dict(kept.files)
    rows = _rows(listing)
    unknown = [i for i, row in enumerate(rows) if row not in files]
    size = sum(int(listing.stats[i, 1]) for i in unknown)
    if size > most_bytes:
        raise TooMuch(f"{size} bytes of {listing.name!r} are not known")
    for i, content in zip(unknown, _read_files(folder, listing, unknown, size), strict=True):
        files[rows[i]] = content
    contents = [files[row] for row in rows]
    marks = listing.labels.tolist()
    if listing.truths is not None:
        marks = [digest_of(truth) for truth in listing.truths]
    pairs = zip(contents, marks, strict=True)
    fingerprint = fingerprint_of(
        part for content, mark in pairs for part in (content[:-1].hex(), mark)
    )
    earlier = listing.fingerprint if all(c.endswith(_PLAIN) for c in contents) else None
    if listing.clip is not None:  # which never went by names
        fingerprint, earlier = fingerprint_of((fingerprint, "clips", *listing.clip)), None
    identity = SetIdentity(fingerprint, earlier)
    if entry is not None:
        sets = kept.sets if kept.signature == signature else {}
        if unknown or sets.get(len(listing)) != identity:
            there = {row: files[row] for row in _rows(whole) if row in files}
            sets = sets | {len(listing): identity}
            _write(entry, Kept(there, signature, len(whole), sets))
    return replace(listing, fingerprint=identity.fingerprint, earlier=identity.earlier)


def _rows(listing: Listing) -> list[bytes]:
    assert listing.stats is not None
    return _cut(listing.stats, _ROW_BYTES)


def _cut(array: npt.NDArray[np.generic], each: int) -> list[bytes]:
    whole = array.tobytes()
    return [whole[start : start + each] for start in range(0, len(whole), each)]


def _read_files(folder: Path, listing: Listing, which: Sequence[int], size: int) -> list[bytes]:
    if size > _WORTH_A_WORD:
        log.info(
            "reading %d images of the %s side of %r once, %.1f GB, to know what they contain",
            *(len(which), listing.side, listing.name, size / 1e9),
        )

    def read(index: int) -> bytes:
        path = folder / listing.files[index]
        try:
            content = path.read_bytes()
        except OSError as error:
            raise BenchError(
                f"cannot read image {listing.files[index]!r} of the {listing.side} side of "
                f"{listing.name!r}: {error.strerror or error}; check {str(path)!r}"
            ) from error
        return hashlib.sha256(content).digest() + (_PLAIN if _is_plain(content) else _BY_RULE)

    with ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(read, which))


def _is_plain(content: bytes) -> bool:
    from PIL import Image

    from bench.data.colours import NotRgb, is_plain

    try:
        with Image.open(BytesIO(content)) as image:
            return is_plain(image)
    except NotRgb:
        return False
    except Exception:  # whatever Pillow makes of it: then it was not decoded before either
        return True


def read_kept(entry: CacheEntry, files: bool = True) -> Kept:
    """Return what is kept in `entry`, without the contents of files if these are not asked for.

    What cannot be read is as good as absent: it is found out again.
    """
    try:
        with np.load(entry.path, allow_pickle=False) as arrays:
            about = json.loads(arrays["about"].tobytes())
            sets = {int(count): SetIdentity(*both) for count, both in about["sets"].items()}
            known: dict[bytes, bytes] = {}
            if files:
                rows = _cut(arrays["stats"], _ROW_BYTES)
                known = dict(zip(rows, _cut(arrays["contents"], _CONTENT_BYTES), strict=True))
            return Kept(known, about["signature"], about["images"], sets)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, EOFError, BadZipFile):
        return Kept()


def _write(entry: CacheEntry, kept: Kept) -> None:
    """Keep what is known; where that cannot be written, files are read again another time."""
    about = {"signature": kept.signature, "images": kept.images}
    about |= {"sets": {str(count): [*identity] for count, identity in kept.sets.items()}}

    def write(path: Path) -> None:
        with path.open("wb") as file:
            np.savez(
                file,
                about=_bytes([json.dumps(about).encode()]),
                stats=_bytes(kept.files),
                contents=_bytes(kept.files.values()),
            )

    with suppress(OSError), entry.locked():
        entry.complete(write)


def _bytes(parts: Iterable[bytes]) -> npt.NDArray[np.uint8]:
    return np.frombuffer(b"".join(parts), dtype=np.uint8)
