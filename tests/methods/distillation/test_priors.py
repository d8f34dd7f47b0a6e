"""Losses of images that look at no network, by hand."""

from math import sqrt

import pytest
import torch

from methods.distillation.priors import (
    image_prior,
    roughness,
    spectrum_difference,
    total_variation,
    unsmooth,
)


def test_total_variation_by_hand() -> None:
    x = torch.tensor([[1.0, 2.0], [4.0, 8.0]]).view(1, 1, 2, 2)
    across, down = sqrt(1**2 + 4**2), sqrt(3**2 + 6**2)
    expected = across + down + (4 - 2) + (8 - 1)
    assert float(total_variation(x)) == pytest.approx(expected)
    both = total_variation(torch.cat([x, x]))
    assert float(both) == pytest.approx(sqrt(2) * expected)  # one norm over the batch
    assert float(total_variation(torch.ones(2, 3, 3, 3))) == 0


def test_prior_by_hand() -> None:
    x = torch.arange(9.0).view(1, 1, 3, 3)
    seen = set()
    for seed in range(10):
        generator = torch.Generator().manual_seed(seed)
        offset = int(torch.randint(-30, 30, (1,), generator=torch.Generator().manual_seed(seed)))
        index = [(i - offset) % 3 for i in range(3)]
        expected = float(total_variation(x[:, :, index][:, :, :, index])) + sqrt(204)
        assert float(image_prior(x, generator)) == pytest.approx(expected)
        seen.add(offset % 3)
    assert seen == {0, 1, 2}


def test_prior_takes_the_mean_norm_over_images() -> None:
    x = torch.tensor([2.0, 4.0]).view(2, 1, 1, 1).expand(2, 1, 3, 3)
    assert float(image_prior(x, torch.Generator())) == pytest.approx((6 + 12) / 2)


def test_spectrum_difference_by_hand() -> None:
    same = torch.tensor([[1.0, 0.0], [3.0, 0.0]]).view(2, 1, 1, 2)  # cosine 1: 0 and 2
    apart = torch.tensor([[0.0, 5.0], [2.0, 0.0]]).view(2, 1, 1, 2)  # cosine 0: 1 and 1
    assert float(spectrum_difference(same, apart)) == pytest.approx(1)
    assert float(spectrum_difference(same, 7 * same)) == pytest.approx(0, abs=1e-6)
    turned = torch.tensor([[0.0, -1.0], [1.0, 0.0]]).view(2, 1, 1, 2)
    assert float(spectrum_difference(apart, turned)) == pytest.approx(0, abs=1e-6)


def test_roughness_by_hand() -> None:
    x = torch.tensor([[1.0, 2.0], [4.0, 8.0]]).view(1, 1, 2, 2)
    across, down = (1**2 + 4**2) / 2, (3**2 + 6**2) / 2
    assert float(roughness(x)) == across + down
    assert float(roughness(torch.cat([x, x]))) == across + down  # the mean over images
    assert float(roughness(torch.ones(2, 3, 3, 3))) == 0


def test_how_unsmooth_by_hand() -> None:
    # A filter so wide is the mean of 3 x 3: one bright pixel of 9 spreads over its neighbours.
    image = torch.zeros(1, 1, 5, 5)
    image[0, 0, 2, 2] = 9.0
    assert float(unsmooth(image, 1e6)) == pytest.approx((8 * 1 + 64) / 25, rel=1e-4)
    assert float(unsmooth(torch.full((2, 3, 4, 4), 7.0), 1.0)) == pytest.approx(0, abs=1e-10)
