"""Masks: pasted as torchvision does, and stored for many images."""

import numpy as np
import torch
from faster_coco_eval.core.mask import decode, encode
from torchvision.models.detection.roi_heads import paste_masks_in_image

from bench.statistics.masks import joined_masks, parted_masks, pasted, same_masks


def test_masks_are_pasted_as_torchvision_does() -> None:
    rng = np.random.default_rng(0)
    for number in range(40):
        width, height = rng.integers(20, 90, 2).tolist()
        corner = rng.uniform(0, [width - 10, height - 10])
        beyond = rng.uniform(corner + 0.1, [width, height])
        box = np.concatenate([corner, beyond]).astype(np.float32)
        if number % 10 == 0:
            box[2:] = box[:2]  # of no size
        shown = rng.random((28, 28), dtype=np.float32)
        (expected,) = paste_masks_in_image(
            torch.tensor(shown)[None, None], torch.tensor(box)[None], (height, width)
        )
        found = decode(pasted(shown, box, width, height))
        assert np.array_equal(found, (expected[0] > 0.5).numpy()), number


def test_what_lies_outside_is_cut_off() -> None:
    shown = np.ones((28, 28), np.float32)
    outside = pasted(shown, np.array([50, 4, 60, 8]), 40, 20)
    assert outside["size"] == [20, 40] and not decode(outside).any()
    around = decode(pasted(shown, np.array([-30, -30, 70, 50]), 40, 20))
    assert around.shape == (20, 40) and around.all()


def test_masks_of_many_images_come_back() -> None:
    rng = np.random.default_rng(1)
    images = [
        [encode(np.asfortranarray(rng.integers(0, 2, (5, 4 + n), np.uint8))) for _ in range(n)]
        for n in (2, 0, 3)
    ]
    arrays = joined_masks("found", images)
    back = parted_masks("found", arrays, np.array([2, 0, 3]))
    assert back == images
    assert parted_masks("truth", arrays, np.array([2, 0, 3])) is None
    nothing = joined_masks("found", [[], []])
    assert parted_masks("found", nothing, np.array([0, 0])) == [[], []]


def test_masks_are_the_same_where_their_pixels_are() -> None:
    one, other = (encode(np.full((3, 2), value, np.uint8, order="F")) for value in (0, 1))
    assert same_masks([one, other], [dict(one), dict(other)])
    assert not same_masks([one, other], [other, one])
    assert same_masks(None, None) and not same_masks(None, [])
