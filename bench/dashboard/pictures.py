"""Pictures as they are embedded in a page: small, and as many as its share of bytes takes."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cells.result import Result
from bench.cells.store import Store
from bench.files.kinds import GENERATED

if TYPE_CHECKING:
    from PIL import Image

SIDE = 288  # pixels
_QUALITY = 60
_GENERATED_SIDE = 576  # pixels: rows over time, of 8 images


def opened(path: Path) -> "Image.Image | None":
    """Return a picture that was kept, or None without a readable one."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return picture.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def address(picture: "Image.Image", side: int = SIDE) -> str:
    """Return `picture`, made as small as `side` pixels, as an address with all of it inside."""
    picture.thumbnail((side, side))
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=_QUALITY)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def add_generated(
    cells: Sequence[dict[str, Any]], store: Store, results: Sequence[Result], budget_bytes: int
) -> None:
    """Add `generated` to cells that were trained on images of a generator: its images over time.

    budget_bytes: of all of them together. What comes after it is spent is left out, and then
    `generated` is False.
    """
    for cell, result in zip(cells, results, strict=True):
        picture = opened(store.folder(result.id) / GENERATED)
        if picture is None:
            continue
        embedded = address(picture, _GENERATED_SIDE)
        fits = len(embedded) <= budget_bytes
        cell["generated"] = embedded if fits else False
        budget_bytes -= len(embedded) if fits else 0
