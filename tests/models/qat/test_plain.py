"""Trained networks in the form of those that are quantized after training."""

import pytest
import torch
from torch import Tensor, nn

from models.errors import NotApplicable
from models.qat.activations import Inputs, make_activation_quantizer
from models.qat.conversion import make_quantizable
from models.qat.network import freeze, set_bits
from models.qat.plain import TrainedActivation, as_quantized
from models.qat.quantizer import Quantizer
from models.qat.spec import QatSpec
from models.qat.surrogate import Surrogate
from models.quantize.grid import fake_quantize

SIGNED, UNSIGNED = Inputs(True, 1.0, 3.5), Inputs(False, 1.0, 3.0)


def quantizer(name: str, bits: int, inputs: Inputs) -> Quantizer:
    spec = QatSpec(
        weight_quantizer="gated" if name == "gated" else "lsq", activation_quantizer=name
    )
    every = {8: (8, 4, 2), 4: (4, 2), 2: (2,)}[bits] if name == "gated" else (bits,)
    return make_activation_quantizer(spec, every, inputs, 6.0).eval()


@pytest.mark.parametrize(
    ("name", "bits", "inputs", "step", "low", "high"),
    [
        ("pact", 2, UNSIGNED, 2.0, 0, 3),  # its clip of 6 in three
        ("pact", 4, SIGNED, 6 / 7, -7, 7),
        ("lsq", 2, UNSIGNED, 2 / 3**0.5, 0, 3),  # 2 mean |x| / sqrt(Q_max)
        ("lsq", 4, SIGNED, 2 / 7**0.5, -8, 7),
        ("dorefa", 2, UNSIGNED, 1 / 3, 0, 3),
        ("dorefa", 8, SIGNED, 1 / 127, -127, 127),
        ("uniform_static", 2, UNSIGNED, 1.0, 0, 3),
        ("uniform_static", 4, SIGNED, 0.5, -7, 7),
        ("step_range", 4, SIGNED, 0.5, -7, 7),
        ("mixed_step_range", 2, UNSIGNED, 1.0, 0, 3),
        ("affine_ema", 2, UNSIGNED, 1.0, 0, 3),
        ("affine_ema", 8, SIGNED, 7 / 255, -128, 127),  # round(-3.5 * 255 / 7) ties to even
        ("gated", 2, UNSIGNED, 1.0, 0, 3),
        ("gated", 4, SIGNED, 7 / 15, -7, 7),  # 15 levels: the ends are half a step further out
    ],
)
def test_levels_are_what_values_are_rounded_to(
    name: str, bits: int, inputs: Inputs, step: float, low: int, high: int
) -> None:
    made = quantizer(name, bits, inputs)
    found = made.levels(bits)
    assert found == (pytest.approx(step), low, high)
    x = torch.linspace(-9.03, 9.01, 10_000)
    quantized = made(x, bits).detach()
    assert (quantized / step).unique().numpy() == pytest.approx(range(low, high + 1), abs=1e-4)
    plain = TrainedActivation(made, bits)
    assert torch.equal(plain(x), quantized)
    assert fake_quantize(x, plain.grid).numpy() == pytest.approx(quantized.numpy(), abs=1e-5)


def test_bits_of_a_learned_range_are_those_in_use() -> None:
    made = quantizer("step_range", 4, UNSIGNED)
    with torch.no_grad():
        made.step["4"].fill_(0.03)  # type: ignore[union-attr, operator]
    assert made.levels(4) == (pytest.approx(0.03), 0, 100)
    assert TrainedActivation(made, 4).bits == 7


def test_a_quantizer_that_does_not_say_its_levels_is_refused() -> None:
    class Own(Quantizer):
        def quantize(self, x: Tensor, bits: int) -> Tensor:
            return x.sign()

    with pytest.raises(NotApplicable, match="Own does not say which step its values are multiples"):
        TrainedActivation(Own((4,), Surrogate(), True), 4)


@pytest.mark.parametrize("sites", ["inputs", "relu"])
@pytest.mark.parametrize("batchnorm", ["private", "transitional"])
def test_the_plain_network_computes_what_the_trained_one_does(
    tiny_network: nn.Module, sites: str, batchnorm: str
) -> None:
    images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    spec = QatSpec(sites=sites, batchnorm=batchnorm)
    network = make_quantizable(tiny_network.eval(), (8, 3), spec, images)
    set_bits(network, 3)
    freeze(network).requires_grad_(False)
    before = {name: type(module) for name, module in network.named_modules()}
    made = as_quantized(network)
    assert torch.equal(made.network(images), network(images))
    assert made.weight_bits == {"convs.0": 8, "convs.1": 3, "convs.2": 3, "head": 8}
    assert type(made.network.get_submodule("head")) is nn.Linear
    assert len(made.network.get_submodule("convs.1").weight.unique()) <= 8
    assert len(made.quantizers) == (3 if sites == "inputs" else 1)  # one ReLU, used three times
    assert {name: type(module) for name, module in network.named_modules()} == before


def test_layers_and_activations_left_in_float_have_no_quantizer(tiny_network: nn.Module) -> None:
    images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    spec = QatSpec(first_bits=None, last_bits=32)
    made = as_quantized(freeze(make_quantizable(tiny_network.eval(), (4,), spec, images)))
    assert made.weight_bits is not None
    assert made.weight_bits["head"] == 32
    assert "head" not in made.quantizers
