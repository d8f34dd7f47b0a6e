"""Random changes of training images, on the device, drawn on the CPU.

The random numbers come from a CPU generator, so that the draws are the same on every device.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from methods.training.schedule import Schedule
from methods.training.surroundings import to_device
from models.errors import BenchError


def augment(pixels: Tensor, schedule: Schedule, generator: torch.Generator) -> Tensor:
    """Return `pixels` (N, C, H, W) float32, each image changed as `schedule.augment` says.

    The frames of a clip are channels of it, and changed alike.
    Raises BenchError for rows of words, (N, words), which have no pixels to move.
    """
    if pixels.dim() != 4 and schedule.augment != "none":
        raise BenchError(
            f"augment={schedule.augment} moves the pixels of images, and texts have none; give none"
        )
    if schedule.augment == "affine":
        return warp(pixels, schedule, generator)
    if schedule.augment == "crop_flip":
        return crop_flip(pixels, int(schedule.max_shift), generator)
    return pixels


def warp(pixels: Tensor, schedule: Schedule, generator: torch.Generator) -> Tensor:
    """Rotate, scale and shift each image by its own random amount, black beyond the border.

    pixels: (N, C, H, W) float32, any device.
    """
    count, _, height, width = pixels.shape
    draws = torch.rand(count, 4, generator=generator) * 2 - 1
    angle = draws[:, 0] * math.radians(schedule.max_rotation)
    scale = 1 + draws[:, 1] * schedule.max_scale
    # The grid's coordinates run from -1 to 1: a pixel is 2 / width of them.
    shift_x = draws[:, 2] * schedule.max_shift * 2 / width
    shift_y = draws[:, 3] * schedule.max_shift * 2 / height
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    # Without the aspect ratio a rotation in grid coordinates would shear an oblong image.
    rows = [cos, -sin * height / width, shift_x, sin * width / height, cos, shift_y]
    theta = to_device(torch.stack(rows, dim=1).view(count, 2, 3), pixels.device)
    grid = functional.affine_grid(theta, list(pixels.shape), align_corners=False)
    return functional.grid_sample(pixels, grid, mode="bilinear", align_corners=False)


def crop_flip(pixels: Tensor, shift: int, generator: torch.Generator) -> Tensor:
    """Shift each image by -shift..shift whole pixels on each axis, and mirror half of them.

    pixels: (N, C, H, W), any device and type; what comes in from beyond the border is black.
    """
    count, _, height, width = pixels.shape
    shifts = torch.randint(0, 2 * shift + 1, (2, count), generator=generator)
    mirrored = torch.randint(0, 2, (count,), generator=generator)
    columns = torch.arange(width).expand(count, width)
    columns = torch.where(mirrored[:, None] == 1, columns.flip(1), columns)
    rows = to_device(torch.arange(height) + shifts[0, :, None], pixels.device)
    columns = to_device(columns + shifts[1, :, None], pixels.device)
    padded = functional.pad(pixels, (shift, shift, shift, shift))
    images = torch.arange(count, device=pixels.device)[:, None, None, None]
    channels = torch.arange(pixels.shape[1], device=pixels.device)[None, :, None, None]
    return padded[images, channels, rows[:, None, :, None], columns[:, None, None, :]]
