"""AdaRound: its pieces by hand, and that it rounds better than to the nearest."""

import copy

import pytest
import torch
from torch import nn

from models.quantize.identity import identity
from models.quantize.network import quantize
from models.quantize.ranges import WeightFormat, quantize_weight, weight_grid
from models.quantize.rounding.adaround import (
    AdaRound,
    annealed_beta,
    inverse_rectified_sigmoid,
    rectified_sigmoid,
    rectified_sigmoid_slope,
    regulariser_slope,
)
from models.quantize.rounding.weights import round_weights
from models.quantize.spec import QuantSpec

FORMAT = WeightFormat(3, "affine", "channel", "minmax")


def test_rectified_sigmoid_by_hand() -> None:
    logits = torch.tensor([0.0, -30.0, 30.0, torch.logit(torch.tensor(0.25)).item()])
    assert rectified_sigmoid(logits).tolist() == pytest.approx([0.5, 0, 1, 0.2], abs=1e-6)


def test_learning_starts_at_the_exact_weight() -> None:
    fraction = torch.linspace(0, 1, 11)
    found = rectified_sigmoid(inverse_rectified_sigmoid(fraction))
    assert torch.allclose(found, fraction, atol=1e-6)


def test_beta_is_off_then_falls_from_20_to_2() -> None:
    found = [annealed_beta(step, 1000) for step in (0, 199, 200, 600, 999)]
    assert found[:3] == [None, None, 20]
    assert found[3:] == pytest.approx([11, 2], abs=1e-3)


def test_slopes_are_those_of_autograd() -> None:
    logits = torch.tensor([-3.0, -2.3, -0.5, 0.1, 2.0, 2.5], requires_grad=True)
    up = rectified_sigmoid(logits)
    (wanted,) = torch.autograd.grad(up.sum(), logits)
    assert torch.allclose(rectified_sigmoid_slope(logits.detach()), wanted)
    up = torch.tensor([0.0, 0.2, 0.4, 0.6, 1.0], requires_grad=True)
    for beta in (20.0, 3.5, 2.0):
        (wanted,) = torch.autograd.grad((0.01 * (1 - (2 * up - 1).abs().pow(beta))).sum(), up)
        assert torch.allclose(regulariser_slope(up.detach(), beta), wanted, atol=1e-9)


@pytest.fixture
def layer() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False)).eval()


def run(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        rounding = AdaRound(iterations=200, rate=0.1)
        round_weights(network, {"0": FORMAT}, rounding, x, torch.Generator(), lambda *at: None)
    return network.get_parameter("0.weight").detach()


def test_each_weight_goes_up_or_down_one_step(layer: nn.Sequential) -> None:
    weight = layer[0].weight.detach().clone()
    assert isinstance(weight, torch.Tensor)
    grid = weight_grid(weight, FORMAT)
    x = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(1)) + 1
    rounded = run(layer, x)
    steps = rounded * grid.inverse_scale
    assert torch.allclose(steps, steps.round(), atol=1e-3)
    assert ((rounded - weight).abs() * grid.inverse_scale).max() < 1.5
    nearest = quantize_weight(weight, FORMAT)
    assert (rounded != nearest).any()


def test_output_is_nearer_than_with_nearest_rounding(layer: nn.Sequential) -> None:
    weight = layer[0].weight.detach().clone()
    assert isinstance(weight, torch.Tensor)
    # A common offset: errors of one sign add up, which is what rounding to the nearest ignores.
    x = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(1)) + 5
    conv = torch.nn.functional.conv2d
    target = conv(x, weight, padding=1)
    nearest = (conv(x, quantize_weight(weight, FORMAT), padding=1) - target).square().mean()
    learned = (conv(x, run(layer, x), padding=1) - target).square().mean()
    assert learned < 0.5 * nearest


def test_an_activation_in_place_behind_the_layer_does_not_reach_its_target() -> None:
    torch.manual_seed(0)
    x = torch.randn(8, 3, 8, 8) - 1
    layers = [nn.Conv2d(3, 8, 3), nn.ReLU(inplace=True)]
    rounded = run(nn.Sequential(*copy.deepcopy(layers)), x)
    assert torch.equal(rounded, run(nn.Sequential(copy.deepcopy(layers[0])), x))


def test_quantize_rounds_layers_in_call_order_and_leaves_the_float_network(
    golden_network: nn.Module,
) -> None:
    x = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    before = {name: value.clone() for name, value in golden_network.state_dict().items()}
    seen: list[tuple[int, int]] = []
    spec = QuantSpec(2, 32, rounding="adaround", rounding_iterations=1, last_bits=32)
    quantized = quantize(golden_network, spec, x, progress=lambda *at: seen.append(at)).network
    assert seen == [(done, 21) for done in range(1, 22)]  # 21 convolutions; the last layer is float
    assert all(torch.equal(before[k], v) for k, v in golden_network.state_dict().items())
    weight = quantized.get_parameter("features.init_block.conv.weight")
    assert all(len(channel.unique()) <= 4 for channel in weight)


def test_rounding_parameters_count_only_where_rounding_is_learned() -> None:
    plain = QuantSpec(4, 4, rounding_iterations=5)
    assert identity(plain) == {"w_bits": 4, "a_bits": 4}
    learned = QuantSpec(4, 4, rounding="adaround", rounding_iterations=5)
    assert identity(learned)["rounding_iterations"] == 5
    assert identity(learned)["rounding_version"] == 2
