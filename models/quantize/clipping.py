"""How much of what passes activation quantizers lies outside of their ranges."""

from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from models.quantize.activation import ActivationQuantizer
from models.tracing import traced

_BATCH = 32  # images at a time through the network


@torch.no_grad()
def clipped_energy(
    network: nn.Module, quantizers: Mapping[str, ActivationQuantizer], images: Tensor
) -> dict[str, float]:
    """Return what clipping removes at each place of a quantized network, in percent of the energy.

    100 sum (x - clip(x))^2 / sum x^2 over all that passes a quantizer while `network` computes
    `images`: the inverse of the signal-to-noise ratio that clipping alone leaves, so that 10 is
    10 dB and 1 is 20 dB. 0 where only zeros pass.

    quantizers: by the name of the place, their ranges fixed. images: (N, C, H, W) normalised input.
    """
    removed: defaultdict[str, float] = defaultdict(float)
    energy: defaultdict[str, float] = defaultdict(float)

    def note(name: str, args: tuple[Tensor]) -> None:
        (x,) = args
        low, high = quantizers[name].low, quantizers[name].high
        removed[name] += (x - torch.minimum(torch.maximum(x, low), high)).square().sum().item()
        energy[name] += x.square().sum().item()

    with traced(quantizers, before=note):
        for batch in images.split(_BATCH):
            network(batch)
    return {name: 100 * removed[name] / (energy[name] or 1) for name in quantizers}
