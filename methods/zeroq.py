"""ZeroQ (Cai et al., CVPR 2020): images distilled from BatchNorm statistics."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from methods.base import Calibration, Context, Method
from methods.distillation.batchnorm import NO_STATISTICS, batchnorms
from methods.distillation.matching import Gaps, gaps_to, targets_of
from methods.distillation.optimisation import PlateauSchedule, optimise

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
        else is the release's: the paper does not state it.
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

    variant: Literal["release", "paper"] = "release"
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
        return (integers - 127.5) / _RELEASE_DIVISOR

    def distill(self, network: nn.Module, start: Tensor, context: Context) -> Calibration:
        """Optimise `start` (N, C, H, W) and return the images after the last step."""
        image = start[:1].to(context.device, memory_format=context.memory_format)
        targets = targets_of(network, image, self.epsilon)
        schedule = PlateauSchedule(
            self.iterations, self.learning_rate, self.min_learning_rate, self.patience
        )

        def loss(images: Tensor) -> Tensor:
            return statistics_loss(gaps_to(targets, network, images, precision=context.precision))

        return optimise(start, loss, schedule, context, self.clip)


def statistics_loss(gaps: Gaps) -> Tensor:
    """Squared distance of each image's statistics to the running ones, summed over layers.

    sum_l (||mu_l - mu(x)||^2 + ||sigma_l - sigma(x)||^2) / N over BatchNorm inputs, plus the same
    for the image with mean 0 and deviation 1. The sum runs over channels without weights (ZeroQ
    release, distill_data.py, getDistilData).
    """
    return (gaps.mean.square().sum() + gaps.deviation.square().sum()) / len(gaps.mean)
