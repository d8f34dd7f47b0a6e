"""Layers on quantized values, private BatchNorm, and weights quantized once a step."""

from collections import Counter
from collections.abc import Iterator

import pytest
import torch
from timm.layers import Conv2dSame
from torch import Tensor, nn

from models.qat.activations import PactActivation
from models.qat.batchnorm import PrivateBatchNorm2d
from models.qat.layers import (
    QuantizedConv2d,
    QuantizedConv2dSame,
    QuantizedLayer,
    QuantizedLinear,
    quantized_weights,
)
from models.qat.surrogate import Surrogate
from models.qat.weights import DoReFaWeight, LsqWeight

BITS = (32, 4, 2)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def quantized(
    kind: type[QuantizedLayer], layer: nn.Module, fixed: int | None = None, surrogate: str = "ste"
) -> QuantizedLayer:
    weight = layer.get_parameter("weight")
    weight.data = draw(*weight.shape, seed=1)
    of_weight = LsqWeight(BITS, Surrogate(surrogate, 0.1), "tensor", weight)
    of_input = PactActivation(BITS, Surrogate(), signed=True, clip=2.0)
    return kind.replacing(layer, BITS, fixed, of_weight, of_input, fixed)


LAYERS = [
    (QuantizedConv2d, lambda: nn.Conv2d(2, 4, 3, padding=1, stride=2, groups=2), (2, 2, 5, 5)),
    (QuantizedConv2d, lambda: nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect"), (2, 2, 5, 5)),
    (QuantizedConv2dSame, lambda: Conv2dSame(2, 4, 3, stride=2), (2, 2, 6, 6)),
    (QuantizedLinear, lambda: nn.Linear(3, 4, bias=False), (2, 3)),
]


@pytest.mark.parametrize(("kind", "make", "shape"), LAYERS)
def test_a_layer_computes_on_quantized_values(kind: type, make: object, shape: tuple) -> None:
    source = make()  # type: ignore[operator]
    layer = quantized(kind, source)
    x = draw(*shape)
    assert layer.bits == 32
    assert torch.equal(layer(x), source(x))
    assert set(source.state_dict()) <= set(layer.state_dict())
    layer.chosen = 2
    got = layer(x)
    source.weight = nn.Parameter(layer.quantized_weight(2).detach())
    assert torch.equal(got, source(layer.input_quantizer(x, 2)))  # type: ignore[misc]
    assert layer.weight is not source.weight


def test_fixed_bits_stay() -> None:
    layer = quantized(QuantizedLinear, nn.Linear(3, 4), fixed=4)
    layer.chosen = 2
    assert layer.bits == 4
    assert torch.equal(layer.quantized_weight(), layer.weight_quantizer(layer.weight, 4))
    assert torch.equal(layer.quantized_weight(2), layer.quantized_weight())


def test_an_input_is_left_without_a_quantizer() -> None:
    source = nn.Linear(2, 2)
    of_weight = DoReFaWeight((2,), Surrogate(), "centered", "none")
    layer = QuantizedLinear.replacing(source, (2,), None, of_weight, None, None)
    x = torch.tensor([[0.123, -7.0]])
    assert layer.quantized_input(x) is x


def test_private_batchnorm_trains_the_chosen_one_alone() -> None:
    norm = nn.BatchNorm2d(2, eps=1e-2)
    norm.weight.data = torch.tensor([2.0, 3.0])
    private = PrivateBatchNorm2d(norm, BITS)
    x = draw(4, 2, 3, 3) + 1
    for bits in BITS:
        private.chosen = bits
        assert torch.equal(private.eval()(x), norm.eval()(x))
    private.train().chosen = 4
    private(x).square().sum().backward()
    for bits in BITS:
        own = private.of_bits[str(bits)]
        assert bool((own.running_mean != 0).all()) == (bits == 4)
        assert (own.weight.grad is None) == (bits != 4)
    private.copy_private(4)
    assert torch.equal(private.of_bits["2"].running_var, private.of_bits["4"].running_var)
    assert private.of_bits["2"].weight is not private.of_bits["4"].weight


@pytest.fixture
def pair() -> nn.Module:
    """A layer with chosen and one with fixed bits."""
    body = quantized(QuantizedLinear, nn.Linear(3, 3))
    return nn.Sequential(body, quantized(QuantizedLinear, nn.Linear(3, 2), fixed=4))


def losses(network: nn.Module) -> Iterator[Tensor]:
    for bits in (4, 2):
        for layer in network:
            layer.chosen = bits
        yield network(draw(5, 3)).square().mean()


def gradients(network: nn.Module) -> dict[str, Tensor]:
    found = {n: p.grad for n, p in network.named_parameters() if p.grad is not None}
    network.zero_grad(set_to_none=True)
    return found


def test_kept_weights_give_the_same_gradients(pair: nn.Module) -> None:
    for loss in losses(pair):
        loss.backward()
    expected = gradients(pair)
    with quantized_weights(pair):
        for loss in losses(pair):
            loss.backward()
        assert pair[0].weight.grad is None
        assert pair[0].bias.grad is not None
    got = gradients(pair)
    assert got.keys() == expected.keys()
    assert {"0.weight", "1.weight", "1.weight_quantizer.step.4"} < got.keys()
    for name, gradient in got.items():
        assert torch.allclose(gradient, expected[name], atol=1e-6), name


def test_each_weight_is_quantized_once_a_bit_width(
    pair: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: Counter[tuple[int, int]] = Counter()
    plain = LsqWeight.quantize

    def counted(self: LsqWeight, x: Tensor, bits: int) -> Tensor:
        calls[id(self), bits] += 1
        return plain(self, x, bits)

    monkeypatch.setattr(LsqWeight, "quantize", counted)
    with quantized_weights(pair):
        with torch.no_grad(), quantized_weights(pair):
            list(losses(pair))
        for _ in range(2):
            for loss in losses(pair):
                loss.backward()
        assert pair[0].quantized_weight(2) is pair[0].quantized_weight(2)
    assert sorted(calls.values()) == [1, 1, 1]
    assert pair[0].weight.grad is not None
    list(losses(pair))
    assert sorted(calls.values()) == [2, 2, 3]


def test_float_and_frozen_weights_may_be_kept(pair: nn.Module) -> None:
    pair[1].requires_grad_(False)
    pair[0].chosen = 32
    with quantized_weights(pair):
        pair(draw(5, 3)).sum().backward()
    kept = gradients(pair)
    pair(draw(5, 3)).sum().backward()
    plain = gradients(pair)
    assert kept.keys() == plain.keys() == {"0.weight", "0.bias"}
    assert torch.allclose(kept["0.weight"], plain["0.weight"])


def test_after_an_error_nothing_is_kept(pair: nn.Module) -> None:
    with pytest.raises(RuntimeError, match="no more"), quantized_weights(pair):
        next(losses(pair)).backward()
        raise RuntimeError("no more")
    assert all(layer.cache is None and layer.weight.grad is None for layer in pair)
