"""Masks as COCO encodes them: of what boxes show, and stored for many images."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bench.statistics.boxes import Mask

_LIKELY = 0.5


def pasted(shown: np.ndarray, box: np.ndarray, width: int, height: int) -> Mask:
    """Return the mask in an image of what a box shows.

    As torchvision pastes them (`paste_masks_in_image`) and then counts what is above one half: the
    box is widened by a pixel of the mask on each side and rounded to whole pixels, the values are
    interpolated linearly.

    shown: (m, m) float32, 0..1. box: (4,), left, top, right, bottom in pixels of the image.
    """
    from faster_coco_eval.core.mask import encode

    left, top, right, bottom = _widened(box, len(shown))
    rows = _interpolated(np.pad(shown, 1).T, max(bottom - top + 1, 1)).T
    values = _interpolated(rows, max(right - left + 1, 1))
    pixels = np.zeros((height, width), np.uint8, order="F")
    first, behind = max(left, 0), min(right + 1, width)
    upper, below = max(top, 0), min(bottom + 1, height)
    if first < behind and upper < below:
        part = values[upper - top : below - top, first - left : behind - left]
        pixels[upper:below, first:behind] = part > _LIKELY
    mask: Mask = encode(pixels)
    return mask


def joined_masks(kind: str, images: Sequence[Sequence[Mask]]) -> dict[str, np.ndarray]:
    """Return masks of all images behind each other, as arrays whose names begin with `kind`."""
    every = [mask for masks in images for mask in masks]
    counts = [bytes(mask["counts"]) for mask in every]
    return {
        f"{kind}_masks": np.frombuffer(b"".join(counts), np.uint8),
        f"{kind}_mask_bytes": np.array([len(each) for each in counts], np.int64),
        f"{kind}_mask_sizes": np.array([mask["size"] for mask in every], np.int64).reshape(-1, 2),
    }


def parted_masks(
    kind: str, kept: Mapping[str, np.ndarray], counts: np.ndarray
) -> list[list[Mask]] | None:
    """Return the masks of each image, of `counts` (images,) objects each; None where none is kept.

    kept: what `joined_masks` returned, among others.
    """
    if f"{kind}_masks" not in kept:
        return None
    whole, sizes = kept[f"{kind}_masks"].tobytes(), kept[f"{kind}_mask_sizes"].tolist()
    ends = np.cumsum(kept[f"{kind}_mask_bytes"]).tolist()
    masks: list[Mask] = [
        {"size": size, "counts": whole[start:end]}
        for size, start, end in zip(sizes, [0, *ends], ends, strict=False)
    ]
    parts, first = [], 0
    for count in counts.tolist():
        parts.append(masks[first : first + count])
        first += count
    return parts


def same_masks(one: Sequence[Mask] | None, other: Sequence[Mask] | None) -> bool:
    """Return whether two lists of masks, None where there are none, are of the same pixels."""
    if one is None or other is None:
        return one is other
    return list(map(_plain, one)) == list(map(_plain, other))


def _plain(mask: Mask) -> tuple[Any, ...]:
    return tuple(mask["size"]), mask["counts"]


def _widened(box: np.ndarray, side: int) -> list[int]:
    low, high = box.astype(np.float32)[:2], box.astype(np.float32)[2:]
    middle = (low + high) * np.float32(0.5)
    half = (high - low) * np.float32(0.5) * np.float32((side + 2) / side)
    corners: list[int] = np.concatenate([middle - half, middle + half]).astype(np.int64).tolist()
    return corners


def _interpolated(values: np.ndarray, count: int) -> np.ndarray:
    """Return `values` (n, m) as (n, count), linearly between the middles of pixels."""
    side = values.shape[1]
    place = np.float32(side / count) * (np.arange(count, dtype=np.float32) + np.float32(0.5))
    place = np.maximum(place - np.float32(0.5), 0)
    first = np.minimum(place.astype(np.int64), side - 1)
    second = np.minimum(first + 1, side - 1)
    share = (place - first).astype(np.float32)
    mixed: np.ndarray = values[:, first] * (1 - share) + values[:, second] * share
    return mixed
