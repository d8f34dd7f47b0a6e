"""What a step of distillation costs over the bare network, and in bfloat16."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim import Adam

from bench.speed.ratio import Ratio, Side
from bench.speed.timing import alternate
from bench.speed.workplace import Measure, Workplace
from methods.distillation.matching import gaps_to, targets_of
from methods.distillation.optimisation import improve
from methods.zeroq import ZeroQ, statistics_loss
from models.zoo import entry

_IMAGES = 16
_SECONDS = 15.0
_NETWORKS = ("resnet20", "efficientnet_lite0", "resnet18", "mobilenetv2")
_AT_MOST = 1.15
_BF16_AT_LEAST = {"efficientnet_lite0": 1.5}


def steps(network: nn.Module, images: Tensor, place: Workplace) -> dict[str, float]:
    """Return seconds of the bare network and of ZeroQ's steps, in float32 and bfloat16.

    bare: a forward pass and the gradient of the image. step, half: the loss over all BatchNorm
    layers, its gradient and Adam's update.
    """
    targets = targets_of(network, images[:1], ZeroQ.epsilon)
    probe = images.clone().requires_grad_()

    def bare() -> None:
        torch.autograd.grad(network(probe).sum(), probe)

    def stepping(precision: torch.dtype) -> partial[float]:
        def loss(x: Tensor) -> Tensor:
            return statistics_loss(gaps_to(targets, network, x, precision=precision))

        distilled = images.clone().requires_grad_()
        # Steps so small that the images stay noise, and take the same time, to the end.
        return partial(improve, distilled, loss, Adam([distilled], lr=1e-4))

    sides: dict[str, Callable[[], object]] = {
        "bare": bare,
        "step": stepping(torch.float32),
        "half": stepping(torch.bfloat16),
    }
    return alternate(sides, _SECONDS, place.device.device)


def of_network(name: str, place: Workplace) -> list[Ratio]:
    """Return the ratio of a step to the bare network, and of a step to one in bfloat16."""
    size = entry(name).preprocessing.size
    seconds = steps(place.network(name), place.noise(_IMAGES, size), place)
    what = f"{name}, {_IMAGES} images of {size} px"
    step = Side("ZeroQ step", seconds["step"])
    details = {"images": _IMAGES, "pixels": size}
    return [
        Ratio(
            f"distillation step / bare network: {what}",
            step,
            Side("forward pass and gradient of the image", seconds["bare"]),
            goal=_AT_MOST,
            details=details,
        ),
        Ratio(
            f"float32 step / bfloat16 step: {what}",
            step,
            Side("ZeroQ step in bfloat16", seconds["half"]),
            goal=_BF16_AT_LEAST.get(name),
            bound="at least",
            details=details,
        ),
    ]


MEASURES = [Measure(f"distillation steps of {n}", partial(of_network, n)) for n in _NETWORKS]
