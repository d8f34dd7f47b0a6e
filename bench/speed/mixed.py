"""What a training step that learns bits costs over one at fixed bits."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from bench.speed.ratio import Ratio, Side
from bench.speed.timing import alternate
from bench.speed.training import stepping
from bench.speed.workplace import Measure, Workplace
from methods.individual import Individual
from methods.mixed_step_range import MixedStepRange
from methods.training.base import TrainedMethod
from methods.training.strategy import Moment
from models.quantize.spec import MIXED, QuantSpec
from models.zoo import entry

_IMAGES = 64
_SECONDS = 30.0
_NETWORKS = ("resnet20",)
_AT_MOST = 1.25
_FIXED = QuantSpec(4, 4)
_LEARNED = QuantSpec(MIXED, MIXED, budget=(("mean_activation_bits", 3.0), ("mean_bits", 3.0)))


def _stepping(
    network: nn.Module, method: TrainedMethod, quant: QuantSpec, images: Tensor
) -> Callable[[], None]:
    """Return a whole training step of `method`, in the phase in which it learns bits."""
    made = method.trainable(network, quant, images, torch.Generator())
    strategy = method.strategy(made, quant, network)
    phase = len(method.schedules) // 2
    strategy.begin(phase)
    targets = torch.arange(len(images), device=images.device) % 10
    # One of those at which steps and ranges learn.
    return stepping(strategy, images, targets, Moment(0, 2, torch.Generator(), phase))


def of_network(name: str, place: Workplace) -> list[Ratio]:
    """Return the ratios of steps that learn bits to one at 4 bits, by how many grids there are."""
    size = entry(name).preprocessing.size
    images, network = place.noise(_IMAGES, size), place.network(name)
    fixed = Individual()
    learning = MixedStepRange(update_period=1, schedule=fixed.schedule)
    kinds = {kind: replace(learning.qat, granularity=kind) for kind in ("tensor", "channel")}
    sides = {"fixed": _stepping(network, fixed, _FIXED, images)} | {
        kind: _stepping(network, replace(learning, qat=qat), _LEARNED, images)
        for kind, qat in kinds.items()
    }
    seconds = alternate(sides, _SECONDS, place.device.device)
    what = f"{name}, {_IMAGES} images of {size} px"
    return [
        Ratio(
            f"mixed_step_range step / fixed-bit step: {what}, one grid a {kind}",
            Side("step that learns bits", seconds[kind]),
            Side("individual step at 4 bits", seconds["fixed"]),
            goal=_AT_MOST,
            details={"images": _IMAGES, "pixels": size, "granularity": kind},
        )
        for kind in kinds
    ]


MEASURES = [Measure(f"steps that learn bits of {n}", partial(of_network, n)) for n in _NETWORKS]
