"""DSG-QAT (Qin et al.): GDFQ whose generator has slack, and is to make diverse images."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from methods.generation.base import GeneratedTraining
from methods.generation.statistics import StatisticsLoss, slack


@dataclass(frozen=True)
class DSGQat(GeneratedTraining):
    """GDFQ with slack around the BatchNorm statistics, enhanced layers and a term of diversity.

    variant: besides what it is in `gdfq`. `paper`: of each image's gaps of mean and deviation what
        exceeds a margin counts, and image j counts layer j, modulo their number, twice. `release`:
        the square of |gap| - margin, of the batch's mean and variance, so that the margin is a
        target and not a slack; in layer l channel number l counts twice. The journal's text was not
        at hand: the form of `paper` is that of the PTQ paper (CVPR 2021).
    images: of N(0, 1), that the margins are from. The release reads them from files that it lacks.
    slack: whether there are margins. enhance: whether images, or channels, weigh a layer more.
    percentile: of the gaps of N(0, 1) images that is the margin of a layer, 0..1.
    diversity_weight: of the mean squared difference between the eigenvalues of the cosine
        similarities of the images and those of Gaussian images, divided by the number of layers.
        The release's alignment of eigenvectors, whose signs are arbitrary, is left out.
    """

    name = "dsg_qat"
    images: int = 1024
    slack: bool = True
    enhance: bool = True
    percentile: float = 0.9
    diversity_weight: float = 1e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.percentile <= 1:
            raise ValueError(f"percentile={self.percentile}; give a number from 0 to 1")
        if self.diversity_weight < 0:
            raise ValueError(f"diversity_weight={self.diversity_weight}; give 0 or more")

    @property
    def diversity(self) -> float:
        return self.diversity_weight

    def statistics_loss(self, teacher: nn.Module, images: Tensor) -> StatisticsLoss:
        percentile = self.percentile if self.slack else None
        return slack(teacher, images, self.variant, percentile, self.enhance)

    @property
    def strategy_options(self) -> dict[str, Any]:
        own = ("variant", "slack", "enhance", "percentile")
        return super().strategy_options | {name: getattr(self, name) for name in own}
