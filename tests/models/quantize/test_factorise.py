"""Weight factorization against the release's factors, and in networks."""

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from methods.dfq import DFQ
from models.errors import NotApplicable
from models.quantize.equalise import BoundedReLU, input_ranges, output_ranges
from models.quantize.factorise import Extrema, factorise, factors
from models.quantize.identity import identity
from models.quantize.network import quantize
from models.quantize.spec import QuantSpec

Golden = Callable[[str], dict[str, np.ndarray]]
Recorded = dict[str, np.ndarray]


def outputs(kernel: np.ndarray) -> Tensor:
    """Return max |w| of each output channel of a kernel, HWIO."""
    return torch.from_numpy(np.abs(kernel).max((0, 1, 2)))


def inputs(kernel: np.ndarray) -> Tensor:
    return torch.from_numpy(np.abs(kernel).max((0, 1, 3)))


def extrema(recorded: Recorded, layer: str) -> Extrema:
    return Extrema(*(torch.from_numpy(recorded[f"{key}_{layer}"]) for key in ("maxact", "minpre")))


def test_chain_of_the_release(golden: Golden) -> None:
    recorded = golden("same_same_equalization")
    for steps in ("one", "two"):
        for layer, before in (("conv1", None), ("conv3", None), ("conv4", "conv3")):
            kernel = recorded[f"kernel_{layer}"]
            if before:  # it reads channels that have factors
                undone = recorded[f"relu_{steps}_scale_{before}"]
                kernel = kernel / undone[:, None]
            after = recorded["kernel_dw2"] if layer == "conv1" else recorded["kernel_conv4"]
            found = factors(outputs(kernel), extrema(recorded, layer), [inputs(after)])
            wanted = recorded[f"relu_{steps}_scale_{layer}"]
            np.testing.assert_allclose(found, wanted, rtol=1e-12)


@pytest.mark.parametrize("steps", ["one", "two"])
def test_branch_of_the_release(steps: str, golden: Golden) -> None:
    recorded = {
        key.removeprefix("br_"): value
        for key, value in golden("same_same_equalization").items()
        if key.startswith("br_")
    }
    readers = [inputs(recorded[f"kernel_conv{name}"]) for name in "AB"]
    found = factors(
        outputs(recorded["kernel_conv1"]),
        extrema(recorded, "conv1"),
        readers if steps == "two" else [],
    )
    np.testing.assert_allclose(found, recorded[f"{steps}_scale_conv1"], rtol=1e-12)
    if steps == "one":
        assert (found >= 1).all()
    else:
        assert (found < 1).any()


class Fork(nn.Module):
    """A convolution that two others read, behind a ReLU6, and a depthwise one."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3)
        self.relu = nn.ReLU6()
        self.left = nn.Conv2d(6, 4, 1)
        self.right = nn.Conv2d(6, 4, 1)
        self.depthwise = nn.Conv2d(4, 4, 3, groups=4)
        self.last = nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.first(x))
        y: Tensor = self.last(self.depthwise(self.left(x) + self.right(x)))
        return y


@pytest.mark.parametrize("two_step", [False, True])
def test_a_network_computes_the_same(two_step: bool) -> None:
    torch.manual_seed(0)
    network = Fork().eval().requires_grad_(False)
    network.first.weight *= torch.logspace(0, -2, 6).view(-1, 1, 1, 1)
    network.left.weight[:, 0] *= 0.01
    network.right.weight[:, 0] *= 0.01
    images = 5 * torch.randn(40, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    expected, before = network(images), output_ranges(network.first)
    made = copy.deepcopy(network)
    # Sums of two layers, and depthwise layers, have no factors.
    assert factorise(made, images, two_step) == ["first"]
    assert torch.allclose(made(images), expected, atol=1e-5)
    found = output_ranges(made.first) / before
    assert isinstance(made.relu, BoundedReLU)
    assert torch.allclose(made.relu.bound, 6 * found)
    hidden = network.first(images)
    ends = Extrema(
        hidden.clamp(0, 6).amax((0, 2, 3)),
        hidden.amin((0, 2, 3)),
    )
    readers = [input_ranges(layer) for layer in (network.left, network.right)]
    wanted = factors(before, ends, readers if two_step else [])
    assert torch.allclose(found, wanted, rtol=1e-5)
    assert bool((found < 1).any()) == two_step
    assert bool((found > 1.5).any())


def test_dead_channels_and_layers_stay_finite() -> None:
    weights, alive = torch.tensor([1.0, 0.0, 0.5]), torch.tensor([2.0, 0.0, 1.0])
    found = factors(weights, Extrema(alive, torch.zeros(3)))
    assert found.tolist() == [1, 16, 2]
    for ends in (Extrema(torch.zeros(3), torch.zeros(3)), Extrema(alive, alive)):
        assert factors(torch.zeros(3), ends).tolist() == [1, 1, 1]
    assert factors(weights, Extrema(torch.zeros(3), alive)).tolist() == [1, 1, 1]


def test_it_comes_before_rounding(golden_network: nn.Module) -> None:
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    expected = golden_network(images)
    made = {
        (bits, equalise): quantize(
            golden_network,
            QuantSpec(bits, 32, w_granularity="tensor", fold=True, equalise=equalise),
            images,
        ).network(images)
        for bits in (4, 16)
        for equalise in ("none", "one_step", "two_step")
    }
    for (bits, equalise), logits in made.items():
        if bits == 16:  # of the same network
            assert torch.allclose(logits, expected, atol=0.02)
        # No output of it is read twice: the second step has nothing to do.
        assert torch.equal(logits, made[bits, "one_step"]) == (equalise != "none")


def test_what_has_no_meaning(golden_network: nn.Module) -> None:
    images = torch.randn(2, 3, 32, 32)
    for spec, said in (
        (QuantSpec(4, 8, equalise="one_step"), "rescales what BatchNorm would scale back: add"),
        (
            QuantSpec(4, 8, fold=True, equalise="two_step", bias_correction="data_free"),
            "rescales the inputs whose means BatchNorm says",
        ),
        (
            QuantSpec("mixed", 8, fold=True, equalise="one_step", mean_bits=4),
            "quant=mixed chooses bits by the weights as they are before",
        ),
    ):
        with pytest.raises(NotApplicable, match=said):
            quantize(golden_network, spec, images)
    alone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sigmoid(), nn.Conv2d(4, 2, 1)).eval()
    with pytest.raises(NotApplicable, match="no channel can be rescaled; use none"):
        quantize(alone, QuantSpec(4, 8, fold=True, equalise="one_step"), images)
    with pytest.raises(NotApplicable, match="dfq equalises by itself"):
        DFQ().quantize(
            golden_network,
            QuantSpec(8, 8, fold=True, equalise="one_step"),
            images,
            torch.Generator(),
        )
    assert identity(QuantSpec(32, 32, equalise="one_step")) == {"w_bits": 32, "a_bits": 32}
