"""Sizes that are learned, with the gradients of the release (tests/golden/README.md)."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.qat.conversion import make_quantizable
from models.qat.learned import ACTIVATION_STEP_BOUNDS, STEP_BOUNDS
from models.qat.mixed import MARGIN, MixedStepRange
from models.qat.network import quantized_layers
from models.qat.sizes import Fixed, Part, Sizes, dead_layers, input_sizes, weight_sizes
from models.qat.spec import QatSpec
from models.qat.surrogate import Surrogate

Golden = Callable[[str], dict[str, np.ndarray]]
KB_BITS = 8000
WEIGHTS = ("c1w", "c2w", "db", "dw")
INPUTS = ("c1a", "c2a", "da")
UNSIGNED = ("c1a", "da")
MIXED = QatSpec(
    weight_quantizer="mixed_step_range",
    activation_quantizer="mixed_step_range",
    first_bits=None,
    last_bits=None,
    batchnorm="shared",
)


def part(arrays: dict[str, np.ndarray], name: str, prefix: str) -> Part:
    """Return one quantizer of the tiny network of the golden figures."""
    x, is_input = arrays[f"x_{name}"], name in INPUTS
    xmax = torch.from_numpy(arrays[f"{prefix}xmax_{name}"])
    bounds = ACTIVATION_STEP_BOUNDS if is_input else STEP_BOUNDS
    quantizer = MixedStepRange([4], Surrogate(), name not in UNSIGNED, xmax, bounds)
    with torch.no_grad():
        quantizer.step["4"].copy_(torch.from_numpy(arrays[f"{prefix}d_{name}"]))
    return Part(name, quantizer, 4, x[0].size if is_input else x.size)


@pytest.mark.parametrize("prefix", ["", "p_"])
def test_sizes_are_those_of_the_release(prefix: str, golden: Golden) -> None:
    arrays = golden("mixed_penalty")
    weights = Sizes([part(arrays, name, prefix) for name in WEIGHTS], [])
    inputs = Sizes([part(arrays, name, prefix) for name in INPUTS], [])
    theirs = arrays[f"{prefix}weight_bits_per_leaf"].sum()
    assert float(weights.total().detach()) == theirs
    assert float(inputs.total().detach()) == arrays[f"{prefix}act_bits_per_leaf"].sum()
    assert float(inputs.largest().detach()) == arrays[f"{prefix}act_bits_per_leaf"].max()


@pytest.mark.parametrize("kind", ["sum", "max"])
def test_the_penalty_has_the_gradients_of_the_release(kind: str, golden: Golden) -> None:
    arrays = golden("mixed_penalty")
    weights = Sizes([part(arrays, name, "p_") for name in WEIGHTS], [])
    inputs = Sizes([part(arrays, name, "p_") for name in INPUTS], [])
    of_inputs = inputs.total() if kind == "sum" else inputs.largest()
    excess = [
        (weights.total() / KB_BITS - float(arrays["target_w_kB"])).relu(),
        (of_inputs / KB_BITS - float(arrays[f"target_a_{kind}_kB"])).relu(),
    ]
    penalty = float(arrays["coef"]) * torch.stack(excess).square().sum()
    assert float(penalty.detach()) == pytest.approx(float(arrays[f"penalty_{kind}"]), rel=1e-5)
    penalty.backward()
    for each in [*weights.parts, *inputs.parts]:
        for parameter, name in ((each.step, "d"), (each.xmax, "xmax")):
            theirs = arrays[f"gpen_{kind}_{name}_{each.layer}"]
            found = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            assert np.allclose(found.numpy(), theirs, rtol=2e-5, atol=1e-6), (each.layer, name)


def test_each_of_the_largest_has_the_gradient_and_fixed_ones_count() -> None:
    def made(values: int) -> Part:
        quantizer = MixedStepRange([3], Surrogate(), False, torch.tensor(1.0), (0.0, 9.0))
        return Part(f"of {values}", quantizer, 3, values)

    sizes = Sizes([made(10), made(10), made(4)], [Fixed("a", 7, 2), Fixed("b", 1, 8)])
    assert (sizes.values, sizes.fixed) == (32, 22)
    assert float(sizes.total().detach()) == 24 * 3 + 22
    sizes.largest().backward()
    slopes = [each.xmax.grad for each in sizes.parts]
    assert float(slopes[0]) == float(slopes[1]) > 0  # type: ignore[arg-type]
    assert float(slopes[2]) == 0  # type: ignore[arg-type]
    beside = Sizes([made(2)], [Fixed("c", 100, 8)])
    assert float(beside.largest().detach()) == 800
    assert beside.largest_at(lambda part: 2) == 800
    assert beside.of_layers(lambda part: 2) == {"c": 800, "of 2": 4}
    assert sizes.total_at(lambda part: part.values) == 22 + 100 + 100 + 16


@pytest.fixture
def made(tiny_network: nn.Module) -> nn.Module:
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    return make_quantizable(tiny_network, (4,), MIXED, images)


def test_all_layers_of_a_network_count(made: nn.Module) -> None:
    layers = quantized_layers(made)
    weights, inputs = weight_sizes(made), input_sizes(made)
    assert weights is not None
    assert inputs is not None
    count = sum(layer.weight.numel() for layer in layers.values())
    assert float(weights.total().detach()) == 4 * count == 4 * weights.values
    seen: dict[str, Tensor] = {}
    for name, layer in layers.items():
        layer.register_forward_pre_hook(lambda _, args, name=name: seen.update({name: args[0][0]}))
    made(torch.randn(2, 3, 8, 8))
    others = sum(x.numel() for name, x in seen.items() if name != "convs.0")
    image = 32 * 3 * 8 * 8  # left as it comes
    assert float(inputs.total().detach()) == 4 * others + image
    assert inputs.values == others + 3 * 8 * 8


def test_layers_that_have_nothing_to_say_are_named(made: nn.Module) -> None:
    sizes = weight_sizes(made)
    assert sizes is not None
    assert not sizes.collapsed()
    assert not dead_layers(made)
    with torch.no_grad():
        sizes.parts[1].step.copy_(sizes.parts[1].xmax - MARGIN)
        quantized_layers(made)["convs.2"].weight.mul_(1e-6)
    assert sizes.collapsed() == {"convs.1": 1}
    assert dead_layers(made) == ["convs.2"]
