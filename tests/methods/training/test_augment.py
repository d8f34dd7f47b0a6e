"""Random changes of images: their size, and that nothing else happens."""

import torch

from methods.training.augment import augment, crop_flip, warp
from methods.training.schedule import Schedule


def test_warp_within_its_limits() -> None:
    still = Schedule(max_shift=0, max_rotation=0, max_scale=0)
    images = torch.rand(4, 3, 20, 30, generator=torch.Generator().manual_seed(0)) * 255
    same = warp(images, still, torch.Generator().manual_seed(0))
    assert torch.allclose(same, images, atol=1e-3)

    # A point in the middle of an oblong black image: it moves by the shift, and nothing appears.
    point = torch.zeros(200, 3, 41, 61)
    point[:, :, 20, 30] = 255
    moved = warp(point, Schedule(max_rotation=0, max_scale=0), torch.Generator().manual_seed(0))
    mass = moved[:, 0]
    total = mass.sum(dim=(1, 2))
    assert torch.allclose(total, torch.full((200,), 255.0), rtol=1e-3)
    y = (mass.sum(dim=2) * torch.arange(41.0)).sum(dim=1) / total - 20
    x = (mass.sum(dim=1) * torch.arange(61.0)).sum(dim=1) / total - 30
    for shift in (x, y):
        assert 1.9 < shift.abs().max() <= 2.001
        assert shift.mean().abs() < 0.25


def test_warp_rotates_without_shearing() -> None:
    point = torch.zeros(300, 3, 41, 61)
    point[:, :, 20, 45] = 255  # 15 pixels right of the centre
    schedule = Schedule(max_shift=0, max_rotation=30, max_scale=0)
    mass = warp(point, schedule, torch.Generator().manual_seed(0))[:, 0]
    total = mass.sum(dim=(1, 2))
    y = (mass.sum(dim=2) * torch.arange(41.0)).sum(dim=1) / total - 20
    x = (mass.sum(dim=1) * torch.arange(61.0)).sum(dim=1) / total - 30
    assert torch.allclose(torch.hypot(x, y), torch.full((300,), 15.0), atol=0.3)
    assert 28 < torch.rad2deg(torch.atan2(y, x)).abs().max() < 31


def test_crops_and_mirrors_are_those_of_a_padded_image() -> None:
    pixels = torch.arange(2 * 3 * 4 * 5, dtype=torch.float32).view(2, 3, 4, 5) + 1
    many = pixels.repeat(300, 1, 1, 1)
    changed = crop_flip(many, 1, torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(many, (1, 1, 1, 1))
    seen = set()
    for image, whole in zip(changed, padded, strict=True):
        wanted = {
            (y, x, mirrored): crop.flip(2) if mirrored else crop
            for y in range(3)
            for x in range(3)
            for crop in [whole[:, y : y + 4, x : x + 5]]
            for mirrored in (False, True)
        }
        matches = [key for key, crop in wanted.items() if torch.equal(crop, image)]
        assert len(matches) == 1
        seen.add(matches[0])
    assert len(seen) == 18


def test_none_changes_nothing() -> None:
    pixels = torch.rand(2, 3, 4, 4)
    assert augment(pixels, Schedule(augment="none"), torch.Generator()) is pixels
