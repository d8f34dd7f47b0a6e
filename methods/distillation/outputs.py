"""Losses of what a network returns: how decided it is about images."""

from torch import Tensor


def spread(output: Tensor) -> Tensor:
    """Return how far the largest value of each row (N, classes) is above the smallest: (N,)."""
    return output.amax(1) - output.amin(1)


def negative_spread(output: Tensor) -> Tensor:
    """Minus the mean spread (Sony MCT, output_loss_functions.py, negative_min_max_diff)."""
    return -spread(output).mean()


def inverse_spread(output: Tensor) -> Tensor:
    """1 / the mean spread (Sony MCT, output_loss_functions.py, inverse_min_max_diff)."""
    return 1 / (spread(output).mean() + 1e-6)
