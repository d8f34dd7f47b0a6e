"""DFQ as a whole: what it rescues, what each switch does, what it refuses."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from methods.base import Context
from methods.registry import make_method
from models.errors import BenchError, NotApplicable
from models.quantize.bits import ChosenBits
from models.quantize.network import QuantizedNetwork, quantize
from models.quantize.spec import QuantSpec

RECIPE: dict[str, Any] = {"w_granularity": "tensor", "sites": "all", "fold": True}
PLAIN: dict[str, Any] = {"equalise": False, "absorb_bias": False, "correct_bias": False}


def noise(count: int, side: int) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(7))


def dfq(network: nn.Module, spec: QuantSpec, images: Tensor, **settings: Any) -> QuantizedNetwork:
    weight_bits = settings.pop("weight_bits", None)
    method = make_method({"name": "dfq", **settings})
    generator = torch.Generator().manual_seed(0)
    return method.quantize(
        network, spec, images, generator, chosen=weight_bits and ChosenBits(weight_bits)
    )


def badly_scaled(activation: type[nn.Module]) -> nn.Module:
    """A depthwise block whose channels BatchNorm scales by 0.03 to 30, undone by the next layer."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3, bias=False),
        nn.BatchNorm2d(16),
        activation(),
        nn.Conv2d(16, 16, 3, groups=16, bias=False),
        nn.BatchNorm2d(16),
        activation(),
        nn.Conv2d(16, 8, 1, bias=False),
        nn.BatchNorm2d(8),
        activation(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    )
    scale = 10 ** (3 * torch.rand(16, generator=generator) - 1.5)
    with torch.no_grad():
        network[4].weight.copy_(scale)  # type: ignore[operator]
        network[6].weight.div_(scale.view(1, 16, 1, 1))  # type: ignore[operator]
        for index in (1, 4, 7):
            network[index].bias.copy_(torch.rand(len(network[index].bias)))  # type: ignore[operator,arg-type]
            network[index].momentum = None  # type: ignore[assignment]
        network[4].bias.mul_(scale)  # type: ignore[operator]
        network.train()(noise(64, 12))
    return network.eval().requires_grad_(False)


def error(network: nn.Module, quantized: QuantizedNetwork) -> float:
    """Relative error of the outputs for other noise."""
    x = torch.randn(32, 3, 12, 12, generator=torch.Generator().manual_seed(11))
    wanted = network(x)
    return float((quantized.network(x) - wanted).norm() / wanted.norm())


def test_rescues_badly_scaled_channels() -> None:
    network = badly_scaled(nn.ReLU)
    images = noise(32, 12)
    spec = QuantSpec(8, 8, **RECIPE)
    plain = error(network, quantize(network, spec, images))
    assert plain > 0.3
    assert error(network, dfq(network, spec, images)) < plain / 20
    weights_only = QuantSpec(8, 32, **RECIPE)
    corrected = error(network, dfq(network, weights_only, images))
    assert corrected < plain / 100
    assert error(network, dfq(network, weights_only, images, correct_bias=False)) > 2 * corrected
    assert error(network, dfq(network, weights_only, images, equalise=False)) > 20 * corrected


def test_relu6_kept_with_bounds_of_its_own_is_rescued_too() -> None:
    network = badly_scaled(nn.ReLU6)
    images = noise(32, 12)
    spec = QuantSpec(8, 8, **RECIPE)
    plain = error(network, quantize(network, spec, images))
    kept = error(network, dfq(network, spec, images, replace_relu6=False))
    replaced = error(network, dfq(network, spec, images))
    assert kept < plain / 10
    assert replaced > 10 * kept  # the bound is what this network computes with


@pytest.mark.parametrize("sites", ["relu", "all"])
def test_predictions_of_a_real_network_stay(golden_network: nn.Module, sites: str) -> None:
    x = torch.randn(32, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    spec = QuantSpec(8, 8, **(RECIPE | {"sites": sites}))
    quantized, quantizers, *_ = dfq(golden_network, spec, noise(4, 32))
    wanted = golden_network(x)
    found = quantized(x)
    assert (found.argmax(1) == wanted.argmax(1)).float().mean() >= 0.95
    assert (found - wanted).norm() / wanted.norm() < 0.1
    assert len(quantizers) == (19 if sites == "relu" else 22)
    assert not any(quantizer.observing for quantizer in quantizers.values())
    lows = [quantizer.low.item() for name, quantizer in quantizers.items() if "init" not in name]
    assert set(lows) == {0.0}  # all of them behind a ReLU, but the image


def test_same_seed_same_network(golden_network: nn.Module) -> None:
    before = {key: value.clone() for key, value in golden_network.state_dict().items()}
    spec = QuantSpec(6, 6, **RECIPE)
    first, second = (dfq(golden_network, spec, noise(2, 32)).network.state_dict() for _ in "ab")
    assert all(torch.equal(first[key], second[key]) for key in first)
    after = golden_network.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_with_everything_off_the_weights_are_those_of_the_recipe(golden_network: nn.Module) -> None:
    spec = QuantSpec(4, 32, **RECIPE)
    x = noise(2, 32)
    found = dfq(golden_network, spec, x, **PLAIN).network.state_dict()
    wanted = quantize(golden_network, spec, x).network.state_dict()
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)


def test_correction_changes_biases_alone(golden_network: nn.Module) -> None:
    spec, x = QuantSpec(3, 32, **RECIPE), noise(2, 32)
    off = {"equalise": False, "absorb_bias": False}
    corrected = dfq(golden_network, spec, x, **off).network.state_dict()
    plain = dfq(golden_network, spec, x, **PLAIN).network.state_dict()
    changed = {key for key in plain if not torch.equal(plain[key], corrected[key])}
    assert changed
    assert all(key.endswith("bias") for key in changed)


def test_own_weight_bits_are_kept(golden_network: nn.Module) -> None:
    spec = QuantSpec(8, 8, first_bits=5, **RECIPE)
    name = "features.stage2.unit1.body.conv1.conv"
    quantized = dfq(golden_network, spec, noise(2, 32), weight_bits={name: 2}).network
    assert len(quantized.get_parameter(f"{name}.weight").unique()) <= 4
    assert 16 < len(quantized.get_parameter("features.init_block.conv.weight").unique()) <= 32
    assert (
        len(quantized.get_parameter("features.stage2.unit1.body.conv2.conv.weight").unique()) > 32
    )


@pytest.mark.thorough
def test_ranges_by_channel_and_fewer_sigmas(golden_network: nn.Module) -> None:
    spec = QuantSpec(8, 8, **(RECIPE | {"a_granularity": "channel"}))
    by_channel = dfq(golden_network, spec, noise(2, 32)).quantizers
    name = "features.stage1.unit1.body.conv2.conv"
    assert by_channel[name].high.shape == (1, 16, 1, 1)
    assert by_channel["output"].high.shape == (1, 64)
    whole = dfq(golden_network, QuantSpec(8, 8, **RECIPE), noise(2, 32)).quantizers
    assert whole[name].high == by_channel[name].high.max()
    narrow = dfq(golden_network, QuantSpec(8, 8, **RECIPE), noise(2, 32), sigmas=3.0).quantizers
    assert 0 < narrow[name].high < whole[name].high


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fold": False}, r"dfq folds BatchNorm: add quant\.fold=true or recipe=dfq"),
        ({"a_range": "ema"}, r"quant\.a_range=ema: .* use minmax"),
        ({"rounding": "adaround"}, r"quant\.rounding=adaround .* use nearest"),
    ],
)
def test_recipes_without_meaning(
    tiny_network: nn.Module, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(NotApplicable, match=message):
        dfq(tiny_network, QuantSpec(8, 8, **(RECIPE | changes)), noise(2, 8))


def test_networks_without_meaning(make_context: Callable[..., Context]) -> None:
    method = make_method({"name": "dfq"})
    reason = method.not_applicable(nn.Sequential(nn.Conv2d(3, 3, 1)))
    assert reason == "the network has no BatchNorm statistics to take ranges and means from"
    untrained = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)).eval()
    with pytest.raises(BenchError, match="as before any training"):
        dfq(untrained, QuantSpec(8, 8, **RECIPE), noise(2, 8))
    with pytest.raises(BenchError, match=r"method 'dfq': sigmas=0\.0; give a positive number"):
        make_method({"name": "dfq", "sigmas": 0})


def test_sums_and_pools_have_no_ranges_from_batchnorm(tiny_network: nn.Module) -> None:
    spec = QuantSpec(8, 8, **(RECIPE | {"sites": "integer"}))
    generator = torch.Generator().manual_seed(0)
    with pytest.raises(NotApplicable, match=r"quant\.sites=integer: dfq takes ranges from"):
        make_method({"name": "dfq"}).quantize(
            tiny_network, spec, torch.zeros(1, 3, 8, 8), generator
        )
