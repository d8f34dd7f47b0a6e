"""What a training step behind gates costs over one at fixed bits."""

from functools import partial

import torch

from bench.speed.ratio import Ratio, Side
from bench.speed.timing import alternate
from bench.speed.training import stepping
from bench.speed.workplace import Measure, Workplace
from methods.bayesian_bits import BayesianBits, Gating
from methods.individual import Individual
from models.qat.gates import EVEN
from models.quantize.spec import MIXED, QuantSpec
from models.zoo import entry

_IMAGES = 64
_SECONDS = 30.0
_NETWORKS = ("resnet20",)
_AT_MOST = 2.5
_FIXED = QuantSpec(8, 8)
_LEARNED = QuantSpec(MIXED, MIXED)


class _Undecided(Gating):
    """All gates half open at each step: five residuals of every tensor are computed."""

    def _draw(self, generator: torch.Generator | None) -> None:
        super()._draw(generator)
        if generator is not None:
            for quantizer in self.quantizers:
                assert quantizer.draws is not None
                quantizer.draws.fill_(EVEN)


def of_network(name: str, place: Workplace) -> list[Ratio]:
    """Return the ratios of steps of Bayesian Bits to one at 8 bits: at their start, at worst."""
    size = entry(name).preprocessing.size
    images, network = place.noise(_IMAGES, size), place.network(name)
    targets = torch.arange(_IMAGES, device=images.device) % 10
    fixed, generator = Individual(), torch.Generator()
    at_8 = fixed.trainable(network, _FIXED, images, generator)
    sides = {"fixed": stepping(fixed.strategy(at_8, _FIXED, network), images, targets)}
    for side, cls, phi in (
        ("start", Gating, BayesianBits().gates),
        ("worst", _Undecided, (0.0,) * 4),
    ):
        method = BayesianBits(gates=phi)
        made = method.trainable(network, _LEARNED, images, generator)
        # Gates stay where they are, as the rest does.
        strategy = cls(made, method.bits, 0.0, method.mu, 1e-9)
        sides[side] = stepping(strategy, images, targets)
    seconds = alternate(sides, _SECONDS, place.device.device)
    what = f"{name}, {_IMAGES} images of {size} px"
    return [
        Ratio(
            f"Bayesian Bits step / fixed-bit step: {what}, {words}",
            Side("step behind gates", seconds[side]),
            Side("individual step at 8 bits", seconds["fixed"]),
            goal=_AT_MOST,
            details={"images": _IMAGES, "pixels": size, "gates": side},
        )
        for side, words in (("start", "gates as they start"), ("worst", "all gates undecided"))
    ]


MEASURES = [Measure(f"steps behind gates of {n}", partial(of_network, n)) for n in _NETWORKS]
