"""Where cells were wrong: one bit an image, and what the images are."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench.cells.result import Result
from bench.cells.store import Store
from bench.data import Listing, scan
from bench.data.datasets import known_set
from models.errors import BenchError


def bitmap(store: Store, result: Result) -> str:
    """Return whether the best class was right, one bit an image (the first is the highest bit of
    the first byte), in base 64.

    Raises BenchError when the file is missing, damaged or not what the result says.
    """
    right = store.items(result.id).top1
    return base64.b64encode(np.packbits(right).tobytes()).decode()


def image_set(data: Mapping[str, Any], fingerprint: str, cache: Path) -> dict[str, Any] | None:
    """Return the names and classes of the images that `data`, a configuration, describes.

    cache: where checksums of files are kept; not many files are read.
    Returns None when they are not here, or are others than those of `fingerprint`.
    """
    known = known_set(data, "eval", cache)
    if known is None or (known.identity is not None and fingerprint not in known.identity):
        return None
    try:
        listing = scan(data, "eval", cache)
    except (BenchError, OSError):
        return None
    if fingerprint not in (listing.fingerprint, listing.earlier):
        return None
    return {
        "files": list(listing.files),
        "labels": listing.labels.tolist(),
        "classes": _class_names(listing),
    }


def _class_names(listing: Listing) -> dict[int, str]:
    """Return the name of each class that lies in one folder of its own."""
    folders: dict[int, set[str]] = {}
    for file, label in zip(listing.files, listing.labels.tolist(), strict=True):
        folders.setdefault(label, set()).add(file.rpartition("/")[0].rpartition("/")[2])
    seen = [folder for of in folders.values() for folder in of]
    return {
        label: next(iter(of))
        for label, of in folders.items()
        if len(of) == 1 and seen.count(next(iter(of))) == 1
    }
