"""ACIQ (Banner et al., NeurIPS 2019): where to clip values of a known distribution.

With values of a density around their mean that are clipped at a distance a and rounded to 2^M
levels, the mean squared error is (sections 3 and A of the paper, for the spread 1)

    Laplace  2 e^-a + a^2 / (3 4^M)
    Gauss    (1 + a^2) (1 - erf(a / sqrt 2)) - sqrt(2 / pi) a e^(-a^2 / 2) + a^2 / (3 4^M)

and the best a is where its derivative is 0. The authors' release has these in a table of two
decimals; another release's table (OCS) belongs to an earlier form of the second term, and differs
by a fifth at 4 bits.
"""

import math
from functools import cache
from typing import Literal

import torch
from torch import Tensor

from models.quantize.least_error import Range

Prior = Literal["laplace", "gauss"]

_BRACKET = (0.1, 40.0)  # of the best distance, for 1 to 17 bits
_HALVINGS = 60


@cache
def best_distance(prior: Prior, bits: int) -> float:
    """Return a for `bits`, in b = E|x - E x| of a Laplace or sigma of a Gauss distribution."""

    def slope(a: float) -> float:
        of_rounding = 2 * a / (3 * 4**bits)
        if prior == "laplace":
            return of_rounding - 2 * math.exp(-a)
        tail = a * math.erfc(a / math.sqrt(2)) - math.sqrt(2 / math.pi) * math.exp(-a * a / 2)
        return of_rounding + 2 * tail

    low, high = _BRACKET
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if slope(middle) > 0 else (middle, high)
    return low


def clipped(values: Tensor, bits: int, prior: Prior) -> Range:
    """Return the range of each row of `values` (C, n) that is the best for its prior, both (C,).

    Two-sided it is a around the mean; where it would begin below the smallest value it is moved up,
    as in the release (int_quantizer.py), and it ends at the largest, unlike there.

    Where no value is negative a ReLU is taken to have been there. Levels are then on one side, as
    if there were twice as many: a is that of one more bit, from 0 on, as in the release. The
    release measures the spread before the ReLU; here that of the values above 0 stands for it,
    E x for b and the root of E x^2 for sigma, which is the same where the mean before the ReLU is 0
    (with Laplace, 0 or below).
    """
    if bool((values < 0).any()):
        mean = values.mean(1)
        a = best_distance(prior, bits) * spread(values - mean[:, None], prior)
        low = torch.maximum(values.amin(1), mean - a)
        return low, torch.minimum(values.amax(1), low + 2 * a)
    count = (values > 0).sum(1).clamp(min=1)
    a = best_distance(prior, bits + 1) * spread(values, prior, count)
    return torch.zeros_like(a), torch.minimum(values.amax(1), a)


def spread(centred: Tensor, prior: Prior, count: Tensor | None = None) -> Tensor:
    """Return b or sigma of each row (C, n) of values less their mean, (C,).

    count: of the values of each row that count, where the others are 0.
    """
    if prior == "laplace":
        return centred.abs().sum(1) / (centred.shape[1] if count is None else count)
    divisor = max(centred.shape[1] - 1, 1) if count is None else count
    return (centred.square().sum(1) / divisor).sqrt()
