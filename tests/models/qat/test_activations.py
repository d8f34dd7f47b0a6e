"""Activation quantizers: values and gradients worked out by hand."""

import math

import pytest
import torch
from torch import Tensor

from models.errors import BenchError
from models.qat.activations import (
    DoReFaActivation,
    Inputs,
    LsqActivation,
    PactActivation,
    StepRangeActivation,
    describe,
    make_activation_quantizer,
)
from models.qat.spec import QatSpec
from models.qat.surrogate import Surrogate

STE = Surrogate()
UNSIGNED = Inputs(signed=False, magnitude=0.5, high=2.0)
SIGNED = Inputs(signed=True, magnitude=0.5, high=2.0)


def values() -> Tensor:
    return torch.tensor([[-1.0, 0.4, 2.2], [3.0, 7.0, 3.6]], requires_grad=True)


def test_what_is_seen_of_an_input() -> None:
    x = torch.linspace(-1.0, 2.0, 3001)
    seen = describe(x)
    assert seen.signed
    assert seen.magnitude == pytest.approx(2.5 / 3, abs=1e-3)
    assert seen.high == pytest.approx(1.997, abs=1e-5)
    assert seen.joined(Inputs(False, 9.0, 0.1, 5)) == Inputs(True, 9.0, seen.high, 6)
    assert not describe(x.abs()).signed


def test_pact_by_hand() -> None:
    pact = PactActivation([8, 2], STE, signed=False, clip=6.0)
    x = values()
    quantized = pact(x, 2)
    # Steps of 2: 0 (clipped), 0, 2, 4 (1.5 ties to even), 6 (clipped), 4.
    assert quantized.tolist() == [[0.0, 0.0, 2.0], [4.0, 6.0, 4.0]]
    quantized.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[0.0, 1.0, 1.0], [1.0, 0.0, 1.0]]
    # (x^ - x) / 6 inside, 1 where clipped above.
    by_hand = (-0.4 - 0.2 + 1.0 + 0.4) / 6 + 1
    assert pact.alpha["2"].grad.item() == pytest.approx(by_hand)
    assert pact.alpha["8"].grad is None


def test_signed_pact_has_zero_and_no_lower_level_than_minus_alpha() -> None:
    pact = PactActivation([3], STE, signed=True, clip=3.0)
    x = torch.linspace(-5, 5, 101)
    assert pact(x, 3).unique().tolist() == [-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0]


def test_dorefa_by_hand() -> None:
    x = torch.tensor([[-0.5, 0.1, 0.2, 0.6, 1.7]], requires_grad=True)
    quantized = DoReFaActivation([2], STE, signed=False)(x, 2)
    assert quantized.flatten().tolist() == pytest.approx([0.0, 0.0, 1 / 3, 2 / 3, 1.0])
    quantized.sum().backward()
    assert x.grad is not None
    assert x.grad.flatten().tolist() == pytest.approx([0.0, 1.0, 1.0, 1.0, 0.0])


def test_lsq_by_hand() -> None:
    lsq = LsqActivation([2], STE, UNSIGNED)
    assert lsq.step["2"].item() == pytest.approx(1 / math.sqrt(3))
    lsq.step["2"].data.fill_(2.0)
    quantized = lsq(values(), 2)
    assert quantized.tolist() == [[0.0, 0.0, 2.0], [4.0, 6.0, 4.0]]
    quantized.sum().backward()
    # Inside x^ / 2 - x / 2, above 3; an image has 3 values and Q_max is 3.
    by_hand = (-0.4 - 0.2 + 1.0 + 0.4) / 2 + 3
    assert lsq.step["2"].grad.item() == pytest.approx(by_hand / 3)


def test_step_and_range_by_hand() -> None:
    learned = StepRangeActivation([4], STE, UNSIGNED)
    assert learned.xmax["4"].item() == 2.0
    assert learned.step["4"].item() == pytest.approx(2 / 15)
    x = torch.tensor([[-1.0, 0.4, 2.2]], requires_grad=True)
    learned.step["4"].data.fill_(0.5)
    quantized = learned(x, 4)
    assert quantized.tolist() == [[0.0, 0.5, 2.0]]
    quantized.sum().backward()
    assert learned.xmax["4"].grad.item() == 0.5  # 1, limited to d
    assert learned.step["4"].grad.item() == pytest.approx(1 - 0.8)


@pytest.mark.parametrize("kind", ["pact", "lsq", "step_range", "dorefa"])
@pytest.mark.parametrize("inputs", [UNSIGNED, SIGNED], ids=["unsigned", "signed"])
def test_levels_and_identity(kind: str, inputs: Inputs) -> None:
    spec = QatSpec(activation_quantizer=kind)
    quantizer = make_activation_quantizer(spec, [32, 5, 2], inputs, clip=2.0)
    x = torch.linspace(-8 if inputs.signed else 0, 8, 2000).reshape(4, 500)
    assert quantizer(x, 32) is x
    for bits in (5, 2):
        quantized = quantizer(x, bits)
        # LSQ counts -2^(b-1) too; the others leave it out where there is a sign.
        full = not inputs.signed or kind == "lsq"
        assert len(quantized.unique()) == (2**bits if full else 2**bits - 1)
        assert (quantized == 0).any()
        assert bool((quantized < 0).any()) == inputs.signed


@pytest.mark.parametrize("kind", ["pact", "lsq", "step_range", "dorefa"])
def test_one_bit_is_two_levels_and_needs_inputs_without_sign(kind: str) -> None:
    spec = QatSpec(activation_quantizer=kind)
    quantizer = make_activation_quantizer(spec, [1], UNSIGNED, clip=2.0)
    assert len(quantizer(torch.linspace(0, 4, 50)[None], 1).unique()) == 2
    with pytest.raises(BenchError, match="no positive level at 1 bit"):
        make_activation_quantizer(spec, [4, 1], SIGNED, clip=2.0)


def test_the_surrogate_of_activations_is_their_own() -> None:
    spec = QatSpec(activation_surrogate="pbgs", weight_surrogate="tanh", delta=0.1)
    quantizer = make_activation_quantizer(spec, [2], UNSIGNED, clip=3.0)
    x = torch.tensor([[1.25]], requires_grad=True)
    (gradient,) = torch.autograd.grad(quantizer(x, 2), x)
    assert gradient.item() == pytest.approx(1 + 0.1 * 0.25)


@pytest.mark.parametrize("kind", ["pact", "lsq", "step_range", "uniform_static"])
def test_another_bit_width_takes_the_range(kind: str) -> None:
    quantizer = make_activation_quantizer(
        QatSpec(activation_quantizer=kind), [8, 4], UNSIGNED, clip=2.0
    )
    with torch.no_grad():
        for parameter in quantizer.parameters():
            parameter.mul_(1.5)
    quantizer.copy_private(8)
    x = torch.full((1, 1), 1e4)
    assert quantizer(x, 4).item() == pytest.approx(quantizer(x, 8).item())
    before = {k: v.clone() for k, v in quantizer.state_dict().items()}
    quantizer.copy_private(32)  # which has no range
    assert all(torch.equal(before[k], v) for k, v in quantizer.state_dict().items())
