"""What each method makes of a step, against the same step written out."""

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from methods.any_precision import AnyPrecision
from methods.bit_mixer import BitMixer
from methods.coquant import Collaborative, CoQuant
from methods.joint import Joint
from methods.training.strategy import (
    HardLabels,
    Moment,
    Strategy,
    divergence,
    soft_cross_entropy,
)
from models.networks.resnet_cifar import resnet20
from models.qat.conversion import make_quantizable
from models.qat.layers import quantized_weights
from models.qat.network import quantized_layers, set_bits
from models.qat.spec import QatSpec
from models.quantize.spec import QuantSpec

BITS = (8, 4, 2)
FREE = QatSpec(first_bits=None, last_bits=None)
COQUANT = CoQuant().constants


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(6, 3, 8, 8, generator=generator)
    return images, torch.tensor([0, 1, 2, 3, 4, 0])


@pytest.fixture
def made(tiny_network: nn.Module, batch: tuple[Tensor, Tensor]) -> nn.Module:
    return make_quantizable(tiny_network, BITS, FREE, batch[0]).train()


def moment(step: int = 0, steps: int = 11) -> Moment:
    return Moment(step, steps, torch.Generator().manual_seed(step))


def gradients(network: nn.Module, run: Callable[[], Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    network.zero_grad()
    with quantized_weights(network):
        loss = run()
    grads = {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}
    return loss, grads


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        torch.allclose(one[name], other[name], atol=1e-6) for name in one
    )


def test_hard_labels_add_up(made: nn.Module, batch: tuple[Tensor, Tensor]) -> None:
    images, targets = batch
    losses = []

    def written_out() -> Tensor:
        total = torch.zeros(())
        for bits in BITS:
            set_bits(made, bits)
            loss = functional.cross_entropy(made(images), targets, label_smoothing=0.1)
            loss.backward()
            losses.append(loss.item())
            total += loss.detach()
        return total / 3

    strategy = HardLabels(made, BITS, 0.1)
    loss, found = gradients(made, lambda: strategy.step(images, targets, moment()))
    wanted_loss, wanted = gradients(made, written_out)
    assert loss.item() == pytest.approx(sum(losses) / 3)
    assert loss.item() == pytest.approx(wanted_loss.item())
    assert same(found, wanted)
    assert {name.split(".")[-2] for name in found if ".of_bits." in name} == {"8", "4", "2"}


def test_soft_cross_entropy_by_hand() -> None:
    logits = torch.tensor([[0.0, math.log(3.0)]], requires_grad=True)  # 1/4, 3/4
    wanted = torch.tensor([[0.0, 0.0]], requires_grad=True)  # 1/2, 1/2
    loss = soft_cross_entropy(logits, wanted)
    assert loss.item() == pytest.approx(-0.5 * math.log(1 / 4) - 0.5 * math.log(3 / 4))
    loss.backward()
    assert logits.grad is not None and wanted.grad is None
    assert logits.grad.tolist()[0] == pytest.approx([-0.25, 0.25])


def test_each_bit_width_learns_from_the_next_higher_one(
    made: nn.Module, batch: tuple[Tensor, Tensor]
) -> None:
    images, targets = batch

    def written_out() -> Tensor:
        logits = []
        for bits in BITS:
            set_bits(made, bits)
            logits.append(made(images))
        first = functional.cross_entropy(logits[0], targets)
        second = functional.cross_entropy(logits[1], logits[0].softmax(1).detach())
        third = functional.cross_entropy(logits[2], logits[1].softmax(1).detach())
        (first + second + third).backward()
        return (first + second + third).detach() / 3

    strategy = AnyPrecision(bits=BITS).strategy_class(made, BITS, 0.0)
    loss, found = gradients(made, lambda: strategy.step(images, targets, moment()))
    wanted_loss, wanted = gradients(made, written_out)
    assert loss.item() == pytest.approx(wanted_loss.item(), abs=1e-6)
    assert same(found, wanted)


def passes(network: nn.Module, strategy: Strategy, at: Moment, batch: Any) -> list[list[int]]:
    """Return the bits of each layer in each forward pass of a step."""
    seen: list[list[int]] = []
    layers = quantized_layers(network).values()
    hook = network.register_forward_pre_hook(
        lambda *_: seen.append([layer.bits for layer in layers])
    )
    with quantized_weights(network):
        strategy.step(*batch, at)
    hook.remove()
    return seen


def test_bit_mixer_draws_in_stages(tiny_network: nn.Module, batch: tuple[Tensor, Tensor]) -> None:
    spec = QatSpec(first_bits=None, last_bits=None, batchnorm="transitional")
    network = make_quantizable(tiny_network, BITS, spec, batch[0]).train()
    method = BitMixer(bits=BITS, stages=(0.5, 0.75))
    strategy = method.strategy(network, QuantSpec(2, 2), tiny_network)
    early = [bits for step in range(5) for bits in passes(network, strategy, moment(step), batch)]
    assert len(early) == 5 * len(BITS)
    assert all(len(set(bits)) == 1 for bits in early)
    assert {bits[0] for bits in early} == {8, 4, 2}
    late = [
        bits for step in range(8, 11) for bits in passes(network, strategy, moment(step), batch)
    ]
    assert any(len(set(bits)) > 1 for bits in late)


def coquant(network: nn.Module, **options: float) -> Collaborative:
    return Collaborative(network, BITS, 0.0, COQUANT._replace(**options))


def test_teachers_have_the_least_score(made: nn.Module, batch: tuple[Tensor, Tensor]) -> None:
    strategy = coquant(made, swap_until=0)
    passes(made, strategy, moment(0), batch)
    # At first the highest bit-width teaches.
    assert strategy.counts == {"4": {"8": 1}, "2": {"8": 1, "4": 0}}

    # What was scored: entropies of the predictions in training mode, distances of the weights.
    entropy, distance = strategy.scores[:2], strategy.scores[2:]
    for index, bits in enumerate((8, 4)):
        set_bits(made, bits)
        p = made(batch[0]).softmax(1)
        assert entropy[index].item() == pytest.approx(float(-(p * p.log()).sum(1).mean()), abs=1e-4)
    for index, (teacher, student) in enumerate([(8, 4), (8, 2), (4, 2)]):
        by_hand = sum(
            float((layer.quantized_weight(teacher) - layer.quantized_weight(student)).abs().mean())
            for layer in quantized_layers(made).values()
        )
        assert distance[index].item() == pytest.approx(by_hand, rel=1e-5)

    # Entropies 0.1 and 0.3 (8 and 4 bits); distances 0.5 (8-4), 2.0 (8-2), 1.5 (4-2).
    scores = torch.tensor([0.1, 0.3, 0.5, 2.0, 1.5])
    for fraction, teacher in ((0.2, 8), (0.6, 4)):  # 0.1 + 2 lambda against 0.3 + 1.5 lambda
        strategy.on_host = scores
        strategy.lambda_now = fraction
        assert strategy._teachers(1) == {4: 8, 2: teacher}


def test_blocks_are_borrowed_less_and_less(made: nn.Module, batch: tuple[Tensor, Tensor]) -> None:
    # convs.0, convs.1, convs.2, head: p starts at 0, 1/3, 2/3, 1 and is 1 from half-way on.
    strategy = coquant(made, keep_first=0.0, keep_last=1.0, swap_until=0.5)
    assert strategy.keep_from == pytest.approx([0, 1 / 3, 2 / 3, 1])
    first = passes(made, strategy, moment(0), batch)
    assert first[0] == [8, 8, 8, 8]
    assert first[1][0] == first[2][0] == 8  # always the teacher's
    assert (first[1][3], first[2][3]) == (4, 2)  # never
    passes(made, strategy, moment(3), batch)
    assert strategy.keep_now == pytest.approx([0.6, 1 / 3 + 0.4, 2 / 3 + 0.2, 1])
    late = passes(made, strategy, moment(5), batch)
    assert late == [[8] * 4, [4] * 4, [2] * 4]


def test_borrowed_statistics_stay() -> None:
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    network = make_quantizable(resnet20().eval(), (8, 4), FREE, images).train()
    alone = copy.deepcopy(network)
    alone(images)  # at 8 bits
    strategy = Collaborative(network, (8, 4), 0.0, COQUANT._replace(keep_first=0, keep_last=0))
    seen = passes(network, strategy, moment(0), (images, torch.tensor([0, 1])))
    assert {bits for layer_bits in seen for bits in layer_bits} == {8}  # all of it is borrowed
    for name, value in alone.named_buffers():
        if name.endswith("running_mean"):
            assert torch.allclose(network.get_buffer(name), value, atol=1e-6), name


def test_distillation_by_hand() -> None:
    student, teacher = torch.tensor([[0.0, 2.0]]), torch.tensor([[0.0, 0.0]])
    # At temperature 2: softmax(0, 1) against (1/2, 1/2), times 4.
    q = math.e / (1 + math.e)
    by_hand = 4 * (0.5 * math.log(0.5 / (1 - q)) + 0.5 * math.log(0.5 / q))
    assert divergence(student, teacher, 2.0).item() == pytest.approx(by_hand, rel=1e-5)


def test_what_an_epoch_was_like(made: nn.Module, batch: tuple[Tensor, Tensor]) -> None:
    strategy = coquant(made, distance_weight=4.0)
    for step in range(3):
        passes(made, strategy, moment(step), batch)
    said = strategy.record()
    assert {student: sum(of.values()) for student, of in said["teachers"].items()} == {
        "4": 3,
        "2": 3,
    }
    assert said["lambda"] == pytest.approx(4.0 * 2 / 10)
    assert strategy.record()["teachers"]["2"] == {"8": 0, "4": 0}
    other = coquant(made)
    other.restore(strategy.state())
    assert torch.equal(other.on_host, strategy.on_host)


def test_what_methods_refuse() -> None:
    with pytest.raises(ValueError, match=r"qat\.shared_clip=False; with anything but True"):
        Joint(qat=QatSpec(batchnorm="shared"))
    with pytest.raises(ValueError, match=r"stages=\[0.9, 0.1\]; give two fractions"):
        BitMixer(stages=(0.9, 0.1))
    with pytest.raises(ValueError, match=r"keep_first=2; give 0\.\.1"):
        CoQuant(keep_first=2)
    with pytest.raises(ValueError, match="temperature=0; give a positive number"):
        CoQuant(temperature=0)
    with pytest.raises(ValueError, match=r"bits=\[4\]; coquant needs 2 bit-widths or more"):
        CoQuant(bits=(4,))
