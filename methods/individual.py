"""One network a bit-width, each trained alone: what the others are measured against."""

from dataclasses import dataclass

from methods.training.base import TrainedMethod
from methods.training.strategy import HardLabels
from models.quantize.spec import QuantSpec


@dataclass(frozen=True)
class Individual(TrainedMethod):
    """Quantization-aware training at the bit-width of the cell, with nothing shared.

    bits: the bit-widths it may be asked for.
    """

    name = "individual"
    strategy_class = HardLabels

    def together(self, quant: QuantSpec) -> tuple[int, ...]:
        return (int(quant.w_bits),)
