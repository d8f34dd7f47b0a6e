"""What each value of a block's output counts: the diagonal of the Fisher information."""

from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div

from models.quantize.rounding.block import Loss
from models.quantize.rounding.blocks import Block
from models.tracing import traced

_BATCH = 32  # images at a time, as in the release, whose gradients are of a mean over them


def importance(
    network: nn.Module,
    reference: nn.Module,
    block: Block,
    images: Tensor,
    loss: Loss,
    generator: torch.Generator,
) -> Tensor | None:
    """Return what the squared error of each value of a block's output counts; None: all alike.

    mse: all alike, the default of the release (yhhhli/BRECQ, main_imagenet.py).
    fisher: the squared gradient of the log-likelihood by it (Li et al., ICLR 2021, eq. 10), divided
        by its mean, so that lambda weighs as much as with mse. The label of an image is drawn from
        the float network's own prediction: no other is needed, and what is drawn from the model is
        what makes it the Fisher information.
    fisher_release: (1 + |g|)^2, g being the gradient of KL(float || quantized), averaged over 32
        images, where the blocks before this one are quantized (data_utils.py, `save_grad_data`). As
        g is small this is nearly mse; for the first block it is mse.

    network: with quantized weights before the block, float ones from there on. reference: float.
    images: (N, 3, H, W), normalised.
    """
    if loss == "mse":
        return None
    kept: list[Tensor] = []
    source = reference if loss == "fisher" else network
    for batch in images.split(_BATCH):
        with torch.no_grad():
            logits = reference(batch)
        with torch.enable_grad():
            kept += _gradients(source, block, batch, logits, loss, generator)
    gradients = torch.cat(kept)
    if loss == "fisher_release":
        return gradients.abs_().add_(1).square_()
    squares = gradients.square_()
    mean = squares.mean()
    return squares.div_(mean) if float(mean) > 0 else None


def _gradients(
    network: nn.Module,
    block: Block,
    images: Tensor,
    logits: Tensor,
    loss: Loss,
    generator: torch.Generator,
) -> list[Tensor]:
    """Return the gradient by the output of a block, of each call one."""
    gradients: list[Tensor] = []

    def note(name: str, args: Any, output: Tensor) -> None:
        place = len(gradients)
        gradients.append(torch.zeros_like(output))
        # Before what comes may change it in place.
        output.register_hook(lambda gradient: gradients.__setitem__(place, gradient.clone()))

    weight = network.get_submodule(block.layers[0]).get_parameter("weight")
    before = weight.requires_grad
    weight.requires_grad_()
    last = block.modules[-1]
    with traced({last: network.get_submodule(last)}, after=note):
        output = network(images)
    probabilities = logits.softmax(1)
    if loss == "fisher":
        label = torch.multinomial(probabilities.cpu(), 1, generator=generator).flatten()
        value = cross_entropy(output, label.to(output.device), reduction="sum")
    else:
        value = kl_div(output.log_softmax(1), probabilities, reduction="batchmean")
    with suppress(RuntimeError):  # no path from the block to the logits
        torch.autograd.grad(value, weight)
    weight.requires_grad_(before)
    return gradients
