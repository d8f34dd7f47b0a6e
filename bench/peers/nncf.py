"""NNCF (Intel): post-training quantization to integers of 8 bits."""

from torch import Tensor, nn

from bench.peers.base import Tool, Way
from models.errors import NotApplicable


def _ptq(network: nn.Module, images: Tensor, w_bits: int, a_bits: int) -> nn.Module:
    if (w_bits, a_bits) != (8, 8):
        raise NotApplicable("nncf.quantize is for integers of 8 bits; others are not tried")
    import nncf

    # One image at a time, as its documentation has it; ranges are means over images.
    given = nncf.Dataset(list(images.split(1)))
    made: nn.Module = nncf.quantize(network, given, subset_size=len(images))
    return made.eval()


TOOL = Tool(
    name="nncf",
    packages=("nncf",),
    modules=("nncf",),
    ways=(Way("PTQ, fast bias correction", _ptq),),
    note="its defaults: preset PERFORMANCE, weights symmetric by output channel, activations "
    "symmetric by tensor, biases corrected",
    imports=("nncf", "nncf.torch"),
)
