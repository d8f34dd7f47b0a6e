"""Image folders listed once a command."""

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from bench.data.datasets import scan
from bench.data.listing import Listing, Side

# The cells of a sweep share their images, and listing a million files takes half a minute.
_KEPT = 8


class Listings:
    """The sides of data sets that a command has listed, as their files were at that moment."""

    def __init__(self) -> None:
        self._scan = lru_cache(maxsize=_KEPT)(_scan)

    def of(self, data: Mapping[str, Any], side: Side, cache: Path) -> Listing:
        """Return one side of the data set that `data`, a `data` node, describes.

        cache: where checksums of files are kept. Raises BenchError as `scan`.
        """
        return self._scan(json.dumps(data, sort_keys=True), side, cache)


def _scan(data: str, side: Side, cache: Path) -> Listing:
    return scan(json.loads(data), side, cache)
