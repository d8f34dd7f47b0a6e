"""What a step on generated images costs over the passes that it cannot do without."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bench.speed.ratio import Ratio, Side
from bench.speed.timing import alternate
from bench.speed.training import stepping
from bench.speed.workplace import Measure, Workplace
from methods.gdfq import GDFQ
from methods.generation.strategy import Generative
from methods.training.strategy import Moment
from models.qat.layers import quantized_weights
from models.quantize.spec import QuantSpec
from models.zoo import entry

_IMAGES = 64
_SECONDS = 40.0
_NETWORKS = ("resnet20",)
_BITS = 4
_STEPS = 600
_AT_MOST = 1.2


def _bare(strategy: Generative, teacher: nn.Module) -> Callable[[], None]:
    """Return the passes of a step, forward and backward, with a cross-entropy and nothing else."""
    latent, classes = strategy.constants.latent, strategy.classes
    device = next(teacher.parameters()).device
    noise = torch.randn(_IMAGES, latent, generator=torch.Generator().manual_seed(0)).to(device)
    labels = torch.arange(_IMAGES, device=device) % classes
    made_by = list(strategy.generator.parameters())
    learnt = [parameter for parameter in strategy.network.parameters() if parameter.requires_grad]

    def passes() -> None:
        made = strategy.generator(noise, labels).contiguous(memory_format=torch.channels_last)
        torch.autograd.grad(cross_entropy(teacher(made), labels), made_by)
        with quantized_weights(strategy.network):
            loss = cross_entropy(strategy.network(made.detach()), labels)
            torch.autograd.grad(loss, learnt, allow_unused=True)

    return passes


def _steps(network: nn.Module, images: Tensor, place: Workplace) -> dict[str, float]:
    """Return seconds of a step of GDFQ, in which both learn, and of the passes in it."""
    # Of as many epochs that one in their middle is behind warm-up and the learning of ranges.
    method = GDFQ(warmup_epochs=1, range_epochs=1)
    quant = QuantSpec(_BITS, _BITS)
    student = method.trainable(network, quant, images, torch.Generator().manual_seed(0))
    strategy = method.strategy(student, quant, network)
    assert isinstance(strategy, Generative)
    strategy.examples(images, torch.Generator().manual_seed(0))
    targets = torch.zeros(_IMAGES, dtype=torch.int64, device=images.device)
    moment = Moment(5 * method.steps, 10 * method.steps, torch.Generator().manual_seed(0))
    sides = {
        "step": stepping(strategy, images, targets, moment),
        "bare": _bare(strategy, strategy.teacher),
    }
    return alternate(sides, _SECONDS, place.device.device)


def of_network(name: str, place: Workplace) -> list[Ratio]:
    """Return the ratio of a whole step of GDFQ to the passes of generator, teacher and student."""
    size = entry(name).preprocessing.size
    seconds = _steps(place.network(name), place.noise(_IMAGES, size), place)
    details = {"images": _IMAGES, "pixels": size, "bits": _BITS}
    return [
        Ratio(
            f"GDFQ step / its passes forward and backward: {name}, {_IMAGES} images of {size} px",
            Side("step in which generator and student learn", seconds["step"]),
            Side("passes of generator, teacher and student alone", seconds["bare"]),
            goal=_AT_MOST,
            details=details | {"seconds_of_600_steps": round(_STEPS * seconds["step"])},
        )
    ]


MEASURES = [Measure(f"steps on generated images of {n}", partial(of_network, n)) for n in _NETWORKS]
