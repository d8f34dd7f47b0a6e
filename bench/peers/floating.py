"""The float network among the tools: what each of them is compared with."""

from torch import Tensor, nn

from bench.peers.base import Bits, Tool, Way
from models.quantize.spec import FLOAT_BITS

BITS = Bits(FLOAT_BITS, FLOAT_BITS)


def _float(network: nn.Module, images: Tensor, w_bits: int, a_bits: int) -> nn.Module:
    return network


TOOL = Tool(
    name="float",
    packages=("torch",),
    modules=("torch",),
    ways=(Way("float", _float),),
    note="PyTorch, eager",
)
