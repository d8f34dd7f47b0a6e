"""The statistics of BatchNorm layers, taken again."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models.errors import BenchError, NotApplicable
from models.tracing import traced


@torch.no_grad()
def reestimate(network: nn.Module, batches: Sequence[Tensor]) -> None:
    """Replace the running statistics of all BatchNorm layers in use by those over `batches`.

    batches: normalised images, (N, C, H, W) each; the mean over batches counts, so give batches of
        one size. The network computes at the bits it is set to and stays in its mode.
    """
    norms = {n: m for n, m in network.named_modules() if isinstance(m, nn.BatchNorm2d)}
    states = [(m, m.training) for m in network.modules()]
    momenta = {name: norm.momentum for name, norm in norms.items()}
    used: set[str] = set()

    def reset_once(name: str, args: Any) -> None:
        """Forget what another bit-width left; a layer that is not in use keeps it."""
        if name not in used:
            used.add(name)
            norms[name].reset_running_stats()

    try:
        network.eval()
        for norm in norms.values():
            norm.train()
            norm.momentum = None  # the cumulative mean
        with traced(norms, before=reset_once):
            for batch in batches:
                network(batch)
    finally:
        for name, norm in norms.items():
            norm.momentum = momenta[name]
        for module, training in states:
            module.training = training


def check_batchnorm(network: nn.Module) -> None:
    """Raise NotApplicable for a network without BatchNorm statistics."""
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    if not any(norm.running_mean is not None for norm in norms):
        raise NotApplicable(
            "quant.reestimate_batchnorm=true: the network has no BatchNorm whose statistics could "
            "be taken again, or it is folded into the weights; use false, or quant.fold=false"
        )


def reestimate_on(network: nn.Module, images: Tensor) -> None:
    """Replace the statistics of all BatchNorm layers by those on `images`, exactly, in place.

    All images (N, 3, H, W) pass at once, and each BatchNorm normalises them by what they are there:
    so its statistics are those behind layers whose own are already right, but for the n / (n - 1)
    of a running variance, and nothing of the old ones is left. Releases pass batches instead, with
    a momentum of 0.1, and keep a mean of the last ten or so (Bit-Split: 201 batches of 64).

    Raises BenchError where the images give a BatchNorm one value a channel.
    """
    try:
        reestimate(network, [images])
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise BenchError(
            f"quant.reestimate_batchnorm=true: {len(images)} image gives a BatchNorm one value a "
            "channel, which has no variance; give more with method.images"
        ) from error
