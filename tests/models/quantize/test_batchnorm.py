"""BatchNorm statistics that are taken again."""

import pytest
import torch
from torch import nn

from models.errors import BenchError, NotApplicable
from models.quantize.batchnorm import reestimate
from models.quantize.network import quantize
from models.quantize.spec import QuantSpec
from models.tracing import traced


def test_statistics_are_those_of_the_batches() -> None:
    norm = nn.BatchNorm2d(2)
    norm.running_mean.fill_(100)
    unused = nn.BatchNorm2d(2)
    unused.running_mean.fill_(7)
    network = nn.Sequential(norm)
    network.other = nn.Sequential(unused)
    network.forward = norm.forward  # type: ignore[method-assign]
    batches = torch.randn(3, 4, 2, 5, 5, generator=torch.Generator().manual_seed(0)).unbind()
    network.eval()
    reestimate(network, batches)
    each = torch.stack([batch.mean(dim=(0, 2, 3)) for batch in batches])
    spread = torch.stack([batch.var(dim=(0, 2, 3)) for batch in batches])
    assert torch.allclose(norm.running_mean, each.mean(dim=0), atol=1e-6)
    assert torch.allclose(norm.running_var, spread.mean(dim=0), atol=1e-6)
    assert torch.equal(unused.running_mean, torch.full((2,), 7.0))
    assert norm.momentum == 0.1 and not norm.training


def test_of_a_quantized_network_they_are_those_of_all_images(golden_network: nn.Module) -> None:
    images = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    made = quantize(golden_network, QuantSpec(2, 32, reestimate_batchnorm=True), images).network
    assert not any(module.training for module in made.modules())
    # The n / (n - 1) of each variance adds up on the way: to 1 % in twenty layers of few pixels.
    for name, tolerance in (("init_block", 1e-5), ("stage3.unit3.body.conv2", 0.03)):
        block = made.get_submodule(f"features.{name}")
        seen: dict[str, torch.Tensor] = {}
        with traced({name: block.conv}, after=lambda n, x, y, seen=seen: seen.update({n: y})):
            made(images)
        mean, spread = seen[name].mean((0, 2, 3)), seen[name].var((0, 2, 3))
        assert torch.allclose(block.bn.running_mean, mean, atol=tolerance)
        assert torch.allclose(block.bn.running_var, spread, rtol=tolerance)


def test_where_there_are_none(golden_network: nn.Module) -> None:
    images = torch.randn(2, 3, 32, 32)
    spec = QuantSpec(4, 32, fold=True, reestimate_batchnorm=True)
    with pytest.raises(
        NotApplicable, match=r"quant\.reestimate_batchnorm=true: the network has no"
    ):
        quantize(golden_network, spec, images)


def test_one_value_a_channel_has_no_variance() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 8), nn.BatchNorm2d(4)).eval()
    spec = QuantSpec(4, 32, reestimate_batchnorm=True)
    with pytest.raises(BenchError, match="1 image gives a BatchNorm one value a channel"):
        quantize(network, spec, torch.randn(1, 3, 8, 8))
    quantize(network, spec, torch.randn(2, 3, 8, 8))
