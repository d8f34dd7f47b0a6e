"""Images as a network sees them, as one picture."""

import io

import torch
from PIL import Image
from torch import Tensor

from models.preprocessing import Preprocessing

_PREVIEW_IMAGES = 16


def preview(images: Tensor, preprocessing: Preprocessing) -> Image.Image:
    """Return a grid of the first 16 of `images` (N, 3, H, W), four in a row.

    See `grid`.
    """
    first = images[:_PREVIEW_IMAGES]
    return grid(first, preprocessing, min(4, len(first)))


def over_time(images: Tensor, preprocessing: Preprocessing) -> bytes:
    """Return `images` (times, n, 3, H, W) as a PNG, a row for each time. See `grid`."""
    file = io.BytesIO()
    grid(images.flatten(0, 1), preprocessing, images.shape[1]).save(file, "PNG")
    return file.getvalue()


def grid(images: Tensor, preprocessing: Preprocessing, columns: int) -> Image.Image:
    """Return `images` (N, 3, H, W) in rows, black where the last is not full.

    The normalisation is undone, and what lies outside the range of pixels is clipped.
    """
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (preprocessing.mean, preprocessing.std))
    pixels = ((images * std + mean).clamp(0, 1) * 255).round().to(torch.uint8)
    rows = -(-len(pixels) // columns)
    blank = pixels.new_zeros(rows * columns - len(pixels), *pixels.shape[1:])
    cells = torch.cat([pixels, blank]).unflatten(0, (rows, columns))
    cells = cells.permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)
    return Image.fromarray(cells.numpy())
