"""BatchNorm by pairs of bit-widths, left alone, and re-estimated."""

import pytest
import torch
from torch import Tensor, nn

from models.networks.resnet_cifar import resnet20
from models.qat.batchnorm import TransitionalBatchNorm2d, statistics_kept
from models.qat.conversion import make_quantizable
from models.qat.network import blocks, set_bits
from models.qat.spec import QatSpec

FREE = QatSpec(first_bits=None, last_bits=None, batchnorm="transitional")


@pytest.fixture
def images() -> Tensor:
    return torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def test_a_pair_is_of_the_layer_before_and_of_its_own(
    tiny_network: nn.Module, images: Tensor
) -> None:
    made = make_quantizable(tiny_network, (8, 4), FREE, images)
    norms = list(made.norms)
    assert all(isinstance(norm, TransitionalBatchNorm2d) for norm in norms)
    assert [(norm.previous, norm.layer) for norm in norms] == [
        (None, "convs.0"),
        ("convs.0", "convs.1"),
        ("convs.1", "convs.2"),
    ]
    set_bits(made, {"": 8, "convs.1": 4})
    assert [(norm.before, norm.chosen) for norm in norms] == [(8, 8), (8, 4), (4, 8)]
    for name, value in {"8_8": 1.0, "8_4": 2.0, "4_8": 3.0}.items():
        for norm in norms:
            norm.of_bits[name].weight.data.fill_(value)
    x = torch.ones(1, 4, 1, 1)
    plain = [tiny_network.norms[i](x) - tiny_network.norms[i].bias[:, None, None] for i in range(3)]
    for norm, base, factor in zip(norms, plain, (1, 2, 3), strict=True):
        assert torch.allclose(norm(x), factor * base, atol=1e-6)
    norms[0].copy_private(8)
    assert float(norms[0].of_bits["4_8"].weight[0]) == 1.0


def test_a_batchnorm_before_the_first_layer_has_no_pairs() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2)).eval()
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    made = make_quantizable(network, (32, 4), FREE, x)
    assert [type(module).__name__ for module in made] == [
        *("BatchNorm2d", "QuantizedConv2d", "TransitionalBatchNorm2d")
    ]
    assert torch.equal(made(x), network(x))


def test_statistics_are_kept_within_the_block() -> None:
    norm = nn.BatchNorm2d(2).train()
    x = torch.randn(8, 2, 3, 3, generator=torch.Generator().manual_seed(0)) + 5
    with statistics_kept([nn.Sequential(norm)]):
        inside = norm(x)
    assert torch.equal(norm.running_mean, torch.zeros(2))
    assert float(inside.mean().abs()) < 1e-6  # normalised by the batch all the same
    norm(x)
    assert torch.allclose(norm.running_mean, 0.1 * x.mean(dim=(0, 2, 3)))


def test_blocks_are_the_residual_units() -> None:
    spec = QatSpec()
    made = make_quantizable(resnet20().eval(), (8, 4), spec, torch.randn(1, 3, 32, 32))
    found = blocks(made)
    assert found[:2] == ["features.init_block", "features.stage1.unit1"]
    assert found[-2:] == ["features.stage3.unit3", "output"]
    assert len(found) == 1 + 9 + 1
