"""The kinds of noise, by their figures."""

import pytest
import torch

from methods.distillation.noise import diverse, pink


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("shape", [(2, 3, 8, 10), (1, 1, 7, 5)])
def test_shapes(shape: tuple[int, int, int, int]) -> None:
    for draw in (diverse, pink):
        found = draw(shape, generator())
        assert found.shape == shape and found.dtype == torch.float32
        assert torch.equal(found, draw(shape, generator()))


def test_pink_is_standardised_and_its_colours_go_together() -> None:
    x = pink((200, 3, 32, 32), generator())
    assert x.mean((2, 3)).abs().max() < 1e-5
    torch.testing.assert_close(x.std((2, 3), correction=0), torch.ones(200, 3))
    together = (x[:, 0] * x[:, 1]).mean()
    assert float(together) == pytest.approx(0.9, abs=0.01)


def test_the_amplitude_of_pink_falls_as_one_over_frequency() -> None:
    power = torch.fft.fft2(pink((300, 1, 64, 64), generator())).abs().square().mean((0, 1))
    ratio = power[0, 4] / power[0, 8], power[2, 0] / power[16, 0], power[8, 8] / power[0, 8]
    assert [float(each) for each in ratio] == pytest.approx([4, 64, 0.5], rel=0.25)


def test_diverse_images_have_means_of_their_own() -> None:
    x = diverse((400, 3, 12, 12), generator())
    middle = x[:, :, 4:8, 4:8].mean((2, 3))
    # The filter adds 75 values and divides by 16; the three means are N(0, 1) each.
    assert float(middle.std()) == pytest.approx(25 / 16 * 3**0.5, rel=0.1)
    torch.testing.assert_close(middle[:, 0], middle[:, 1])  # it looks at all colours
