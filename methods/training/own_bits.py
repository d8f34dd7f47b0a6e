"""Trainings for one cell each, whose activations may have other bits than the weights."""

from dataclasses import replace

from methods.training.base import TrainedMethod
from models.errors import BenchError
from models.qat.spec import QatSpec
from models.quantize.spec import QuantSpec


def check_own_bits(method: TrainedMethod, spec: QuantSpec) -> None:
    """Raise BenchError unless `method` trains weights at the bits of `spec` alone.

    Activations may have any number of bits.
    """
    if spec.w_bits not in method.bits or spec.a_bits == "mixed":
        usable = ", ".join(f"W{bits}" for bits in method.bits)
        raise BenchError(
            f"method {method.name} is used at {usable}, and at activation bits that are given, "
            f"not at W{spec.w_bits}A{spec.a_bits}; set quant.w_bits and a_bits, or method.bits"
        )
    if spec.identity() != QuantSpec(spec.w_bits, spec.a_bits).identity():
        raise BenchError(
            f"recipe= and quant.* but the bits have no effect on method {method.name}, whose "
            "quantizers are method.qat.*; leave the recipe at its default"
        )


def with_input_bits(qat: QatSpec, quant: QuantSpec) -> QatSpec:
    """Return `qat` with the activation bits of `quant`, where they are not those of its weights."""
    same = quant.a_bits == quant.w_bits
    return qat if same else replace(qat, input_bits=int(quant.a_bits))
