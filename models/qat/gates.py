"""Hard-concrete gates: random numbers in 0..1, 0 and 1 included, whose law is learned.

A gate has a parameter phi. From a uniform number u in 0..1 it is

    z = clamp((ZETA - GAMMA) sigmoid((logit(u) + phi) / BETA) + GAMMA, 0, 1)

Source: Louizos et al., "Learning Sparse Neural Networks through L0 Regularization" (ICLR 2018),
section 2.2; the constants and the threshold are those of Bayesian Bits (van Baalen et al., NeurIPS
2020), section 2.3 and its release (straight_through.py).
"""

import math

import torch
from torch import Tensor

BETA = 2 / 3
ZETA = 1.1
GAMMA = -0.1
THRESHOLD = 0.34
"""A gate that is 0 with a smaller probability is open when the network is used."""

EVEN = 0.5
"""The draw that leaves a gate at its middle: the release's gates without noise."""

_OFFSET = BETA * math.log(-GAMMA / ZETA)
OPEN_ABOVE = _OFFSET - math.log(THRESHOLD / (1 - THRESHOLD))
"""phi of a gate at the threshold, -0.9353."""
_EDGE = 1e-6  # keeps the logit of a draw finite


def drawn(phi: Tensor, u: Tensor) -> Tensor:
    """Return gates, 0..1, for uniform draws `u` in 0..1; shapes broadcast."""
    u = u.clamp(_EDGE, 1 - _EDGE)
    concrete = torch.sigmoid((torch.logit(u) + phi) / BETA)
    return (concrete * (ZETA - GAMMA) + GAMMA).clamp(0, 1)


def probability(phi: Tensor) -> Tensor:
    """Return the probability that a gate is not 0."""
    return torch.sigmoid(phi - _OFFSET)


def is_open(phi: Tensor) -> Tensor:
    """Return, as bool, whether a gate is open when the network is used."""
    return phi > OPEN_ABOVE
