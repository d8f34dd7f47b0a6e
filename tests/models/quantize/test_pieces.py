"""Operations on a tensor piece by piece, which must leave no trace."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from models.quantize import pieces as module
from models.quantize.grid import Grid, affine_grid, fake_quantize, symmetric_grid
from models.quantize.pieces import pieces, worth_pieces

VALUES = 3 * torch.randn(5, 3, 4, 2, generator=torch.Generator().manual_seed(0))
LAYOUTS = {
    "contiguous": VALUES,
    "channels_last": VALUES.contiguous(memory_format=torch.channels_last),
    "rows": VALUES.view(15, 8),
}


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIECE", 7)


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_value_is_in_one_piece(
    layout: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    x = LAYOUTS[layout]
    doubled = torch.empty_like(x)
    sizes = []
    for values, target in pieces(x, doubled):
        torch.mul(values, 2, out=target)
        sizes.append(len(values))
    assert torch.equal(doubled, 2 * x)
    # 120 values by 7 or 14.
    assert sizes == ([7] * 17 + [1] if threads == 1 else [14] * 8 + [8])


@pytest.mark.usefixtures("_small")
def test_what_is_taken_in_pieces() -> None:
    assert all(map(worth_pieces, LAYOUTS.values()))
    learned = VALUES.clone().requires_grad_()
    for x in (VALUES.view(-1)[:7], VALUES.double(), VALUES[:, :, ::2], learned, VALUES.to("meta")):
        assert not worth_pieces(x)
    with torch.no_grad():
        assert worth_pieces(learned)
        assert not worth_pieces(torch.nn.Parameter(VALUES))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize(
    "grid", [affine_grid, symmetric_grid], ids=lambda grid: grid.__name__.removesuffix("_grid")
)
@pytest.mark.parametrize("low", [-2.5, 0.0])
def test_fake_quantization_is_the_same_to_the_last_bit(
    grid: Callable[[Tensor, Tensor, int], Grid],
    bits: int,
    low: float,
    layout: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = grid(torch.tensor(low), torch.tensor(4.1), bits)
    odd = torch.tensor([0.0, -0.0, 1e30, -1e30, float("inf"), float("-inf"), float("nan")])
    x = LAYOUTS[layout].clone()
    first = x[0, 0] if x.dim() == 4 else x[0]
    first.copy_(torch.cat([odd, odd[:1]]).view(first.shape))
    whole = fake_quantize(x, own)
    monkeypatch.setattr(module, "PIECE", 7)
    assert worth_pieces(x)
    assert same_bits(fake_quantize(x, own), whole)


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Return whether layouts and values are the same, with the signs of zeros."""
    bits = [x.nan_to_num(nan=77.0).view(torch.int32) for x in (one, other)]
    return one.stride() == other.stride() and torch.equal(*bits)
