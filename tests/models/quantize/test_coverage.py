"""What of a network is quantized: shares worked out by hand."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.errors import NotApplicable
from models.networks.resnet_cifar import resnet20
from models.qat.conversion import make_quantizable
from models.qat.network import freeze, input_quantizers, layer_weights
from models.qat.spec import QatSpec
from models.quantize.counting import count, weights_at
from models.quantize.coverage import (
    Coverage,
    check_coverage,
    coverage,
    percent,
    shortfalls,
)
from models.quantize.network import quantize
from models.quantize.spec import QuantSpec

# Multiplications of the layers below, for maps of 8 x 8 pixels.
STEM, BODY, HEAD = 8 * 3 * 9 * 64, 16 * 8 * 9 * 64, 16 * 10
WEIGHTS = 8 * 3 * 9 + 16 * 8 * 9 + 16 * 10


class Network(nn.Module):
    """(N, 3, 8, 8) to (N, 10): two convolutions, a classifier, and what is put between."""

    def __init__(self, between: Callable[[Tensor], Tensor] = lambda x: x) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.relu = nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()
        self.body, self.head = nn.Conv2d(8, 16, 3, padding=1), nn.Linear(16, 10)
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(self.between(self.relu(self.stem(x))))
        return self.head(x.mean((2, 3)))


@pytest.fixture
def images() -> Tensor:
    return torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def found(network: nn.Module, spec: QuantSpec, images: Tensor) -> Coverage:
    made = quantize(network, spec, images)
    assert made.weight_bits is not None
    weights = weights_at(made.network, made.weight_bits)
    bits = {quantizer: quantizer.bits for quantizer in made.quantizers.values()}
    return coverage(made.network, weights, count(made.network, weights, bits, images[:1]))


def test_all_of_it(images: Tensor) -> None:
    share = found(Network(), QuantSpec(4, 4, sites="all"), images)
    assert share == Coverage(100, 0, 100, 100, {}, (), 3)
    assert shortfalls(share, True, "all") == []


def test_layers_left_in_float_on_purpose_are_counted_and_not_warned_of(images: Tensor) -> None:
    share = found(Network(), QuantSpec(4, 4, sites="all", first_bits=32), images)
    rest = 100 * (BODY + HEAD) / (STEM + BODY + HEAD)
    assert share.multiplications == share.inputs == pytest.approx(rest)
    assert share.weights == pytest.approx(100 - 100 * 8 * 3 * 9 / WEIGHTS)
    assert (share.foreign_weights, share.foreign_multiplications) == (0, {})
    assert shortfalls(share, True, "all") == []


@pytest.mark.parametrize(
    ("between", "quantized"),
    [
        (lambda x: x, True),
        (lambda x: functional.max_pool2d(x, 3, 1, 1), True),
        (lambda x: x.flatten(2).transpose(1, 2).transpose(1, 2).unflatten(2, (8, 8)), True),
        (lambda x: torch.cat([x[:, 4:], x[:, :4]], 1).relu_(), True),
        (lambda x: functional.avg_pool2d(x, 3, 1, 1), False),
        (lambda x: x + 0.01 * x.mean(), False),
        (lambda x: x.mul_(1.01), False),
        (lambda x: torch.cat([x[:, 4:], x[:, :4] * 2], 1), False),
    ],
)
def test_a_quantized_input_is_followed_while_its_values_stay(
    images: Tensor, between: Callable[[Tensor], Tensor], quantized: bool
) -> None:
    share = found(Network(between), QuantSpec(8, 8), images)
    assert share.inputs == pytest.approx(100 * BODY / (STEM + BODY + HEAD) if quantized else 0)
    assert (share.multiplications, share.quantizers) == (100, 1)


class FunctionalConv(nn.Module):
    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.weight, self.bias, padding=1)


def with_functional_conv() -> nn.Module:
    network = Network()
    network.set_submodule("body", FunctionalConv(network.body))
    return network


def test_a_functional_convolution_stays_float_and_is_named(images: Tensor) -> None:
    share = found(with_functional_conv(), QuantSpec(2, 32), images)
    total = STEM + BODY + HEAD
    assert share.multiplications == pytest.approx(100 * (STEM + HEAD) / total)
    assert share.foreign_multiplications == {
        "convolution in 'body'": pytest.approx(100 * BODY / total)
    }
    assert share.foreign_weights == pytest.approx(100 * 16 * 8 * 9 / WEIGHTS)
    assert shortfalls(share, True, None) == [
        "84.1 % of the multiplications and 75.4 % of the weights stay float, because only "
        "nn.Conv2d and nn.Linear are quantized: convolution in 'body'"
    ]
    assert shortfalls(share, False, None) == [], "float weights are what was asked for"


class Standardised(nn.Conv2d):
    """Its weight is computed anew from the one that is quantized."""

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight - self.weight.mean((1, 2, 3), keepdim=True), None)


class Computed(nn.Conv2d):
    """Its weight is no parameter."""

    def __init__(self, *args: int) -> None:
        super().__init__(*args, bias=False)
        self.raw = self.weight
        del self.weight

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        return self.raw * 2


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        return self.attention(tokens, tokens, tokens)[0].transpose(1, 2).unflatten(2, (8, 8))


class OneDimensional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x.flatten(2)).unflatten(2, (8, 8))


def product(x: Tensor) -> Tensor:
    return (x.flatten(2).mT @ torch.eye(8)).mT.unflatten(2, (8, 8))


@pytest.mark.parametrize(
    ("between", "count", "place"),
    [
        (nn.ConvTranspose2d(8, 8, 1, bias=False), 64 * 64, "convolution in 'between'"),
        (OneDimensional(), 64 * 64, "convolution in 'between.conv'"),
        (product, 64 * 64, "mm in forward()"),
        (Computed(8, 8, 1), 64 * 64, "convolution in 'between'"),
        (Standardised(8, 8, 1, bias=False), 64 * 64, "convolution in 'between'"),
        # Query, key and value, and two products of 64 x 64 for each of 8 channels.
        (Attention(), 3 * 64 * 64 + 2 * 64 * 64 * 8, "'between.attention'"),
    ],
)
def test_what_no_quantized_weight_multiplies_is_counted(
    images: Tensor, between: Callable[[Tensor], Tensor], count: int, place: str
) -> None:
    share = found(Network(between).eval(), QuantSpec(4, 4, sites="all"), images)
    total = STEM + BODY + HEAD + count + (64 * 64 if isinstance(between, Attention) else 0)
    assert sum(share.foreign_multiplications.values()) == pytest.approx(100 * count / total)
    assert all(place in name for name in share.foreign_multiplications)
    assert len(shortfalls(share, True, "all")) == 1


@pytest.mark.parametrize(
    "between",
    [
        functional.relu,
        functional.relu6,
        lambda x: x.clamp(min=0),
        lambda x: functional.silu(x, inplace=True),
        nn.Hardswish(),
        nn.PReLU(),
    ],
)
def test_activation_functions_that_are_no_modules_are_counted(
    images: Tensor, between: Callable[[Tensor], Tensor]
) -> None:
    share = found(Network(between), QuantSpec(8, 2), images)
    assert len(share.functions) == 1
    (line,) = shortfalls(share, True, "relu")
    assert line.startswith("1 activation functions stay float, because only nn.ReLU and nn.ReLU6")
    assert shortfalls(share, True, "all") == [], "its inputs are quantized one by one"


def test_a_trained_network(images: Tensor) -> None:
    network = make_quantizable(Network(), (4,), QatSpec(), images)
    frozen = freeze(network)
    weights = layer_weights(frozen)
    share = coverage(frozen, weights, count(frozen, weights, input_quantizers(frozen), images[:1]))
    assert (share.weights, share.multiplications, share.foreign_multiplications) == (100, 100, {})
    assert share.inputs == pytest.approx(100 * (BODY + HEAD) / (STEM + BODY + HEAD))


def test_resnet20() -> None:
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    share = found(resnet20().eval(), QuantSpec(8, 8, first_bits=32), images)
    assert share.multiplications == pytest.approx(100 * (1 - 442_368 / 40_813_184))
    assert share.quantizers == 19


def test_nothing_at_all_is_refused(images: Tensor) -> None:
    network = Network()
    for name in ("stem", "body"):
        network.set_submodule(name, FunctionalConv(network.get_submodule(name)))  # type: ignore[arg-type]
    share = found(network, QuantSpec(4, 32, last_bits=32), images)
    with pytest.raises(NotApplicable) as error:
        check_coverage(share, weights=True, activations=False)
    assert str(error.value) == (
        "nothing would be quantized: only the weights of nn.Conv2d and nn.Linear are, and the "
        "network multiplies by others: convolution in 'stem', convolution in 'body'"
    )
    check_coverage(share, weights=False, activations=False)
    unused = Network()
    unused.relu, unused.idle = nn.Identity(), nn.ReLU()  # type: ignore[assignment]
    with pytest.raises(NotApplicable, match="calls none of the modules that have quantizers"):
        check_coverage(found(unused, QuantSpec(8, 8), images), weights=True, activations=True)


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0.0 %"),
        (0.04, "less than 0.1 %"),
        (0.05, "0.1 %"),
        (99.96, "more than 99.9 %"),
        (100, "100.0 %"),
    ],
)
def test_percent(share: float, text: str) -> None:
    assert percent(share) == text


class Pyramid(nn.Module):
    """(N, 3, 8, 8) to (N, 10): as the last levels of a feature pyramid, and a tower."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.p6, self.p7 = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 3, padding=1)
        self.tower = nn.ModuleList([nn.Conv2d(16, 16, 1), nn.ReLU()])
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.p7(functional.relu(self.p6(x)))
        for layer in self.tower:
            x = layer(x)
        return self.head(x.mean((2, 3)))


def test_relu_functions_and_what_is_out_of_reach(images: Tensor) -> None:
    tower = 16 * 16
    share = found(Pyramid(), QuantSpec(4, 4, reach="release"), images)
    assert share.weights == pytest.approx(100 * WEIGHTS / (WEIGHTS + tower))
    multiplications = STEM + BODY + HEAD
    of_all = 100 * multiplications / (multiplications + tower * 64)
    assert share.multiplications == pytest.approx(of_all)
    assert share.functions == ("relu in forward()", "relu in 'tower.1'") and share.quantizers == 0
    weights, functions = shortfalls(share, True, "relu", "release")
    assert weights.startswith("85.7 % of the weights and 84.3 % of the multiplications are by quan")
    assert functions.startswith("2 activation functions stay float, out of reach or of another")
    assert shortfalls(share, False, None, "release") == []

    whole = found(Pyramid(), QuantSpec(4, 4), images)
    assert whole.weights == 100 and whole.functions == ("relu in forward()",)
    (line,) = shortfalls(whole, True, "relu")
    assert line.startswith("1 activation functions stay float, because only nn.ReLU and nn.ReLU6")
    at_inputs = found(Pyramid(), QuantSpec(4, 4, sites="all"), images)
    assert at_inputs.functions == () or shortfalls(at_inputs, True, "all") == []
