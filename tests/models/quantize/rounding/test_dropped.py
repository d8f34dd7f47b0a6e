import pytest
import torch

from models.quantize.rounding.dropped import kept


@pytest.mark.parametrize("drop", [1.0, 0.5, 0.3, 2.0**-20])
def test_as_many_are_dropped_as_the_probability_says(drop: float) -> None:
    draws = torch.Generator().manual_seed(0)
    found = kept(torch.empty(64, 3, 32, 31), drop, draws)
    assert set(found.unique().tolist()) <= {0.0, 1.0}
    sigmas = 4 * (drop * (1 - drop) / found.numel()) ** 0.5
    assert float(found.mean()) == pytest.approx(1 - drop, abs=sigmas + 2.0**-16)


def test_values_are_dropped_each_alone() -> None:
    found = kept(torch.empty(100_000), 0.5, torch.Generator().manual_seed(1)) - 0.5
    for lag in range(1, 9):  # of those of one draw, and of neighbouring ones
        assert float((found[lag:] * found[:-lag]).mean()) == pytest.approx(0, abs=0.004)


def test_a_seed_and_a_layout_say_all() -> None:
    x = torch.empty(2, 5, 3, 7)
    first, second = (kept(x, 0.5, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)
    lying = x.to(memory_format=torch.channels_last)
    assert kept(lying, 0.5, None).is_contiguous(memory_format=torch.channels_last)
    assert kept(x.double(), 0.5, None).dtype == torch.float64
    assert kept(x[:0], 0.5, None).shape == (0, 5, 3, 7)
