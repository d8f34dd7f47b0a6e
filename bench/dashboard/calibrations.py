"""What is kept of calibration images: a small picture of synthetic ones, and the loss curve."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.cells.result import Result
from bench.dashboard.pictures import address, opened
from bench.dashboard.thin import thinned
from bench.files.entry import CacheEntry
from bench.files.kinds import CALIBRATION, CURVE, PREVIEW, is_key

_COLUMNS = 4  # of a preview, a grid of 16 images
_LEGIBLE = 100  # pixels of an image: larger ones are shown four at a time
_POINTS = 160


def calibrations(results: Iterable[Result], cache: Path, budget_bytes: int) -> dict[str, Any]:
    """Return what there is by calibration key.

    cache: the folder of all caches. budget_bytes: of all pictures together; those that
        come after it is spent are left out, and `left_out` says so.

    Photographs of a training set are not shown: a page is passed on where a data set must not be.
    """
    by_key: dict[str, Any] = {}
    for result in results:
        key = result.calibration_key
        if key is None or key in by_key or not is_key(key):
            continue
        entry = CacheEntry(cache, CALIBRATION, key)
        content: dict[str, Any] = {"curve": _curve(entry.file(CURVE))}
        if result.recipe.calibration.set is not None:
            content["photographs"] = True
        elif (picture := _picture(entry.file(PREVIEW))) is not None:
            if len(picture["picture"]) <= budget_bytes:
                budget_bytes -= len(picture["picture"])
                content |= picture
            else:
                content["left_out"] = True
        by_key[key] = content
    return by_key


def _curve(path: Path) -> list[list[float]]:
    """Return (iteration, loss) of some points of the curve, the first and the last among them."""
    try:
        losses = [float(loss) for loss in json.loads(path.read_bytes())]
    except (OSError, ValueError, TypeError):
        return []
    points = [[i, loss] for i, loss in enumerate(losses, start=1) if math.isfinite(loss)]
    return thinned(points, _POINTS)


def _picture(path: Path) -> dict[str, Any] | None:
    """Return a preview as the address of an embedded picture, and how many images it shows.

    Returns None without a readable one. The number is None where it is that of the preview.
    """
    image = opened(path)
    if image is None:
        return None
    half = image.width // 2
    cropped = image.width // _COLUMNS >= _LEGIBLE and image.height >= half
    if cropped:
        image = image.crop((0, 0, half, half))
    return {"picture": address(image), "pictured": 4 if cropped else None}
