"""What the release of ZeroQ reaches: counted on torchvision's RetinaNet, and in layers by hand."""

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection import retinanet_resnet50_fpn

from models.errors import BenchError
from models.quantize.identity import identity
from models.quantize.network import quantize
from models.quantize.reach import in_reach, out_of_reach
from models.quantize.spec import QuantSpec


class Towers(nn.Module):
    """(N, 3, 8, 8) to (N, 5), with layers in all kinds of containers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 4, 3)
        self.blocks = nn.Sequential(nn.ReLU(), nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU()))
        self.tower = nn.ModuleList([nn.Conv2d(4, 4, 1), nn.ReLU()])
        self.named = nn.ModuleDict({"conv": nn.Conv2d(4, 4, 1), "normal": nn.Conv2d(4, 4, 1)})
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.stem(x))
        for layer in (*self.tower, *self.named.values()):
            x = layer(x)
        return self.head(x.mean((2, 3)))


@pytest.fixture(scope="module")
def retinanet() -> nn.Module:
    network: nn.Module = retinanet_resnet50_fpn(weights=None, weights_backbone=None)
    return network


def test_of_retinanet_57_convolutions_and_17_relus(retinanet: nn.Module) -> None:
    modules = dict(retinanet.named_modules())
    convs = {name for name, module in modules.items() if isinstance(module, nn.Conv2d)}
    relus = {name for name, module in modules.items() if isinstance(module, nn.ReLU)}
    reached = set(in_reach(retinanet, "release"))
    assert (len(convs & reached), len(convs - reached)) == (57, 14)
    # Feature pyramid: 6, towers of the heads: 4 each.
    outside = [name.rpartition(".")[0].rstrip("0123456789.") for name in sorted(convs - reached)]
    assert {name: outside.count(name) for name in outside} == {
        "backbone.fpn.inner_blocks": 3,
        "backbone.fpn.layer_blocks": 3,
        "head.classification_head.conv": 4,
        "head.regression_head.conv": 4,
    }
    assert len(relus & reached) == 17
    assert set(out_of_reach(retinanet, "release")) == (convs | relus) - reached
    assert out_of_reach(retinanet, "all") == []
    assert set(in_reach(retinanet, "all")) == set(modules)


def test_containers_by_hand() -> None:
    assert out_of_reach(Towers(), "release") == ["tower.0", "tower.1", "named.normal"]


@pytest.mark.parametrize("sites", ["relu", "all"])
def test_what_is_out_of_reach_stays_float(sites: str) -> None:
    network, images = Towers().eval(), torch.randn(4, 3, 8, 8)
    made = quantize(network, QuantSpec(4, 4, sites=sites, reach="release"), images)
    bits = {"stem": 4, "blocks.1.0": 4, "tower.0": 32, "named.conv": 4, "named.normal": 32}
    assert made.weight_bits == bits | {"head": 4}
    relus, layers = {"blocks.0", "blocks.1.1"}, {"stem", "blocks.1.0", "named.conv", "head"}
    assert set(made.quantizers) == (relus if sites == "relu" else layers)
    before, after = network.state_dict(), made.network.state_dict()
    for name in ("stem", "tower.0", "named.normal"):
        same = torch.equal(before[f"{name}.weight"], after[f"{name}.weight"])
        assert same == (bits[name] == 32)


def test_reach_in_a_spec() -> None:
    assert identity(QuantSpec(4, 4)) == {"w_bits": 4, "a_bits": 4}
    assert identity(QuantSpec(4, 4, reach="release"))["reach"] == "release"
    assert identity(QuantSpec(32, 32, reach="release")) == identity(QuantSpec(32, 32))
    with pytest.raises(BenchError, match=r"quant\.reach=half cannot be represented"):
        QuantSpec(4, 4, reach="half")
