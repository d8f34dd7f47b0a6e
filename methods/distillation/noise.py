"""Noise that images may start from: with a mean of its own each, or with the spectrum of photos."""

import torch
from torch import Tensor
from torch.fft import fftfreq, irfft2, rfft2, rfftfreq
from torch.nn.functional import conv2d

_BOX = 5
_BOX_SUM = 16
"""Sony MCT's filter for `diverse`: 5 x 5 ones, over all colours, divided by 16."""

_COMMON = 0.9
"""The share of the variance of pink noise that the colours have in common, as in most photos."""


def diverse(shape: tuple[int, int, int, int], generator: torch.Generator) -> Tensor:
    """Return noise (N, C, H, W) whose mean and deviation are drawn for each image and channel.

    Both are N(0, 1), and a 5 x 5 filter over all channels smooths the result (Sony MCT,
    image_initilization.py, diverse_sample). The release pads by 1 and so loses a pixel a side;
    here as many are drawn as are asked for after it.
    """
    count, channels, height, width = shape
    mean, deviation = torch.randn((2, count, channels, 1, 1), generator=generator)
    wide = (count, channels, height + 2, width + 2)
    sample = torch.randn(wide, generator=generator) * deviation + mean
    return conv2d(sample, torch.ones(channels, channels, _BOX, _BOX) / _BOX_SUM, padding=1)


def pink(shape: tuple[int, int, int, int], generator: torch.Generator) -> Tensor:
    """Return noise (N, C, H, W) whose amplitude falls as 1 / frequency, as that of photos does.

    Every channel of every image has mean 0 and deviation 1.
    """
    count, channels, height, width = shape
    white = torch.randn((count, channels + 1, height, width), generator=generator)
    own, common = white[:, 1:], white[:, :1]
    white = (1 - _COMMON) ** 0.5 * own + _COMMON**0.5 * common
    frequency = torch.hypot(fftfreq(height).view(-1, 1), rfftfreq(width))
    frequency[0, 0] = torch.inf  # the mean
    noise = irfft2(rfft2(white) / frequency, s=(height, width))
    return noise / noise.std(dim=(2, 3), correction=0, keepdim=True)
