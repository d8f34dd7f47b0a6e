import pytest
import torch
from torch import Tensor, nn

from bench.peers.base import Bits
from bench.peers.grids import Found, found_in, on_grid


def test_evenly_spaced_levels_are_a_grid() -> None:
    step = torch.tensor([[0.1], [0.37]])
    rows = torch.tensor([[-3.0, 0.0, 4.0], [-8.0, 7.0, 6.0]]) * step
    assert on_grid(rows, 4)  # 16 levels
    assert not on_grid(rows, 3)  # the second takes 16
    assert on_grid(rows[:1], 3)  # 8 levels: -3 to 4
    assert not on_grid(rows[:1], 2)
    assert not on_grid(rows, 32)


def test_a_grid_need_not_contain_zero_nor_be_exact() -> None:
    row = (torch.tensor([[0.3, 1.3, 4.3, 15.3]]) * 0.01) * (1 + 1e-6)
    assert on_grid(row, 4)
    assert not on_grid(row, 3)


def test_the_nine_weights_of_a_depthwise_kernel_are_no_grid_by_chance() -> None:
    kernels = torch.randn(8, 9, generator=torch.Generator().manual_seed(0))
    assert not any(on_grid(kernel[None], 8) for kernel in kernels)


def test_one_value_is_on_a_grid() -> None:
    assert on_grid(torch.tensor([[0.3], [0.2]]), 2)
    assert on_grid(torch.zeros(2, 3), 2)


class Half(nn.Module):
    """Its first layer has weights of 4 bits, its second an input of 2 bits."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3)
        self.linear = nn.Linear(4 * 6 * 6, 5)
        with torch.no_grad():
            self.conv.weight.copy_(torch.randint(-7, 8, (4, 3, 3, 3), generator=generator) * 0.03)
            self.linear.weight.copy_(torch.randn(5, 144, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).clamp(-1, 2).round()
        out: Tensor = self.linear(x.flatten(1))
        return out


@pytest.mark.parametrize(
    ("bits", "found"),
    [
        # 108 of 828 weights.
        (Bits(4, 2), Found(2, 1, 1, 100 * 108 / 828)),
        (Bits(3, 2), Found(2, 0, 1, 0.0)),
        (Bits(4, 32), Found(2, 1, 0, 100 * 108 / 828)),
    ],
)
def test_what_a_pass_shows(bits: Bits, found: Found) -> None:
    images = 3 * torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert found_in(Half().eval(), images, bits) == found
