"""The same pixels as torchvision's Resize and CenterCrop."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

from bench.data.pixels import pixels_of
from tests.bench.data.images import preprocessing, write_image

SIZES = [(37, 53), (53, 37), (41, 41), (24, 24), (24, 31), (200, 25), (11, 90), (33, 34), (7, 5)]


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("size", "resize"), [(24, 24), (21, 24), (16, 29), (1, 3)])
def test_equals_torchvision_pixel_for_pixel(
    tmp_path: Path, size: int, resize: int, interpolation: str
) -> None:
    mode = InterpolationMode(interpolation)
    expected = Compose([Resize(resize, interpolation=mode), CenterCrop(size)])
    for seed, (width, height) in enumerate(SIZES):
        path = tmp_path / f"{seed}.png"
        write_image(path, width, height, seed)
        got = pixels_of(Image.open(path), preprocessing(size, resize, interpolation))
        assert got.shape == (size, size, 3)
        np.testing.assert_array_equal(got, np.asarray(expected(Image.open(path))))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_every_colour_mode_becomes_rgb(mode: str) -> None:
    image = Image.fromarray(np.full((4, 6, 3), 255, dtype=np.uint8)).convert(mode)
    got = pixels_of(image, preprocessing(4, 4))
    np.testing.assert_array_equal(got, np.full((4, 4, 3), 255))
