"""What a GPU makes of the papers' networks, against what its arithmetic and memory allow.

Random weights suffice: the time does not depend on them.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bench.cells.seeds import torch_generator
from bench.measure.compilation import calls, compiled, multiplications
from bench.speed.ratio import Ratio, Side
from bench.speed.timing import alternate
from bench.speed.workplace import Measure, Workplace
from methods.base import Context
from methods.zeroq import ZeroQ
from models.quantize.network import quantize
from models.quantize.spec import QuantSpec
from models.zoo import entry

_NETWORKS = (
    "resnet18",
    "resnet50",
    "resnet152",
    "mobilenetv2",
    "shufflenet",
    "squeezenext",
    "inceptionv3",
)
_DISTILLED = "resnet50"
_METHOD = ZeroQ(images=64, iterations=500)
_GOAL_SECONDS = 10.0
_SPEC = QuantSpec(4, 4)
_IMAGES = 256
_SECONDS = 6.0
_MATRIX = 8192  # rows and columns
_BYTES = 2**31  # of what is copied


class Chip(NamedTuple):
    """What the device reaches at best: float32 without TF32, and reading plus writing."""

    operations_per_second: float
    bytes_per_second: float


@cache
def measured_chip(device: torch.device) -> Chip:
    """Measure a matrix product and a copy, both large, once a process."""
    one = torch.ones((_MATRIX, _MATRIX), device=device)
    large = torch.zeros(_BYTES // 4, device=device)
    other = torch.empty_like(large)
    sides: dict[str, Callable[[], object]] = {
        "product": lambda: one @ one,
        "copy": lambda: other.copy_(large),
    }
    seconds = alternate(sides, _SECONDS, device)
    return Chip(2 * _MATRIX**3 / seconds["product"], 2 * _BYTES / seconds["copy"])


def least_seconds(network: nn.Module, batch: Tensor, chip: Chip) -> float:
    """Return the time below which the layers with weights cannot pass `batch` on that chip.

    Each takes as long as its arithmetic, or as moving its input, weights and output once.
    """
    return sum(
        max(
            2 * call.multiplications / chip.operations_per_second,
            4 * call.numbers / chip.bytes_per_second,
        )
        for call in calls(network, batch)
    )


def of_synthesis(place: Workplace) -> list[Ratio]:
    """Return the seconds to distil images with ZeroQ and calibrate with them, over the goal."""
    network = place.network(_DISTILLED)
    size = entry(_DISTILLED).preprocessing.size
    context = Context(
        input_shape=(3, size, size),
        generator=partial(torch_generator, 0),
        real_images=_no_images,
        device=place.device.device,
        pixel_range=entry(_DISTILLED).preprocessing.pixel_range(place.device.device),
        memory_format=place.device.memory_format,
    )

    def whole() -> None:
        images = _METHOD.calibrate(network, context).images.to(place.device.device)
        quantize(network, _SPEC, images.contiguous(memory_format=place.device.memory_format))

    # The shortest of some: the first one also chooses kernels.
    seconds = alternate({"whole": whole}, 0.0, place.device.device)["whole"]
    steps = f"{_METHOD.images} images, {_METHOD.iterations} steps"
    return [
        Ratio(
            f"synthesis and calibration / {_GOAL_SECONDS:g} s: {_DISTILLED}, {steps}",
            Side("ZeroQ and one calibration pass", seconds),
            Side("aimed for; the paper says under 30 s on eight V100", _GOAL_SECONDS),
            goal=1.0,
            details={"images": _METHOD.images, "iterations": _METHOD.iterations},
        )
    ]


def of_evaluation(name: str, place: Workplace) -> list[Ratio]:
    """Return float and W4A4 evaluation, eager and compiled, over what the chip allows."""
    size = entry(name).preprocessing.size
    images = place.noise(_IMAGES, size)
    network = place.network(name)
    quantized = quantize(network, _SPEC, images[:16]).network
    chip = measured_chip(place.device.device)
    with torch.inference_mode():
        sides = {
            "float32, eager": partial(network, images),
            "W4A4, eager": partial(quantized, images),
            "float32, compiled": partial(compiled(network), images),
            "W4A4, compiled": partial(compiled(quantized), images),
        }
        seconds = alternate(sides, _SECONDS, place.device.device)
        least = Side("what arithmetic and bandwidth allow", least_seconds(network, images, chip))
    details = {"images": _IMAGES, "pixels": size, **chip._asdict()}
    details["multiplications"] = multiplications(network, images[:1])
    return [
        Ratio(
            f"evaluation / what the chip allows, {what}: {name}, {_IMAGES} images of {size} px",
            Side(f"a batch, {what}", seconds[what]),
            least,
            details=details
            | {
                "images_per_second": _IMAGES / seconds[what],
                "fraction_of_the_chip": least.seconds / seconds[what],
            },
        )
        for what in sides
    ]


def _no_images(count: int) -> Tensor:
    raise AssertionError("ZeroQ is data-free")


MEASURES = [
    Measure(f"synthesis for {_DISTILLED}", of_synthesis),
    *(Measure(f"evaluation of {name}", partial(of_evaluation, name)) for name in _NETWORKS),
]
