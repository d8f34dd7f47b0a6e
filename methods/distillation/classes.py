"""Which classes of a network images are made for."""

import torch
from torch import Tensor, nn

from models.errors import BenchError


def outputs_of(network: nn.Module, image: Tensor) -> int:
    """Return how many values `network` has for `image` (1, C, H, W)."""
    with torch.no_grad():
        outputs: Tensor = network(image)
    return outputs.shape[1]


def fitting(outputs: int, classes: int | None, instead: str) -> int:
    """Return how many classes of a head with `outputs` values are drawn from.

    classes: as asked for; None for all. instead: what to do where there are no classes.
    Raises BenchError for a head of less than two, and for more classes than it has, or one.
    """
    if outputs < 2:
        raise BenchError(
            f"the network has {outputs} output, and images are made for 2 classes or more; "
            f"{instead}"
        )
    found = outputs if classes is None else classes
    if not 2 <= found <= outputs:
        raise BenchError(
            f"method.classes={classes} does not fit the head of the network, which has {outputs} "
            f"outputs; give 2 to {outputs}, or null"
        )
    return found
