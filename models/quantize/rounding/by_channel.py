"""A rounding whose output channels have bits of their own."""

import torch

from models.errors import NotApplicable
from models.quantize.rounding.base import Layer, Rounded, Rounding


def by_channel(rounding: Rounding, layer: Layer) -> Rounded:
    """Return the layer's weight, each output channel as `rounding` makes it at its bits.

    layer: with `channel_bits` in its format; a channel of 0 bits is pruned: its weights are 0.

    Raises NotApplicable for grids of a whole tensor, and for a rounding whose channels depend on
    each other or take more than their bits.
    """
    bits = layer.format.channel_bits or ()
    weight = torch.zeros_like(layer.weight)
    needed = torch.tensor(bits, device=weight.device)
    for b in sorted(set(bits) - {0}):
        one = layer.format._replace(bits=b, channel_bits=None)
        made = rounding.quantize(layer._replace(format=one))
        if layer.format.granularity != "channel" or made.size_bits is not None:
            raise NotApplicable(
                "bits are chosen by output channel, and the channels of a layer share a grid or a "
                f"codebook; set quant.w_granularity=channel and another quant.rounding than "
                f"{rounding.name}"
            )
        weight[needed == b] = made.weight[needed == b]
    return Rounded(weight)
