"""What fake quantization adds to an evaluation, eager and compiled, and what the images do."""

import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch

from bench.data import ImageSet, Listing
from bench.data.feed import feed
from bench.measure.compilation import compiled
from bench.speed.ratio import Ratio, Side
from bench.speed.timing import alternate
from bench.speed.workplace import Measure, Workplace
from models.quantize.fuse import fuse_relus
from models.quantize.network import quantize
from models.quantize.spec import QuantSpec
from models.zoo import entry

_SECONDS = 12.0
_NETWORKS = ("resnet20", "resnet18", "mobilenetv2")
_LOADED = "resnet18"
_LOADED_IMAGES = 200
_SPEC = QuantSpec(8, 8)
_COMPILED_AT_MOST = 1.05
_EAGER_AT_MOST = 1.3
_LOADING_AT_MOST = 0.05


def of_network(name: str, place: Workplace) -> list[Ratio]:
    """Return the time of a fake-quantized batch over that of a float one, of the same network.

    Both compiled, and both eager; with them how many predictions of the quantized network are the
    same compiled and eager.
    """
    size = entry(name).preprocessing.size
    images = place.noise(place.device.images_at_once(size**2), size)
    network = place.network(name)
    quantized = quantize(network, _SPEC, images).network
    fuse_relus(quantized, images[:1])
    with torch.inference_mode():
        sides = {
            "float": partial(network, images),
            "quantized": partial(quantized, images),
            "float, compiled": partial(compiled(network), images),
            "quantized, compiled": partial(compiled(quantized), images),
        }
        eager, fast = (sides[side]() for side in ("quantized", "quantized, compiled"))
        seconds = alternate(sides, _SECONDS, place.device.device)
    details = {"images": len(images), "pixels": size}
    agreement = {
        "same_predictions": int((eager.argmax(1) == fast.argmax(1)).sum()),
        "largest_difference": float((eager - fast).abs().max()),
        "largest_logit": float(eager.abs().max()),
    }
    what = f"{name}, {len(images)} images of {size} px"
    return [
        Ratio(
            f"fake-quantized / float evaluation, compiled: {what}",
            Side("a batch, W8A8, compiled", seconds["quantized, compiled"]),
            Side("a batch in float32, compiled", seconds["float, compiled"]),
            goal=_COMPILED_AT_MOST,
            details=details | agreement,
        ),
        Ratio(
            f"fake-quantized / float evaluation, eager: {what}",
            Side("a batch, W8A8, eager", seconds["quantized"]),
            Side("a batch in float32, eager", seconds["float"]),
            goal=_EAGER_AT_MOST,
            details=details,
        ),
        Ratio(
            f"fake-quantized compiled / float eager evaluation: {what}",
            Side("a batch, W8A8, compiled", seconds["quantized, compiled"]),
            Side("a batch in float32, eager", seconds["float"]),
            details=details,
        ),
    ]


def of_loading(place: Workplace) -> list[Ratio]:
    """Return the time to bring images to the device over that of a float evaluation of them."""
    size = entry(_LOADED).preprocessing.size
    at_once = place.device.images_at_once(size**2)
    network = place.network(_LOADED)
    with tempfile.TemporaryDirectory(dir=place.outputs) as folder:
        images = synthetic(_LOADED_IMAGES, size, Path(folder))
        pixels = feed(images, place.device.device, place.resources.resident).pixels
        normalise = entry(_LOADED).preprocessing.normalise
        starts = range(0, len(images), at_once)
        stops = [min(start + at_once, len(images)) for start in starts]
        batches = list(zip(starts, stops, strict=True))

        def load() -> None:
            for start, stop in batches:
                pixels(start, stop)

        def evaluate() -> None:
            for start, stop in batches:
                network(normalise(pixels(start, stop)))

        with torch.inference_mode():
            seconds = alternate({"load": load, "evaluate": evaluate}, _SECONDS, place.device.device)
    return [
        Ratio(
            f"loading / evaluation in float32: {_LOADED}, {_LOADED_IMAGES} images of {size} px",
            Side("images from the decoded cache to the device", seconds["load"]),
            Side("the same, normalised and through the network", seconds["evaluate"]),
            goal=_LOADING_AT_MOST,
            details={"images": _LOADED_IMAGES, "pixels": size},
        )
    ]


def synthetic(count: int, size: int, folder: Path) -> ImageSet:
    """Return `count` images of `size` pixels a side from a file as a decoded set has them.

    Every pixel is 0, and the file takes no room on most file systems.
    """
    path = folder / "images.npy"
    shape = (count, size, size, 3)
    np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape).flush()
    names = tuple(f"{index}" for index in range(count))
    listing = Listing("synthetic", "eval", names, np.zeros(count, np.int64), 1, "none", "none")
    return ImageSet(listing, np.load(path, mmap_mode="r").transpose(0, 3, 1, 2))


MEASURES = [
    *(Measure(f"evaluation of {n}", partial(of_network, n)) for n in _NETWORKS),
    Measure(f"loading of images for {_LOADED}", of_loading),
]
