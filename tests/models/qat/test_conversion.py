"""A whole network made quantizable: what is quantized, with which bits, and what is refused."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.errors import BenchError, NotApplicable
from models.networks.resnet_cifar import resnet20
from models.qat.batchnorm import PrivateBatchNorm2d
from models.qat.conversion import make_quantizable
from models.qat.layers import QuantizedLayer
from models.qat.network import quantized_layers, quantizer_parameters, set_bits
from models.qat.spec import QatSpec

BITS = (32, 8, 4, 2)
FREE = QatSpec(first_bits=None, last_bits=None)
LEARNED = QatSpec(
    weight_quantizer="lsq", activation_quantizer="lsq", first_bits=None, last_bits=None
)


@pytest.fixture
def images() -> Tensor:
    return torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def output(network: nn.Module, images: Tensor, bits: int) -> Tensor:
    set_bits(network, bits)
    found: Tensor = network(images)
    return found


def test_at_32_bits_it_is_the_float_network(tiny_network: nn.Module, images: Tensor) -> None:
    made = make_quantizable(tiny_network, BITS, FREE, images)
    assert torch.equal(made(images), tiny_network(images))
    assert not torch.equal(output(made, images, 4), tiny_network(images))


def test_resnet20_at_every_bit_width() -> None:
    network = resnet20().eval()
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    network.features.final_pool = nn.AdaptiveAvgPool2d(1)  # for images smaller than 32
    made = make_quantizable(network, BITS, FREE, x)
    layers = quantized_layers(made)
    assert len(layers) == 22
    assert torch.equal(made(x), network(x))
    for bits in (8, 4, 2):
        assert torch.isfinite(output(made, x, bits)).all()
        assert all(len(m.quantized_weight().unique()) <= 2**bits for m in layers.values())
        assert {m.bits for m in layers.values()} == {bits}


def test_more_bits_are_nearer_to_float(tiny_network: nn.Module, images: Tensor) -> None:
    made = make_quantizable(tiny_network, (16, 8, 4, 2), LEARNED, images)
    wanted = tiny_network(images)
    errors = [(output(made, images, b) - wanted).norm().item() for b in (16, 8, 4, 2)]
    assert errors == sorted(errors)
    assert errors[0] < 1e-2 * wanted.norm().item()


def test_the_network_given_is_left_alone(tiny_network: nn.Module, images: Tensor) -> None:
    before = copy.deepcopy(tiny_network.state_dict())
    random = torch.get_rng_state()
    made = make_quantizable(tiny_network.train(), BITS, QatSpec(), images)
    assert torch.equal(torch.get_rng_state(), random)
    assert made.training
    assert all(module.training for module in made.modules())
    assert all(parameter.requires_grad for parameter in made.parameters())
    made(images).sum().backward()
    torch.optim.SGD(made.parameters(), 0.1).step()
    after = tiny_network.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert not any(p.requires_grad for p in tiny_network.parameters())


def test_batchnorm_may_be_shared(tiny_network: nn.Module, images: Tensor) -> None:
    made = make_quantizable(tiny_network, BITS, QatSpec(batchnorm="shared"), images)
    assert not any(isinstance(m, PrivateBatchNorm2d) for m in made.modules())
    assert set(tiny_network.state_dict()) < set(made.state_dict())


def test_first_and_last_layer_have_bits_of_their_own(
    tiny_network: nn.Module, images: Tensor
) -> None:
    spec = QatSpec(first_bits=6, last_bits=32)
    made = make_quantizable(tiny_network, (4, 2), spec, images)
    set_bits(made, 2)
    bits = {name: layer.bits for name, layer in quantized_layers(made).items()}
    assert bits == {"convs.0": 6, "convs.1": 2, "convs.2": 2, "head": 32}
    first, head = made.convs[0], made.head
    assert isinstance(first, QuantizedLayer) and isinstance(head, QuantizedLayer)
    assert first.input_quantizer is None
    assert len(first.quantized_weight().unique()) > 4
    assert head.quantized_weight() is head.weight


def test_images_are_quantized_with_a_sign_on_request(
    tiny_network: nn.Module, images: Tensor
) -> None:
    spec = QatSpec(quantize_images=True, clip_start="release")
    made = make_quantizable(tiny_network, (4,), spec, images)
    quantizers = {n: m.input_quantizer for n, m in quantized_layers(made).items()}
    signed = {n: q is not None and q.signed for n, q in quantizers.items()}
    assert signed == {"convs.0": True, "convs.1": False, "convs.2": False, "head": False}
    clips = {n: q.alpha[str(q.bits[0])].item() for n, q in quantizers.items()}  # type: ignore[union-attr,index]
    assert clips == {"convs.0": 8.0, "convs.1": 8.0, "convs.2": 8.0, "head": 10.0}


def bits_of(network: nn.Module) -> dict[str, tuple[int, int | None]]:
    """Return the bits of each layer's weight and, where it is quantized, of its input."""
    return {
        name: (layer.bits, None if layer.input_quantizer is None else layer.input_bits)
        for name, layer in quantized_layers(network).items()
    }


def test_the_input_of_the_last_layer_may_have_the_bits_of_the_others(
    tiny_network: nn.Module, images: Tensor
) -> None:
    made = make_quantizable(tiny_network, (4, 2), QatSpec(fix_last_input=False), images)
    set_bits(made, 2)
    assert bits_of(made)["head"] == (8, 2)
    head = made.head
    assert isinstance(head, QuantizedLayer)
    x = torch.rand(50, head.weight.shape[1], generator=torch.Generator().manual_seed(0))
    assert len(head.quantized_input(x).unique()) <= 4
    assert bits_of(make_quantizable(tiny_network, (4, 2), QatSpec(), images))["head"] == (8, 8)


class Block(nn.Module):
    """A residual unit whose shortcut has a convolution, behind a layer without a ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.body = nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.norm = nn.BatchNorm2d(4)
        self.downsample = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = functional.relu(self.norm(self.body(functional.relu6(x))) + self.downsample(x))
        logits: Tensor = self.head(x.mean(dim=(2, 3)))
        return logits


@pytest.mark.parametrize("shortcuts", ["quantized", "float", "float_shared"])
def test_shortcuts_may_stay_float(shortcuts: str, images: Tensor) -> None:
    made = make_quantizable(Block().eval(), (4, 2), QatSpec(shortcuts=shortcuts), images)
    set_bits(made, 2)
    quantized = shortcuts == "quantized"
    assert bits_of(made)["downsample.0"] == ((2, 2) if quantized else (32, None))
    assert bits_of(made)["body"] == (2, 2)
    norm = made.get_submodule("downsample.1")
    assert isinstance(norm, PrivateBatchNorm2d) is (shortcuts != "float_shared")
    assert isinstance(made.norm, PrivateBatchNorm2d)
    assert torch.isfinite(made(images)).all()


@pytest.mark.parametrize(
    ("chosen", "signed"),
    [
        ("observed", {"body": False, "downsample.0": True, "head": False}),
        ("never", {"body": False, "downsample.0": False, "head": False}),
        ("depthwise", {"body": True, "downsample.0": True, "head": False}),
    ],
)
def test_which_inputs_have_a_sign(chosen: str, signed: dict[str, bool], images: Tensor) -> None:
    made = make_quantizable(Block().eval(), (4,), QatSpec(signed_inputs=chosen), images)
    layers = quantized_layers(made)
    quantizers = {n: layer.input_quantizer for n, layer in layers.items()}
    assert {n: q.signed for n, q in quantizers.items() if q is not None} == signed
    x = torch.full((1, 4, 2, 2), -1.0)
    clipped = not layers["downsample.0"].quantized_input(x).any()
    assert clipped is (chosen == "never")


def test_a_recipe_that_learns_no_range(tiny_network: nn.Module, images: Tensor) -> None:
    spec = QatSpec(weight_quantizer="step_range", activation_quantizer="step_range", learned=False)
    made = make_quantizable(tiny_network, (4, 2), spec, images)
    before = [parameter.clone() for parameter in quantizer_parameters(made)]
    # A step and a range: of weights 1 + 2 + 2 + 1 pairs, of inputs 0 + 2 + 2 + 1.
    assert len(before) == 2 * (6 + 5)
    made(images).sum().backward()
    torch.optim.SGD(made.parameters(), 0.1).step()
    after = quantizer_parameters(made)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert not torch.equal(made.get_parameter("convs.1.weight"), tiny_network.convs[1].weight)


class Odd(nn.Module):
    """One layer used twice under two names, one never called, one called with both signs."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(4, 4)
        self.same = self.one
        self.unused = nn.Linear(4, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(functional.relu(self.same(functional.relu(self.one(x)))))
        return out


def test_layers_that_are_shared_or_unused() -> None:
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    made = make_quantizable(Odd(), (4, 2), QatSpec(first_bits=None, quantize_images=True), x)
    assert isinstance(made.one, QuantizedLayer)
    assert made.one is made.same
    assert made.one.input_quantizer is not None
    assert made.one.input_quantizer.signed
    assert type(made.unused) is nn.Linear
    assert set(quantized_layers(made)) == {"one", "head"}


def test_one_layer_is_the_first() -> None:
    made = make_quantizable(
        nn.Linear(2, 2), (4,), QatSpec(first_bits=3, last_bits=5), torch.ones(1, 2)
    )
    assert isinstance(made, QuantizedLayer)
    assert made.bits == 3
    set_bits(made, {"": 4})
    assert made.chosen == 4


def test_signed_inputs_at_one_bit_are_refused_by_layer() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    network[0].weight.data = -torch.eye(2)
    spec = QatSpec(weight_quantizer="dorefa", scheme="centered", last_bits=None)
    with pytest.raises(BenchError, match="layer '1': PactActivation has no positive level at 1"):
        make_quantizable(network, (4, 1), spec, torch.full((1, 2), 9.0))


class Standardised(nn.Conv2d):
    """A convolution that changes its weight before its use."""


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nn.Sequential(nn.ReLU()), "no convolution or linear layer"),
        (nn.Sequential(Standardised(3, 2, 1)), "layer '0' is a Standardised, which may change"),
    ],
)
def test_networks_it_cannot_be_done_for(network: nn.Module, message: str, images: Tensor) -> None:
    with pytest.raises(NotApplicable, match=message):
        make_quantizable(network, (4,), QatSpec(), images)


def test_bits_and_images_are_checked(tiny_network: nn.Module, images: Tensor) -> None:
    with pytest.raises(BenchError, match=r"must descend; give \[8, 4\]"):
        make_quantizable(tiny_network, (4, 8), QatSpec(), images)
    with pytest.raises(BenchError, match="no images"):
        make_quantizable(tiny_network, (4,), QatSpec(), images[:0])
