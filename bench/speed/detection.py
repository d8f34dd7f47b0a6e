"""What fake quantization adds to the evaluation of a detector, the selection of boxes included."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from bench.measure.compilation import compiled
from bench.speed.ratio import Ratio, Side
from bench.speed.timing import alternate
from bench.speed.workplace import Measure, Workplace
from models.detection import detections_of, rows_of
from models.quantize.fuse import fuse_relus
from models.quantize.network import quantize
from models.quantize.spec import QuantSpec
from models.zoo import entry

_SECONDS = 12.0
_DETECTOR = "fpn_detector"
_SPEC = QuantSpec(8, 8, sites="all")
_AT_MOST = 1.1


def of_detector(place: Workplace) -> list[Ratio]:
    """Return the time of a fake-quantized batch over that of a float one, to its boxes.

    Both compiled, and both eager; boxes are made of the outputs uncompiled.
    """
    size = entry(_DETECTOR).preprocessing.size
    images = place.noise(place.device.images_at_once(size**2), size)
    network = rows_of(place.network(_DETECTOR), size).eval()
    quantized = quantize(network, _SPEC, images).network
    fuse_relus(quantized, images[:1])

    def found(run: Callable[[Tensor], Tensor], detector: nn.Module, batch: Tensor) -> None:
        detections_of(detector, run(batch))

    with torch.inference_mode():
        sides = {
            "float, eager": partial(found, network, network, images),
            "quantized, eager": partial(found, quantized, quantized, images),
            "float, compiled": partial(found, compiled(network), network, images),
            "quantized, compiled": partial(found, compiled(quantized), quantized, images),
        }
        seconds = alternate(sides, _SECONDS, place.device.device)
    details = {"images": len(images), "pixels": size}
    what = f"{_DETECTOR}, {len(images)} images of {size} px"
    return [
        Ratio(
            f"fake-quantized / float detection, {how}: {what}",
            Side(f"a batch to its boxes, W8A8, {how}", seconds[f"quantized, {how}"]),
            Side(f"a batch to its boxes in float32, {how}", seconds[f"float, {how}"]),
            goal=_AT_MOST,
            details=details,
        )
        for how in ("compiled", "eager")
    ]


MEASURES = [Measure(f"detection by {_DETECTOR}", of_detector)]
