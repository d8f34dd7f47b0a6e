"""What a training step at several bit-widths costs over single ones, and over those of the float
network; and the choice of teachers.
"""

import copy
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from bench.speed.ratio import Ratio, Side
from bench.speed.timing import alternate
from bench.speed.workplace import Measure, Workplace
from methods.adabits import AdaBits
from methods.coquant import Collaborative, CoQuant
from methods.individual import Individual
from methods.training.schedule import optimiser
from methods.training.strategy import Moment, Strategy
from models.qat.layers import quantized_weights
from models.qat.network import project
from models.quantize.spec import QuantSpec
from models.zoo import entry

_BITS = (8, 6, 4, 2)
_IMAGES = 64
_SECONDS = 40.0
_NETWORKS = ("resnet20",)
_MULTI_AT_MOST = 1.1
_CHOICE_AT_MOST = 1.03
_FLOAT_AT_MOST = 1.15


class _ToldTeachers(Collaborative):
    """CoQuant without the scores that choose its teachers."""

    def _look(self, predictions: dict[int, Tensor]) -> None:
        """Leave the scores of the step before as they are."""


def stepping(
    strategy: Strategy, images: Tensor, targets: Tensor, moment: Moment | None = None
) -> Callable[[], None]:
    """Return a whole training step: weights, passes, optimiser.

    moment: when; None for the middle of a training, where some blocks are borrowed.
    """
    at = moment or Moment(1, 5, torch.Generator().manual_seed(0))
    # A rate so small that the network stays what it is, and takes the same time, to the end.
    schedule = AdaBits().schedule
    update = optimiser(strategy.network, schedule)
    for group in update.param_groups:
        group["lr"] = 1e-9

    def step() -> None:
        update.zero_grad(set_to_none=True)
        with quantized_weights(strategy.network):
            strategy.step(images, targets, at)
        strategy.before_update(at)
        update.step()
        project(strategy.network)
        strategy.after_update(at)

    return step


def steps(network: nn.Module, images: Tensor, place: Workplace) -> dict[str, float]:
    """Return seconds of a step at each bit-width alone, at all of them, and of CoQuant's steps."""
    targets = torch.arange(len(images), device=images.device) % 10

    def trainable(bits: Sequence[int]) -> nn.Module:
        quant = QuantSpec(bits[0], bits[0])
        return AdaBits(bits=tuple(bits)).trainable(network, quant, images, torch.Generator())

    hard, constants = AdaBits().strategy_class, CoQuant().constants
    sides: dict[str, Strategy] = {
        **{str(bits): hard(trainable((bits,)), (bits,), 0.0) for bits in _BITS},
        "all": hard(trainable(_BITS), _BITS, 0.0),
        "coquant": Collaborative(trainable(_BITS), _BITS, 0.0, constants),
        "told": _ToldTeachers(trainable(_BITS), _BITS, 0.0, constants),
    }
    steps = {name: stepping(side, images, targets) for name, side in sides.items()}
    return alternate(steps, _SECONDS, place.device.device)


def of_network(name: str, place: Workplace) -> list[Ratio]:
    """Return the ratios of a multi-bit step to single steps, and of CoQuant's with its choice."""
    size = entry(name).preprocessing.size
    seconds = steps(place.network(name), place.noise(_IMAGES, size), place)
    what = f"{name}, {_IMAGES} images of {size} px, bits {', '.join(map(str, _BITS))}"
    details = {"images": _IMAGES, "pixels": size, "bits": list(_BITS)}
    return [
        Ratio(
            f"multi-bit training step / sum of single-bit steps: {what}",
            Side("AdaBits step", seconds["all"]),
            Side("steps at each bit-width alone", sum(seconds[str(bits)] for bits in _BITS)),
            goal=_MULTI_AT_MOST,
            details=details,
        ),
        Ratio(
            f"CoQuant step / the same with teachers told: {what}",
            Side("CoQuant step", seconds["coquant"]),
            Side("without the scores of teachers", seconds["told"]),
            goal=_CHOICE_AT_MOST,
            details=details,
        ),
    ]


def float_step(network: nn.Module, images: Tensor, targets: Tensor) -> Callable[[], None]:
    """Return a whole training step of `network`, as `stepping` does, with nothing quantized."""
    trained = copy.deepcopy(network).requires_grad_().train()
    loss, update = nn.CrossEntropyLoss(), optimiser(trained, AdaBits().schedule)
    for group in update.param_groups:
        group["lr"] = 1e-9

    def step() -> None:
        update.zero_grad(set_to_none=True)
        loss(trained(images), targets).backward()
        update.step()

    return step


def beside_float(name: str, place: Workplace) -> list[Ratio]:
    """Return the ratios of a step at W4A4 to one of the float network, and of four to four."""
    size = entry(name).preprocessing.size
    images, network = place.noise(_IMAGES, size), place.network(name)
    targets = torch.arange(_IMAGES, device=images.device) % 10
    alone, together = Individual(), AdaBits(bits=_BITS)
    at_4, at_8 = QuantSpec(4, 4), QuantSpec(8, 8)
    made = [
        method.trainable(network, quant, images, torch.Generator())
        for method, quant in ((alone, at_4), (together, at_8))
    ]
    sides = {
        "float": float_step(network, images, targets),
        "one": stepping(alone.strategy(made[0], at_4, network), images, targets),
        "several": stepping(together.strategy_class(made[1], _BITS, 0.0), images, targets),
    }
    seconds = alternate(sides, _SECONDS, place.device.device)
    what = f"{name}, {_IMAGES} images of {size} px"
    details = {"images": _IMAGES, "pixels": size}
    bits = ", ".join(map(str, _BITS))
    return [
        Ratio(
            f"training step at W4A4 / float training step: {what}",
            Side("individual step at 4 bits", seconds["one"]),
            Side("step of the float network", seconds["float"]),
            goal=_FLOAT_AT_MOST,
            details=details,
        ),
        Ratio(
            f"multi-bit training step / as many float steps: {what}, bits {bits}",
            Side("AdaBits step", seconds["several"]),
            Side(f"{len(_BITS)} steps of the float network", len(_BITS) * seconds["float"]),
            goal=_FLOAT_AT_MOST,
            details=details | {"bits": list(_BITS)},
        ),
    ]


MEASURES = [
    *(Measure(f"training steps of {n}", partial(of_network, n)) for n in _NETWORKS),
    *(Measure(f"training steps of {n} beside float", partial(beside_float, n)) for n in _NETWORKS),
]
