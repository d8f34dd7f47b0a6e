"""A whole network at several bit-widths: what is shared, what is private, how it is switched."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.errors import BenchError, NotApplicable
from models.qat.batchnorm import PrivateBatchNorm2d
from models.qat.layers import QuantizedLayer, quantized_weights
from models.qat.network import (
    copy_private,
    make_quantizable,
    project,
    quantized_layers,
    quantizer_parameters,
    set_bits,
)
from models.qat.spec import QatSpec
from models.qat.state import load_float_state
from models.zoo.networks.resnet_cifar import resnet20

BITS = (32, 8, 4, 2)
QUANTIZERS = ("weight_quantizer", "input_quantizer")
FREE = QatSpec(first_bits=None, last_bits=None)
LEARNED = QatSpec(
    weight_quantizer="lsq", activation_quantizer="lsq", first_bits=None, last_bits=None
)
SPECS = {
    "default": QatSpec(),
    "adabits": QatSpec(weight_quantizer="dorefa", clip_start="release"),
    "any_precision": QatSpec(
        weight_quantizer="dorefa", scheme="original", rescale="mean", activation_quantizer="dorefa"
    ),
    "joint": QatSpec(batchnorm="shared", shared_clip=True),
    "bit_mixer": QatSpec(batchnorm="transitional"),
    "lsq": QatSpec(weight_quantizer="lsq", activation_quantizer="lsq", granularity="channel"),
    "step_range": QatSpec(weight_quantizer="step_range", activation_quantizer="step_range"),
    "surrogates": QatSpec(weight_surrogate="ewgs", activation_surrogate="invtanh", delta=0.1),
}


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


def test_gradients_reach_shared_weights_and_the_chosen_bits_alone(
    tiny_network: nn.Module, images: Tensor
) -> None:
    made = make_quantizable(tiny_network.train(), BITS, LEARNED, images)
    before = copy.deepcopy(made.state_dict())
    output(made, images, 4).square().sum().backward()
    reached = {n for n, p in made.named_parameters() if p.grad is not None and p.grad.any()}
    assert {f"convs.{i}.weight" for i in range(3)} | {"head.weight", "head.bias"} <= reached
    private = {n for n, _ in made.named_parameters() if any(f".{b}" in n[-3:] for b in BITS)}
    private |= {n for n, _ in made.named_parameters() if ".of_bits." in n}
    of_four = {n for n in private if n.endswith(".4") or ".of_bits.4." in n}
    assert reached & private == of_four
    assert len(of_four) == 4 + 3 + 2 * 3  # steps of weights, of inputs, BatchNorm
    after = made.state_dict()
    changed = {n for n in after if not torch.equal(before[n], after[n])}
    running = ("running_mean", "running_var", "num_batches_tracked")
    assert changed == {f"norms.{i}.of_bits.4.{what}" for i in range(3) for what in running}


def test_what_quantizers_learn_is_told_from_the_network(
    tiny_network: nn.Module, images: Tensor
) -> None:
    made = make_quantizable(tiny_network, BITS, LEARNED, images)
    found = {id(parameter) for parameter in quantizer_parameters(made)}
    named = {n for n, p in made.named_parameters() if id(p) in found}
    steps = {
        f"{n}.{q}.step.{b}" for n in quantized_layers(made) for q in QUANTIZERS for b in (8, 4, 2)
    }
    assert named == steps - {f"convs.0.input_quantizer.step.{b}" for b in (8, 4, 2)}


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


def test_parts_switch_by_name(tiny_network: nn.Module, images: Tensor) -> None:
    made = make_quantizable(tiny_network, BITS, FREE, images)
    set_bits(made, {"": 2, "convs": 4, "convs.1": 8, "norms.2": 32})
    assert {n: m.bits for n, m in quantized_layers(made).items()} == {
        "convs.0": 4,
        "convs.1": 8,
        "convs.2": 4,
        "head": 2,
    }
    assert [norm.chosen for norm in made.norms] == [2, 2, 32]  # type: ignore[union-attr]
    set_bits(made, {"head": 32})
    assert made.head.bits == 32  # type: ignore[union-attr]
    assert made.convs[1].bits == 8  # type: ignore[index,union-attr]


def test_a_swapped_block_is_the_other_network_there(images: Tensor) -> None:
    block = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    network = nn.Sequential(block, nn.Conv2d(4, 2, 3)).eval()
    made = make_quantizable(network, (8, 2), FREE, images)
    set_bits(made, 8)
    wanted = made[1](made[0](images))  # type: ignore[index]
    teacher = made[0](images)  # type: ignore[index]
    set_bits(made, {"": 2, "0": 8})
    assert torch.equal(made(images), made[1](teacher))  # type: ignore[index]
    assert not torch.equal(made(images), wanted)


@pytest.mark.parametrize(
    ("bits", "message"),
    [
        (5, r"5 bits are asked for, but the network is made for \[32, 8, 4, 2\]"),
        ({"": 2, "head": 3}, "3 bits are asked for"),
        ({"": 2, "conv": 4}, "nothing with a bit-width in 'conv'; did you mean 'convs'"),
        ({"relu": 4}, "nothing with a bit-width in 'relu'"),
    ],
)
def test_a_switch_that_is_impossible_changes_nothing(
    tiny_network: nn.Module, images: Tensor, bits: Any, message: str
) -> None:
    made = make_quantizable(tiny_network, BITS, FREE, images)
    with pytest.raises(BenchError, match=message):
        set_bits(made, bits)
    assert {m.bits for m in quantized_layers(made).values()} == {32}


@pytest.mark.parametrize("spec", [QatSpec(), LEARNED, QatSpec(batchnorm="shared")])
def test_a_float_state_is_loaded(tiny_network: nn.Module, images: Tensor, spec: QatSpec) -> None:
    made = make_quantizable(tiny_network, BITS, spec, images)
    other = copy.deepcopy(tiny_network)
    with torch.no_grad():
        for tensor in other.state_dict().values():
            tensor.copy_(tensor * 2 + 1)
    load_float_state(made, other.state_dict())
    fresh = make_quantizable(other, BITS, spec, images)
    wanted = {n: t for n, t in fresh.state_dict().items() if "input_quantizer" not in n}
    got = made.state_dict()
    assert all(torch.equal(got[name], tensor) for name, tensor in wanted.items())


def test_a_foreign_float_state_is_refused(tiny_network: nn.Module, images: Tensor) -> None:
    made = make_quantizable(tiny_network, BITS, QatSpec(), images)
    state = tiny_network.state_dict()
    with pytest.raises(BenchError, match="has the unexpected 'extra' and 0 more"):
        load_float_state(made, state | {"extra": torch.zeros(1)})
    del state["norms.0.weight"], state["head.bias"]
    with pytest.raises(BenchError, match=r"lacks 'head.bias' and 1 more"):
        load_float_state(made, state)


def test_its_own_state_is_loaded(tiny_network: nn.Module, images: Tensor) -> None:
    made = make_quantizable(tiny_network, BITS, LEARNED, images)
    again = make_quantizable(tiny_network, BITS, LEARNED, images * 3)
    again.load_state_dict(made.state_dict())
    assert torch.equal(output(again, images, 4), output(made, images, 4))


def test_other_bits_take_over_what_is_private(tiny_network: nn.Module, images: Tensor) -> None:
    made = make_quantizable(tiny_network.train(), (8, 4), LEARNED, images)
    for _ in range(2):
        output(made, images, 8)
    made.convs[0].weight_quantizer.step["8"].data.mul_(2)  # type: ignore[index,union-attr]
    copy_private(made, 8)
    norm = made.norms[0]  # type: ignore[index]
    assert torch.equal(norm.of_bits["4"].running_mean, norm.of_bits["8"].running_mean)
    steps = made.convs[0].weight_quantizer.step  # type: ignore[index,union-attr]
    assert steps["4"].item() == pytest.approx(steps["8"].item() * 127 / 7)
    with pytest.raises(BenchError, match="6 bits are asked for"):
        copy_private(made, 6)


@pytest.mark.parametrize("spec", SPECS.values(), ids=list(SPECS))
def test_a_few_joint_steps_lower_the_loss(
    tiny_network: nn.Module, images: Tensor, spec: QatSpec
) -> None:
    made = make_quantizable(tiny_network.train(), (8, 4, 2), spec, images)
    optimizer = torch.optim.SGD(made.parameters(), 0.02)
    labels = torch.tensor([0, 1, 2, 3])
    seen = []
    for _ in range(6):
        optimizer.zero_grad()
        total = 0.0
        with quantized_weights(made):
            for bits in (8, 4, 2):
                loss = functional.cross_entropy(output(made, images, bits), labels)
                loss.backward()
                total += loss.item()
        optimizer.step()
        project(made)
        seen.append(total)
    assert seen[-1] < seen[0]


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
    other = Odd()
    load_float_state(made, other.state_dict())
    assert torch.equal(made.same.weight, other.one.weight)


def test_one_layer_is_the_first() -> None:
    made = make_quantizable(
        nn.Linear(2, 2), (4,), QatSpec(first_bits=3, last_bits=5), torch.ones(1, 2)
    )
    assert isinstance(made, QuantizedLayer)
    assert made.bits == 3
    set_bits(made, {"": 4})
    assert made.chosen == 4
    load_float_state(made, nn.Linear(2, 2).state_dict())


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
