"""A whole network at several bit-widths: what is shared, what is private, how it is switched."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.errors import BenchError
from models.qat.conversion import make_quantizable
from models.qat.layers import quantized_weights
from models.qat.network import (
    copy_private,
    project,
    quantized_layers,
    quantizer_parameters,
    set_bits,
)
from models.qat.spec import QatSpec

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
