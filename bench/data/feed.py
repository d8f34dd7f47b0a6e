"""The way of pixels from the decoded cache to the device."""

import mmap
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from bench.data import ImageSet
from bench.data.imageset import Identity, Indices, channels_last
from bench.data.listing import Labels, chosen
from bench.machine.memory import available_bytes
from methods.training.surroundings import Images, held, to_device
from models.preprocessing import laid_out

_SHARE = 0.5  # of the device's free memory, at most, for an image set
_UPLOAD = 1024  # images


class ResidentImages:
    """The one evaluation set that stays on a GPU for the next cells."""

    def __init__(self) -> None:
        self._key: tuple[Identity, torch.device] | None = None
        self._pixels: Tensor | None = None

    def pixels(self, images: ImageSet, device: torch.device) -> Tensor | None:
        """Return the set, as `Feed` has it, on `device`; None where it would take too much of it.

        It is known by the file it was decoded into: the same photos have other pixels for a network
        that wants them resized in another way. A set from no such file does not stay.
        """
        if images.checks is None:
            return None
        key = images.checks.identity, device
        if key != self._key:
            self._key, self._pixels = None, None
            if images.images.nbytes > _SHARE * free_bytes(device):
                return None
            empty = torch.empty(images.images.shape, dtype=_type(images), device=device)
            self._pixels = _filled(laid_out(empty, torch.channels_last), images)
            self._key = key
        return self._pixels


class Feed(NamedTuple):
    """An image set, and what gives its images first..last - 1 on a device.

    pixels: (last - first, 3, H, W) uint8, channels last; of texts ids, (last - first, words) int32.
    """

    images: ImageSet
    pixels: Callable[[int, int], Tensor]


def feed(images: ImageSet, device: torch.device, resident: ResidentImages) -> Feed:
    """Return the way of `images` to `device`.

    On a GPU the whole set is put there where it fits, and stays for the next cells. On a CPU only
    the images that were asked for last take memory.
    """
    if device.type != "cuda":
        return Feed(images, lambda first, last: _host(images, slice(first, last)))
    on_device = resident.pixels(images, device)
    if on_device is not None:
        return Feed(images, lambda first, last: on_device[first:last])
    # Pinned pages are copied while the GPU computes what was queued before.
    return Feed(images, lambda first, last: to_device(_host(images, slice(first, last)), device))


def part(of: Feed, places: Labels, device: torch.device, resident: ResidentImages) -> Feed:
    """Return the way of the images at `places` of a set to `device`, in that order."""
    images = of.images
    listed = replace(images, listing=chosen(images.listing, places))
    on_device = resident.pixels(images, device) if device.type == "cuda" else None
    if on_device is not None:
        at = torch.from_numpy(places.copy()).to(device)
        return Feed(listed, lambda first, last: on_device[at[first:last]])

    def copied(first: int, last: int) -> Tensor:
        pixels = _host(images, places[first:last])
        return pixels if device.type == "cpu" else to_device(pixels, device)

    return Feed(listed, copied)


def _host(images: ImageSet, which: Indices) -> Tensor:
    """Copy images as they lie in the file, channels last, so that nothing is rearranged."""
    copied = torch.from_numpy(channels_last(images.pixels(which)).copy())
    mapping = getattr(images.images, "_mmap", None)
    if mapping is not None and hasattr(mmap, "MADV_DONTNEED"):
        # What was read stays in the system's cache, and is no longer counted as this process's.
        mapping.madvise(mmap.MADV_DONTNEED)
    return copied.permute(0, 3, 1, 2) if copied.dim() == 4 else copied


def _filled(pixels: Tensor, images: ImageSet) -> Tensor:
    """Return `pixels`, as large as the set, with its images copied into them."""
    for first in range(0, len(images), _UPLOAD):
        last = min(first + _UPLOAD, len(images))
        pixels[first:last] = _host(images, slice(first, last))
    return pixels


def _type(images: ImageSet) -> torch.dtype:
    """Return the type of the numbers that a set is kept as: of pixels, or of ids."""
    return torch.uint8 if images.images.dtype == np.uint8 else torch.int32


def feed_training(images: ImageSet, device: torch.device, processes: int = 1) -> Images:
    """Return what gives the images of some indices, on `device`; the same ones wherever they lie.

    They are put on the device where they fit (`fits_on`); else each batch is read from the decoded
    file, checked, and copied there while a GPU computes what was queued before.
    """
    if fits_on(device, images, processes):
        empty = torch.empty(images.images.shape, dtype=_type(images), device=device)
        return held(_filled(empty, images))

    def batch(indices: Tensor) -> Tensor:
        pixels = np.ascontiguousarray(images.pixels(indices.numpy()))
        return to_device(torch.from_numpy(pixels), device)

    return batch


def fits_on(device: torch.device, images: ImageSet, processes: int = 1) -> bool:
    """Return whether training images may stay on a device, beside what a training needs there.

    processes: of this machine, each of which has the images; on GPUs each has one of its own.
    """
    copies = 1 if device.type == "cuda" else processes
    return copies * images.images.nbytes <= _SHARE * free_bytes(device)


def free_bytes(device: torch.device) -> int:
    """Return the memory of a GPU that nobody uses; of the CPU, what this process may still take."""
    if device.type == "cuda":
        # PyTorch keeps what was freed, and the driver counts it as taken.
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    return available_bytes()
