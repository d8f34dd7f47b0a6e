"""Networks behind gates: where they start, what pruning leaves, what is refused."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.errors import BenchError
from models.networks.lenet import LeNet5
from models.qat.conversion import make_quantizable
from models.qat.gated import GatedQuantizer
from models.qat.gated_network import (
    Gated,
    Start,
    check_ranges,
    gated_quantizers,
    layer_gates,
    mean_probabilities,
    prune,
    start,
)
from models.qat.network import (
    freeze,
    input_quantizers,
    layer_weights,
    quantized_layers,
    set_bits,
)
from models.qat.spec import QatSpec
from models.quantize.cost import cost
from models.quantize.counting import count

Golden = Callable[[str], dict[str, np.ndarray]]

SPEC = QatSpec(
    weight_quantizer="gated",
    activation_quantizer="gated",
    first_bits=None,
    last_bits=None,
    batchnorm="shared",
)
BITS = (8, 4, 2)
PAPER = Start((6.0, 6.0), pruning=True, release=False)
RELEASE = Start((6.0, 6.0), pruning=True, release=True)
IMAGE = torch.zeros(1, 2, 8, 8)


def images(count: int = 6) -> Tensor:
    return torch.randn(count, 2, 8, 8, generator=torch.Generator().manual_seed(1))


def chain() -> nn.Sequential:
    """Four layers; the second one is depthwise, between them are a ReLU, a pool and BatchNorm."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 8, 3, padding=1, groups=4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 6, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(6 * 2 * 2, 10),
    ).eval()


class Residual(nn.Module):
    """A block beside a shortcut, between a stem and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.block = nn.Sequential(nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1))
        self.head = nn.Linear(4, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = torch.relu(x + self.block(x))
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


def gated(network: nn.Module, where: Start = PAPER) -> nn.Module:
    made = make_quantizable(network, BITS, SPEC, images())
    start(made, images(), where)
    return made


def weight_of(network: nn.Module, layer: str) -> GatedQuantizer:
    quantizer = quantized_layers(network)[layer].weight_quantizer
    assert isinstance(quantizer, GatedQuantizer)
    return quantizer


def shut(network: nn.Module, layer: str, channels: Sequence[int]) -> None:
    phi = weight_of(network, layer).phi_channels
    assert phi is not None
    with torch.no_grad():
        phi[list(channels)] = -6.0


def test_it_starts_from_what_the_layers_see() -> None:
    network = chain()
    with torch.no_grad():
        network[0].weight[0, 0, 0, 0] = -2.0  # type: ignore[index]
    ours, release = gated(network), gated(network, RELEASE)
    assert float(weight_of(ours, "0").xmax) == 2.0
    assert float(weight_of(release, "0").xmax) == pytest.approx(float(network[0].weight.max()))
    # Of the linear layer's input nothing is below 0, and the network before it is at 8 bits.
    seen = network[:9](images()).max()
    found = {(each.layer, each.part): each.quantizer for each in gated_quantizers(ours)}
    assert float(found["9", "input"].xmax) == pytest.approx(float(seen), rel=0.03)
    assert ("0", "input") not in found  # the images
    # Multiply-accumulates: 4 x 18 x 64, 8 x 9 x 64, 6 x 72 x 4, 10 x 24.
    macs = {"0": 4608, "3": 4608, "6": 1728, "9": 240}
    assert {e.layer: e.quantizer.price_share for e in found_weights(ours)} == {
        layer: pytest.approx(of / 4608) for layer, of in macs.items()
    }
    assert weight_of(ours, "9").phi_channels is None
    unpruned = gated(network, Start((6.0, -6.0), pruning=False, release=False))
    assert all(each.quantizer.phi_channels is None for each in gated_quantizers(unpruned))
    assert {each.quantizer.width for each in gated_quantizers(unpruned)} == {4}


def found_weights(network: nn.Module) -> list[Gated]:
    return [each for each in gated_quantizers(network) if each.part == "weight"]


def test_what_is_pruned_takes_with_it_what_it_feeds() -> None:
    network = gated(chain())
    shut(network, "0", [1])  # and with it channels 2 and 3 of the depthwise layer
    shut(network, "3", [7])
    assert prune(network, IMAGE) == []
    assert weight_of(network, "0").shares == [1, 0, 1, 1]
    assert weight_of(network, "3").shares == [1, 1, 0, 0, 1, 1, 1, 0]
    assert weight_of(network, "6").shares == [pytest.approx(5 / 8)] * 6
    assert weight_of(network, "9").shares == [1] * 10
    shut(network, "6", [0, 5])
    prune(network, IMAGE)
    assert weight_of(network, "9").shares == [pytest.approx(16 / 24)] * 10
    assert weight_of(network, "6").bits_in_use(0) == [0, *[pytest.approx(5.0)] * 4, 0]


def test_a_pruned_channel_changes_no_logit_with_its_input() -> None:
    """What is said to be constant is: the network computes the same for any image."""
    network = gated(chain()).eval()
    shut(network, "0", range(4))
    with pytest.raises(BenchError, match="all output channels of '0' are shut, so the network"):
        prune(network, IMAGE)
    logits = network(images())
    assert torch.equal(logits, logits[:1].expand_as(logits))


def test_a_block_that_is_pruned_leaves_its_shortcut() -> None:
    network = gated(Residual()).eval()
    shut(network, "block.1", range(4))
    assert prune(network, IMAGE) == ["block.1"]
    assert weight_of(network, "head").shares == [1] * 10
    assert not torch.equal(*network(images(2)))
    shut(network, "stem", [0, 1, 2, 3])
    with pytest.raises(BenchError, match=r"'stem', 'block\.1' are shut.* lower method.mu"):
        prune(network, IMAGE)


def test_a_collapsed_range_is_named() -> None:
    network = gated(chain())
    check_ranges(network)
    with torch.no_grad():
        weight_of(network, "3").xmax.fill_(-0.5)
    with pytest.raises(BenchError, match="the learned range of the weight of '3' has collapsed"):
        check_ranges(network)


def test_what_is_told_of_gates() -> None:
    network = gated(chain(), Start((6.0, -0.5), pruning=True, release=False))
    told = layer_gates(network)
    assert told["0"] == {"weight": {"4": 0.9995, "8": 0.75}, "channels": 0.9995}
    assert told["9"].keys() == {"input", "weight"}
    means = {n: float(v) for n, v in mean_probabilities(gated_quantizers(network)).items()}
    assert means == {
        "gates of weights/4 bits": pytest.approx(0.9995, abs=1e-4),
        "gates of weights/8 bits": pytest.approx(0.75, abs=1e-3),
        "gates of inputs/4 bits": pytest.approx(0.9995, abs=1e-4),
        "gates of inputs/8 bits": pytest.approx(0.75, abs=1e-3),
        "gates of channels/mean of all layers": pytest.approx(0.9995, abs=1e-4),
    }


@pytest.mark.parametrize("state", ["init", "mixed"])
def test_bit_operations_of_lenet5_are_those_of_the_release(golden: Golden, state: str) -> None:
    """With other bits everywhere and a quarter of the channels pruned."""
    figures = golden("bayesian_bits")
    digits = torch.rand(4, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    made = make_quantizable(LeNet5().eval(), (32, 16, 8, 4, 2), SPEC, digits)
    set_bits(made, 2)
    start(made, digits, Start((6.0, 6.0, -6.0, -6.0), pruning=True, release=True))
    names = "features.0", "features.3", "classifier.1", "classifier.3"
    macs = dict(zip(names, figures["lenet_macs"], strict=True))
    shares = {e.layer: e.quantizer.price_share for e in gated_quantizers(made)}
    assert shares == {name: pytest.approx(of / max(macs.values())) for name, of in macs.items()}
    if state == "mixed":
        of_weights = dict(zip(names, (8, 4, 2, 2), strict=True))
        bits = {"weight": of_weights, "input": dict(zip(names[1:], (8, 4, 2), strict=True))}
        for layer, part, quantizer in gated_quantizers(made):
            wide = {2: 0, 4: 1, 8: 2}[bits[part][layer]]
            quantizer.phi.data.copy_(torch.tensor([6.0] * wide + [-6.0] * (4 - wide)))
            if quantizer.phi_channels is not None:
                quantizer.phi_channels.data[: len(quantizer.phi_channels) // 4] = -6.0
    prune(made, digits[:1])
    counts = count(freeze(made), layer_weights(made), input_quantizers(made), digits[:1])
    found = cost(counts.products).bops_percent
    assert found == pytest.approx(float(figures[f"lenet_{state}_relbops"]), rel=1e-6)
    assert counts.functions == ()  # behind a pool each ReLU is quantized
