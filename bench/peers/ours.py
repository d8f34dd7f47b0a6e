"""This tool among its peers: the same quantizer with three roundings."""

from typing import Any

from torch import Tensor, nn

from bench.peers.base import Tool, Way
from models.quantize.fuse import fuse_relus
from models.quantize.network import quantize
from models.quantize.spec import QuantSpec

_GRIDS: dict[str, Any] = {"w_scheme": "symmetric", "sites": "integer", "fold": True}
_ADAROUND: dict[str, Any] = {
    "w_range": "mse",
    "rounding": "adaround",
    "rounding_iterations": 1500,
    "rounding_rate": 0.01,
}


def _way(name: str, **changes: Any) -> Way:
    def quantized(network: nn.Module, images: Tensor, w_bits: int, a_bits: int) -> nn.Module:
        spec = QuantSpec(w_bits, a_bits, **_GRIDS | changes)
        made = quantize(network, spec, images).network
        fuse_relus(made, images[:1])
        return made

    return Way(name, quantized)


NEAREST = "nearest, min-max"
CORRECTED = "nearest, min-max, bias correction"
ADAROUND = "AdaRound, MSE ranges"

TOOL = Tool(
    name="quantization-bench",
    packages=("quantization-bench",),
    modules=("bench",),
    ways=(
        _way(NEAREST),
        _way(CORRECTED, bias_correction="empirical"),
        _way(ADAROUND, **_ADAROUND),
    ),
    note="BatchNorm folded; weights symmetric by output channel; activations affine by tensor, "
    "their range the extremes of all calibration images: inputs of every layer, of additions and "
    "of pools; AdaRound: 1,500 steps a layer at 0.01",
)
