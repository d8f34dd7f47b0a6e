"""The same pixels as torchvision's Resize and CenterCrop."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

from bench.data.pixels import pixels_of
from models.preprocessing import Preprocessing
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


def boxed(size: int) -> Preprocessing:
    return Preprocessing(size, size, "bilinear", (0.5, 0.25, 0.0), (1.0,) * 3, fit="letterbox")


def test_a_letterbox_has_the_whole_image_in_its_upper_left() -> None:
    image = Image.fromarray(np.full((10, 20, 3), 200, dtype=np.uint8))
    got = pixels_of(image, boxed(40))
    assert got.shape == (40, 40, 3)
    assert (got[:20] == 200).all() and (got[20:] == [128, 64, 0]).all()
    # 7 x 30: 30 becomes 12, and 7 becomes 2.8, which is 3.
    tall = Image.fromarray(np.full((30, 7, 3), 9, dtype=np.uint8))
    got = pixels_of(tall, boxed(12))
    assert (got[:, :3] == 9).all() and (got[:, 3:] == [128, 64, 0]).all()
    thin = Image.fromarray(np.full((1, 400, 3), 9, dtype=np.uint8))
    assert (pixels_of(thin, boxed(20))[0] == 9).all(), "a pixel at least"


def test_an_image_of_the_size_of_its_letterbox_is_as_it_was(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", 24, 24, 0)
    expected = np.asarray(Image.open(tmp_path / "a.png"))
    np.testing.assert_array_equal(pixels_of(Image.open(tmp_path / "a.png"), boxed(24)), expected)
