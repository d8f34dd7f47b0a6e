"""Losses of images that look at no network: how smooth, how large, how different they are."""

import torch
from torch import Tensor
from torch.linalg import eigvalsh, vector_norm
from torch.nn.functional import mse_loss, normalize

from methods.distillation.views import smoothed

_ROLL = 30  # pixels, of the DSG release


def image_prior(images: Tensor, generator: torch.Generator) -> Tensor:
    """Total variation of the rolled `images` (N, C, H, W) plus the mean L2 norm of an image.

    The roll is by one random offset on both axes, -30 to 29 pixels, as in the DSG release.
    """
    offset = int(torch.randint(-_ROLL, _ROLL, (1,), generator=generator))
    rolled = torch.roll(images, (offset, offset), dims=(2, 3))
    return total_variation(rolled) + vector_norm(images, dim=(1, 2, 3)).mean()


def total_variation(x: Tensor) -> Tensor:
    """L2 norm, over the whole batch, of the differences of neighbours in each of 4 directions."""
    pairs = (
        (x[:, :, :, 1:], x[:, :, :, :-1]),
        (x[:, :, 1:], x[:, :, :-1]),
        (x[:, :, 1:, :-1], x[:, :, :-1, 1:]),
        (x[:, :, 1:, 1:], x[:, :, :-1, :-1]),
    )
    return torch.stack([vector_norm(a - b) for a, b in pairs]).sum()


def roughness(x: Tensor) -> Tensor:
    """Mean squared difference of neighbours, across plus down, of `x` (N, C, H, W)."""
    across, down = x[:, :, :, 1:] - x[:, :, :, :-1], x[:, :, 1:] - x[:, :, :-1]
    return across.square().mean() + down.square().mean()


def spectrum_difference(images: Tensor, others: Tensor) -> Tensor:
    """Mean squared difference of the sorted eigenvalues of two batches' cosine similarities.

    Each matrix (N, N) is the Gram matrix of the images as vectors of length 1.
    """
    spectra = []
    for batch in (images, others):
        unit = normalize(batch.flatten(1), dim=1)
        spectra.append(eigvalsh(unit @ unit.T))
    return mse_loss(*spectra)


def unsmooth(images: Tensor, sigma: float) -> Tensor:
    """Mean squared difference of `images` (N, C, H, W) and what a Gaussian filter makes of them.

    sigma: its deviation in pixels; see `methods.distillation.views.smoothed`.
    """
    return mse_loss(images, smoothed(images, sigma))
