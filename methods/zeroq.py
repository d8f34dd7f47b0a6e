"""ZeroQ (Cai et al., CVPR 2020): images distilled from BatchNorm statistics."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from methods.base import Calibration, Context, Method
from methods.distillation.batchnorm import NO_STATISTICS, batchnorms
from methods.distillation.matching import Gaps, Targets, gaps_to, targets_of
from methods.distillation.optimisation import PlateauSchedule, optimise
from methods.training.fresh import drawn_anew

# The release divides centred uniform integers by the variance, not by the deviation, of U{0..255}
# (distill_data.py), so its "Gaussian" start is nearly a zero image.
_RELEASE_DIVISOR = 5418.75


@dataclass(frozen=True)
class ZeroQ(Method):
    """Optimise images until the statistics at every BatchNorm input equal its running ones.

    Mean and standard deviation are matched image by image, not over the batch; the image itself
    is matched to mean 0 and deviation 1.

    variant: `release` starts as the released code does, from uniform noise of deviation 0.0136
        with one value of 0..254 a pixel; `paper` starts from N(0, 1), as the paper says. All
        else is the release's: the paper does not state it. `detection` is what the release does
        for detectors (detection/tools/distill_data.py): the squares of a layer are divided by its
        channels, and the learning rate stays. That file never loads the checkpoint, so that its
        images are fitted to an untrained network, whose statistics are 0 and 1:
        `detection_untrained` does that too, `detection` has the checkpoint.
    epsilon: added to both variances before the root.
    clip: whether images are kept in the range of pixels at every step. Neither the paper nor the
        release does.
    patience: steps without improvement after which the learning rate is divided by 10.
    """

    name = "zeroq"
    cached = True
    heeds_precision = True
    tasks = ("classification", "detection")
    bibtex = """@inproceedings{cai2020zeroq,
  title = {{ZeroQ}: A Novel Zero Shot Quantization Framework},
  author = {Cai, Yaohui and Yao, Zhewei and Dong, Zhen and Gholami, Amir and Mahoney, Michael W.
            and Keutzer, Kurt},
  booktitle = {CVPR},
  year = {2020}
}"""

    variant: Literal["release", "paper", "detection", "detection_untrained"] = "release"
    iterations: int = 500
    learning_rate: float = 0.5
    min_learning_rate: float = 1e-4
    patience: int = 100
    epsilon: float = 1e-6
    clip: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.iterations < 1:
            raise ValueError(f"iterations={self.iterations}; give at least 1")

    def not_applicable(self, network: nn.Module) -> str | None:
        return None if batchnorms(network) else NO_STATISTICS

    def calibrate(self, network: nn.Module, context: Context) -> Calibration:
        start = self.start((self.images, *context.input_shape), context.generator("synthesis"))
        return self.distill(network, start, context)

    def start(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Return the noise of the given shape that the variant starts from."""
        if self.variant == "paper":
            return torch.randn(shape, generator=generator)
        integers = torch.randint(0, 255, shape, generator=generator).float()
        return (integers - (128 if self._of_detectors else 127.5)) / _RELEASE_DIVISOR

    def distill(self, network: nn.Module, start: Tensor, context: Context) -> Calibration:
        """Optimise `start` (N, C, H, W) and return the images after the last step."""
        image = start[:1].to(context.device, memory_format=context.memory_format)
        untrained = self.variant == "detection_untrained"
        if untrained:
            network = drawn_anew(network, context.generator("untrained"))
            network = network.to(memory_format=context.memory_format)
        targets = targets_of(network, image, self.epsilon, trained=not untrained)
        patience = self.iterations if self._of_detectors else self.patience
        schedule = PlateauSchedule(
            self.iterations, self.learning_rate, self.min_learning_rate, patience
        )
        shares = shares_of_layers(targets) if self._of_detectors else None

        def loss(images: Tensor) -> Tensor:
            gaps = gaps_to(targets, network, images, precision=context.precision)
            return statistics_loss(gaps, shares)

        return optimise(start, loss, schedule, context, self.clip)

    @property
    def _of_detectors(self) -> bool:
        return self.variant.startswith("detection")


def shares_of_layers(targets: Targets) -> Tensor:
    """Return what the square of each channel counts, (K,), where those of a layer count as one.

    Those of the image count one each: the release divides by the first axis of what is matched,
    which for the image is that of the batch.
    """
    of_layers = [1.0, *(1 / channels for channels in targets.channels[1:])]
    return targets.per_channel(torch.tensor(of_layers, device=targets.mean.device))


def statistics_loss(gaps: Gaps, shares: Tensor | None = None) -> Tensor:
    """Squared distance of each image's statistics to the running ones, summed over layers.

    sum_l (||mu_l - mu(x)||^2 + ||sigma_l - sigma(x)||^2) / N over BatchNorm inputs, plus the same
    for the image with mean 0 and deviation 1. The sum runs over channels without weights (ZeroQ
    release, distill_data.py, getDistilData), or with `shares` (K,) as such.
    """
    if shares is not None:
        squares = gaps.mean.square() + gaps.deviation.square()
        return (squares * shares).sum() / len(gaps.mean)
    return (gaps.mean.square().sum() + gaps.deviation.square().sum()) / len(gaps.mean)
