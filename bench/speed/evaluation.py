"""What fake quantization adds to an evaluation."""

from functools import partial

import torch

from bench.machine import batch_size
from bench.speed.ratio import Ratio, Side
from bench.speed.timing import alternate
from bench.speed.workplace import Measure, Workplace
from models.quantize.network import quantize
from models.quantize.spec import QuantSpec
from models.zoo import entry

_SECONDS = 8.0
_NETWORKS = ("resnet20", "efficientnet_lite0")
_SPEC = QuantSpec(8, 8)


def of_network(name: str, place: Workplace) -> list[Ratio]:
    """Return the time of a fake-quantized batch over that of a float one, of the same network."""
    size = entry(name).preprocessing.size
    images = place.noise(batch_size(place.runtime, place.device, size**2), size)
    network = place.network(name)
    quantized = quantize(network, _SPEC, images).network
    with torch.inference_mode():
        sides = {"float": partial(network, images), "quantized": partial(quantized, images)}
        seconds = alternate(sides, _SECONDS, place.device)
    return [
        Ratio(
            f"fake-quantized / float evaluation: {name}, {len(images)} images of {size} px",
            Side("a batch, W8A8, eager", seconds["quantized"]),
            Side("a batch in float32, eager", seconds["float"]),
            details={"images": len(images), "pixels": size},
        )
    ]


MEASURES = [Measure(f"evaluation of {n}", partial(of_network, n)) for n in _NETWORKS]
