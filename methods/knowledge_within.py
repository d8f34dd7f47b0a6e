"""The Knowledge Within (Haroush et al., CVPR 2020): images inverted from a network."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from methods.base import Calibration, Context, Method
from methods.distillation.batchnorm import NO_STATISTICS, batchnorms
from methods.distillation.classes import fitting, outputs_of
from methods.distillation.divergence import gaussian_divergence, mean_over_layers
from methods.distillation.matching import batch_gaps, statistics_of, targets_of
from methods.distillation.optimisation import CosineSchedule, optimise
from methods.distillation.priors import unsmooth


@dataclass(frozen=True)
class KnowledgeWithin(Method):
    """Images that a network takes for drawn classes, smooth, with its BatchNorm statistics.

    The sum of three terms is made small: the cross-entropy of the network with classes drawn at
    random; how far images are from what a Gaussian filter makes of them; and the divergence
    KL(batch || running) between the Gaussians of the batch's mean and variance and of the running
    ones, the mean over the channels of a BatchNorm and then over them. All images are one batch.

    No code is public, and the paper was not at hand. That the terms are these three is known; how
    they are weighed, the direction of the divergence and how it is averaged, the filter, the start
    (N(0, 1)), Adam with a rate along a cosine, how many steps, and that images are kept in the
    range of pixels are choices made here.

    images: beside each other in one batch.
    classes: that are drawn, None for as many as the network has outputs.
    label_weight, smoothness_weight, statistics_weight: of the terms; 0 leaves one out.
    smoothing: deviation, in pixels, of the 3 x 3 Gaussian filter.
    epsilon: added to both variances before the root.
    clip: whether images are kept in the range of pixels at every step.
    """

    name = "knowledge_within"
    cached = True
    heeds_precision = True
    bibtex = """@inproceedings{haroush2020knowledge,
  title = {The Knowledge Within: Methods for Data-Free Model Compression},
  author = {Haroush, Matan and Hubara, Itay and Hoffer, Elad and Soudry, Daniel},
  booktitle = {CVPR},
  year = {2020}
}"""

    classes: int | None = None
    iterations: int = 200
    learning_rate: float = 0.1
    min_learning_rate: float = 1e-4
    label_weight: float = 1.0
    smoothness_weight: float = 1.0
    statistics_weight: float = 1.0
    smoothing: float = 1.0
    epsilon: float = 1e-6
    clip: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.iterations < 1:
            raise ValueError(f"iterations={self.iterations}; give at least 1")
        for name in ("learning_rate", "smoothing", "epsilon"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)}; give more than 0")
        weights = ("label_weight", "smoothness_weight", "statistics_weight")
        for name in weights:
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)}; give 0 or more")
        if not any(getattr(self, name) for name in weights):
            raise ValueError("all three weights are 0; leave one of them above")

    def not_applicable(self, network: nn.Module) -> str | None:
        return None if batchnorms(network) else NO_STATISTICS

    def calibrate(self, network: nn.Module, context: Context) -> Calibration:
        shape = (self.images, *context.input_shape)
        start = torch.randn(shape, generator=context.generator("synthesis"))
        image = start[:1].to(context.device, memory_format=context.memory_format)
        targets = targets_of(network, image, self.epsilon)
        outputs = outputs_of(network, image)
        classes = fitting(outputs, self.classes, "use method=zeroq, which needs none")
        drawn = torch.randint(classes, (self.images,), generator=context.generator("labels"))
        labels = drawn.to(context.device)

        def loss(images: Tensor) -> Tensor:
            wanted = bool(self.label_weight)
            found = statistics_of(targets, network, images, wanted, context.precision)
            apart = gaussian_divergence(targets, batch_gaps(targets, found))
            total = self.statistics_weight * mean_over_layers(targets, apart)
            if found.output is not None:
                total = total + self.label_weight * cross_entropy(found.output, labels)
            if self.smoothness_weight:
                total = total + self.smoothness_weight * unsmooth(images, self.smoothing)
            return total

        rates = CosineSchedule(self.iterations, self.learning_rate, self.min_learning_rate)
        return optimise(start, loss, rates, context, self.clip)
