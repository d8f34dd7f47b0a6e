"""Trainings for one cell each, whose activations may have other bits than the weights."""

from dataclasses import dataclass, replace

from methods.training.base import TrainedMethod
from models.errors import BenchError
from models.qat.spec import QatSpec
from models.quantize.spec import MIXED, QuantSpec


@dataclass(frozen=True)
class OwnBits(TrainedMethod):
    """A network trained at the bits of its cell alone.

    bits: the bit-widths of weights that it may be asked for; activations may have any.
    """

    def check(self, spec: QuantSpec) -> None:
        """Raise BenchError unless the method trains a network that `spec` can be a cell of."""
        if spec.w_bits not in self.bits or spec.a_bits == MIXED:
            usable = ", ".join(f"W{bits}" for bits in self.bits)
            raise BenchError(
                f"method {self.name} is used at {usable}, and at activation bits that are given, "
                f"not at W{spec.w_bits}A{spec.a_bits}; set quant.w_bits and a_bits, or method.bits"
            )
        self.check_recipe(spec)

    def together(self, quant: QuantSpec) -> tuple[int, ...]:
        return (int(quant.w_bits),)

    def training_spec(self, quant: QuantSpec) -> QatSpec:
        """Return `qat` with the activation bits of `quant`, where they are not its weights'."""
        same = quant.a_bits == quant.w_bits
        return self.qat if same else replace(self.qat, input_bits=int(quant.a_bits))
