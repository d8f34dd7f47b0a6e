"""Networks for compilers: the same function, of the same tensors."""

import pytest
import torch
from torch import nn

from models.inference import FixedBatchNorm, with_fixed_batchnorm
from models.zoo import entry

IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("affine", [True, False])
def test_one_channel_by_hand(affine: bool) -> None:
    batchnorm = nn.BatchNorm2d(1, eps=1.0, affine=affine)
    batchnorm.running_mean, batchnorm.running_var = torch.tensor([7.0]), torch.tensor([15.0])
    if affine:
        with torch.no_grad():
            batchnorm.weight.fill_(2.0)
            batchnorm.bias.fill_(5.0)
    fixed = with_fixed_batchnorm(nn.Sequential(batchnorm).eval())
    # (x - 7) / 4, times 2 plus 5
    expected = {1.0: 2.0, 11.0: 7.0} if affine else {1.0: -1.5, 11.0: 1.0}
    for given, wanted in expected.items():
        assert fixed(torch.full((1, 1, 2, 2), given)).unique().item() == wanted


def test_a_network_computes_the_same_and_is_not_touched(tiny_network: nn.Module) -> None:
    with torch.no_grad():
        expected = tiny_network(IMAGES)
        fixed = with_fixed_batchnorm(tiny_network)
        assert torch.allclose(fixed(IMAGES), expected, atol=1e-5)
        assert torch.equal(tiny_network(IMAGES), expected)
    assert sum(isinstance(module, FixedBatchNorm) for module in fixed.modules()) == 3
    assert not any(isinstance(module, FixedBatchNorm) for module in tiny_network.modules())


def test_the_copy_has_the_tensors_of_the_network() -> None:
    network = entry("resnet20").network().eval()
    fixed = with_fixed_batchnorm(network)
    own = {name: tensor.data_ptr() for name, tensor in network.state_dict().items()}
    shared = {n: t.data_ptr() for n, t in fixed.state_dict().items() if n in own}
    assert shared == own


class Louder(nn.BatchNorm2d):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(input)


def test_what_is_more_than_batchnorm_stays() -> None:
    network = nn.Sequential(Louder(3), nn.BatchNorm2d(3, track_running_stats=False)).eval()
    fixed = with_fixed_batchnorm(network)
    assert [type(module) for module in fixed.children()] == [Louder, nn.BatchNorm2d]
    assert torch.equal(fixed(IMAGES), network(IMAGES))
