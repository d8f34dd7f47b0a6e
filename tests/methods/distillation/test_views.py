"""What a network is shown of images, by hand."""

from math import exp

import pytest
import torch

from methods.distillation.views import View, smoothed


def test_a_point_becomes_the_filter() -> None:
    x = torch.zeros(2, 3, 5, 5)
    x[1, 2, 2, 2] = 1
    found = smoothed(x, 1.25)
    side, corner = exp(-1 / (2 * 1.25**2)), exp(-2 / (2 * 1.25**2))
    total = 1 + 4 * side + 4 * corner
    expected = torch.tensor([[corner, side, corner], [side, 1, side], [corner, side, corner]])
    torch.testing.assert_close(found[1, 2, 1:4, 1:4], expected / total)
    found[1, 2, 1:4, 1:4] = 0
    assert not found.any()  # no other channel or image


def test_a_flat_image_stays_as_it_is_up_to_its_edges() -> None:
    flat = torch.full((1, 3, 4, 4), 0.7)
    torch.testing.assert_close(smoothed(flat, 2.0), flat)
    assert smoothed(flat, 0.0) is flat


def test_views_are_places_and_mirror_images() -> None:
    x = torch.arange(16.0).view(1, 1, 4, 4)
    generator = torch.Generator().manual_seed(0)
    view = View(margin=2, flip=True)
    found = {tuple(view.drawn(x, generator).flatten().tolist()) for _ in range(300)}
    places = [x[:, :, t : t + 2, s : s + 2] for t in range(3) for s in range(3)]
    mirrored = [place.flip(3) for place in places]
    assert found == {tuple(place.flatten().tolist()) for place in places + mirrored}


def test_the_view_in_the_end_is_the_middle() -> None:
    x = torch.arange(25.0).view(1, 1, 5, 5)
    assert View(margin=2).central(x).flatten().tolist() == [6, 7, 8, 11, 12, 13, 16, 17, 18]
    assert View().central(x) is not None and torch.equal(View().central(x), x)


def test_without_parts_nothing_is_drawn() -> None:
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    x = torch.randn(1, 3, 4, 4)
    assert torch.equal(View().drawn(x, generator), x)
    assert torch.equal(generator.get_state(), before)


def test_half_of_the_views_are_mirrored() -> None:
    x = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)
    generator = torch.Generator().manual_seed(0)
    seen = [View(flip=True).drawn(x, generator)[0, 0, 0, 0].item() for _ in range(1000)]
    assert sum(seen) / 1000 == pytest.approx(0.5, abs=0.05)
