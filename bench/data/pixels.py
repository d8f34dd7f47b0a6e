"""From an opened image to the pixels a network sees."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from bench.data.colours import to_rgb
from models.preprocessing import Preprocessing

_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def resize_and_crop(image: Image.Image, preprocessing: Preprocessing) -> Image.Image:
    """Bring the shorter side to `resize` and cut `size` x `size` out of the centre.

    Rounds as torchvision's Resize and CenterCrop do, and so gives the same pixels: the longer side
    is rounded down, half a pixel of crop offset to the even neighbour.
    """
    width, height = image.size
    short, long = min(width, height), max(width, height)
    new_long = int(preprocessing.resize * long / short)
    target = (
        (preprocessing.resize, new_long) if width <= height else (new_long, preprocessing.resize)
    )
    if image.size != target:
        image = image.resize(target, _FILTERS[preprocessing.interpolation])
    size = preprocessing.size
    left, top = (round((side - size) / 2) for side in image.size)
    return image.crop((left, top, left + size, top + size))


def letterbox(image: Image.Image, preprocessing: Preprocessing) -> Image.Image:
    """Bring the longer side to `size` and put the image into the upper left of a square.

    The shorter side is rounded to the nearest pixel. What is free has the colour of the mean, which
    is 0 once it is normalised, as torchvision's detectors pad.
    """
    size, long = preprocessing.size, max(image.size)
    width, height = (max(1, (2 * side * size + long) // (2 * long)) for side in image.size)
    target = (width, height)
    if image.size != target:
        image = image.resize(target, _FILTERS[preprocessing.interpolation])
    square = Image.new("RGB", (size, size), tuple(round(255 * m) for m in preprocessing.mean))
    square.paste(image)
    return square


def pixels_of(image: Image.Image, preprocessing: Preprocessing) -> npt.NDArray[np.uint8]:
    """Return (size, size, 3) RGB. Closes the image. Raises as `to_rgb`."""
    with image:
        fit = letterbox if preprocessing.fit == "letterbox" else resize_and_crop
        return np.asarray(fit(to_rgb(image), preprocessing))
