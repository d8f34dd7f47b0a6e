import pytest
import torch
import torch.fx
from torch import Tensor, nn

from models.errors import NotApplicable
from models.traceable import same_padding, traceable_copy


class Same(nn.Conv2d):
    """Pads by the size of its input, which no tracer of code can follow."""

    def forward(self, x: Tensor) -> Tensor:
        pads: list[int] = []
        for size, kernel, stride in zip(x.shape[:1:-1], (3, 3), self.stride, strict=True):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        if max(pads) > 0:
            x = nn.functional.pad(x, pads)
        return nn.functional.conv2d(x, self.weight, self.bias, self.stride)


class Activated(nn.BatchNorm2d):
    """A BatchNorm with its activation inside."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.drop = nn.Identity()
        self.act = nn.ReLU6()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act(self.drop(super().forward(x)))
        return out


class Reflecting(nn.Conv2d):
    """Pads in another way than with zeros."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(nn.functional.pad(x, (1, 1, 1, 1), mode="reflect"))


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    layers = [
        *(Same(3, 4, 3, stride=2), Activated(4), Same(4, 4, 3), Activated(4)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)),
    ]
    made = nn.Sequential(*layers)
    for norm in (made[1], made[3]):
        assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None
        norm.running_mean.normal_()
    return made.eval().requires_grad_(False)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "dilation", "zeros"),
    [
        (224, 3, 2, 1, (0, 1)),
        (112, 3, 1, 1, (1, 1)),
        (7, 5, 2, 1, (2, 2)),
        (8, 5, 2, 1, (1, 2)),
        (8, 3, 1, 2, (2, 2)),
        (8, 1, 2, 1, (0, 0)),
    ],
)
def test_padding_as_tensorflow_has_it(
    size: int, kernel: int, stride: int, dilation: int, zeros: tuple[int, int]
) -> None:
    assert same_padding(size, kernel, stride, dilation) == zeros


def test_the_copy_has_plain_layers_and_the_same_logits(network: nn.Module) -> None:
    images = torch.randn(2, 3, 10, 13)
    copied = traceable_copy(network, images[:1])
    kinds = [type(module) for module in copied.modules() if not list(module.children())]
    assert kinds == [
        *(nn.ZeroPad2d, nn.Conv2d, nn.BatchNorm2d, nn.ReLU6),
        *(nn.ZeroPad2d, nn.Conv2d, nn.BatchNorm2d, nn.ReLU6),
        *(nn.AdaptiveAvgPool2d, nn.Flatten, nn.Linear),
    ]
    first = copied[0]  # type: ignore[index]
    assert first[0].padding == (1, 1, 0, 1)  # 13 wide: 1 and 1, 10 high: 0 and 1
    assert first[1].stride == (2, 2) and first[1].padding == (0, 0)
    wanted = network(images)
    assert torch.equal(copied(images), wanted)
    with pytest.raises(torch.fx.proxy.TraceError):
        torch.fx.symbolic_trace(network)
    assert torch.equal(torch.fx.symbolic_trace(copied)(images), wanted)


def test_the_network_stays_what_it_is(network: nn.Module) -> None:
    before = [type(module) for module in network.modules()]
    copied = traceable_copy(network, torch.randn(1, 3, 10, 13))
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()
    assert [type(module) for module in network.modules()] == before
    assert all(bool(p.any()) for p in network[0].parameters())  # type: ignore[index]


def test_other_padding_is_refused() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(Reflecting(3, 2, 3), nn.Flatten()).eval()
    with pytest.raises(NotApplicable, match=r"its copy of plain layers has other logits"):
        traceable_copy(network, torch.randn(1, 3, 6, 6))
