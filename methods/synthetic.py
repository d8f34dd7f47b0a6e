"""Synthetic images: BatchNorm statistics matched by images that stay what an image can be."""

from dataclasses import asdict, dataclass, fields
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from methods.base import Calibration, Context, Method
from methods.distillation.batchnorm import NO_STATISTICS, batchnorms
from methods.distillation.matching import (
    Gaps,
    Targets,
    batch_gaps,
    image_gaps,
    statistics_of,
    targets_of,
)
from methods.distillation.noise import diverse, pink
from methods.distillation.optimisation import CosineSchedule, PlateauSchedule, optimise
from methods.distillation.outputs import inverse_spread, negative_spread
from methods.distillation.priors import roughness
from methods.distillation.views import View

_MCT_WHITE = 255
"""MCT normalises 0..255 as if it were 0..1: what it takes for white is 255 times as bright."""


@dataclass(frozen=True)
class Recipe:
    """The parts of a variant; as they are here, those of `default`."""

    iterations: int = 200
    start: Literal["gaussian", "diverse", "pink"] = "gaussian"
    statistics: Literal["image", "batch", "both"] = "image"
    weighting: Literal["channel", "layer", "deviation"] = "channel"
    image_weight: float = 1.0
    clip: bool | Literal["seen", "black"] = True
    smoothing: float = 1.25
    margin: int = 32
    flip: bool = True
    roughness_weight: float = 0.0
    output: Literal["spread", "inverse_spread", "label"] = "spread"
    output_weight: float = 0.0
    optimizer: Literal["adam", "radam"] = "adam"
    learning_rate: float = 0.1
    schedule: Literal["plateau", "halving", "cosine"] = "cosine"


RECIPES = {
    "default": Recipe(),
    "mct": Recipe(
        iterations=500,
        statistics="batch",
        weighting="layer",
        clip="black",
        smoothing=1.25,
        margin=32,
        flip=True,
        output_weight=1e-5,
        optimizer="radam",
        learning_rate=16.0,
        schedule="halving",
    ),
}


@dataclass(frozen=True)
class Synthetic(Method):
    """Images whose BatchNorm statistics are the running ones, and that are possible as images.

    ZeroQ's idea with what later generators added, each part a parameter that can be off.

    variant: `default` was chosen by a search on EfficientNet-Lite0 (docs/results.md). `mct` is the
        generator of Sony's Model Compression Toolkit 2.6.1 (data_generation/pytorch) with its
        defaults, but for two things: all images are one batch, where the release takes 32 at a
        time and holds the statistics of the others fixed, and its smoothing takes pixels beyond
        the edge for 0.
    start: `gaussian` is N(0, 1); `diverse` gives each image and colour a mean and deviation of its
        own (MCT); `pink` has the spectrum of photographs.
    statistics: whether mean and deviation are matched by each image (ZeroQ), by the pixels of all
        images together (MCT), or by both, whose losses are added.
    weighting: of squared gaps. `channel`: all count alike, summed (ZeroQ). `layer`: all layers
        count alike, mean over channels and then over layers (MCT). `deviation`: likewise, with
        gaps in units of the running deviation.
    image_weight: of the image's own statistics, which are to be 0 and 1, beside a layer's. MCT's
        "first layer multiplier" is 10.
    clip: true keeps images in the range of pixels at every step (projection). `seen` clips what the
        network sees of them, behind the smoothing, and takes the gradient of the value before.
        `black` is what MCT does: likewise, but nothing is brought below white.
    smoothing: deviation, in pixels, of a 3 x 3 Gaussian filter between images and network; 0: none.
    margin: pixels by which images are larger than what the network sees of them, at random.
    flip: whether it sees a mirror image in half of the steps.
    roughness_weight: of the mean squared difference of neighbours.
    output: the term for the network's output, of weight `output_weight`, 0 for none. `spread`: the
        mean over images of min - max (MCT); `inverse_spread`: 1 / the mean of max - min (MCT);
        `label`: the cross-entropy with labels drawn at random.
    schedule: of the learning rate. `plateau`: divided by 10 after `patience` steps without
        improvement (ZeroQ); `halving`: by 2, and the least loss forgotten (MCT); `cosine`.
    patience: None is a fifth of all steps for `plateau`, else a 50th.
    epsilon: added to both variances before the root; MCT adds it to those of images alone.
    """

    name = "synthetic"
    cached = True
    heeds_precision = True

    # None is what the variant has; __post_init__ leaves none of them.
    variant: Literal["default", "mct"] = "default"
    iterations: int | None = None
    start: Literal["gaussian", "diverse", "pink"] | None = None
    statistics: Literal["image", "batch", "both"] | None = None
    weighting: Literal["channel", "layer", "deviation"] | None = None
    image_weight: float | None = None
    clip: bool | Literal["seen", "black"] | None = None
    smoothing: float | None = None
    margin: int | None = None
    flip: bool | None = None
    roughness_weight: float | None = None
    output: Literal["spread", "inverse_spread", "label"] | None = None
    output_weight: float | None = None
    optimizer: Literal["adam", "radam"] | None = None
    learning_rate: float | None = None
    schedule: Literal["plateau", "halving", "cosine"] | None = None
    min_learning_rate: float = 1e-4
    patience: int | None = None
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in asdict(RECIPES[self.variant]).items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        recipe = self.recipe
        if recipe.iterations < 1:
            raise ValueError(f"iterations={recipe.iterations}; give at least 1")
        if recipe.learning_rate <= 0:
            raise ValueError(f"learning_rate={recipe.learning_rate}; give more than 0")
        for name in ("image_weight", "smoothing", "margin", "roughness_weight", "output_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)}; give 0 or more")
        if self.patience is None:
            share = 5 if recipe.schedule == "plateau" else 50
            object.__setattr__(self, "patience", recipe.iterations // share)

    @property
    def recipe(self) -> Recipe:
        """The parts, none of them None."""
        return Recipe(**{part.name: getattr(self, part.name) for part in fields(Recipe)})

    def not_applicable(self, network: nn.Module) -> str | None:
        return None if batchnorms(network) else NO_STATISTICS

    def calibrate(self, network: nn.Module, context: Context) -> Calibration:
        recipe = self.recipe
        view = View(recipe.smoothing, recipe.margin, recipe.flip)
        start = self.start_of(recipe, context)
        image = view.central(start[:1]).to(context.device, memory_format=context.memory_format)
        targets = targets_of(network, image, self.epsilon)
        weights = channel_weights(targets, recipe.weighting, recipe.image_weight)
        weights = weights.to(context.device)
        views = context.generator("views")
        view_range = range_of_views(recipe.clip, context)
        labels = None
        if recipe.output_weight and recipe.output == "label":
            labels = self._labels(network, image, context)

        def loss(images: Tensor) -> Tensor:
            seen = view.drawn(images, views)
            if view_range is not None:
                seen = clipped(seen, *view_range)
            wanted = bool(recipe.output_weight)
            found = statistics_of(targets, network, seen, wanted, context.precision)
            total = seen.new_zeros(())
            if recipe.statistics != "batch":
                total = total + weighted_loss(image_gaps(targets, found), weights)
            if recipe.statistics != "image":
                total = total + weighted_loss(batch_gaps(targets, found), weights)
            if recipe.roughness_weight:
                total = total + recipe.roughness_weight * roughness(seen)
            if found.output is not None:
                total = total + recipe.output_weight * _of_output(recipe, found.output, labels)
            return total

        clip = recipe.clip is True
        made = optimise(start, loss, self.rates(recipe), context, clip, recipe.optimizer)
        images = view.central(made.images.to(context.device))
        if view_range is not None:
            images = clipped(images, *view_range)
        return Calibration(images.contiguous().cpu(), made.curve)

    def start_of(self, recipe: Recipe, context: Context) -> Tensor:
        """Return the noise (N, C, H + margin, W + margin) that the images are at first."""
        channels, height, width = context.input_shape
        shape = (self.images, channels, height + recipe.margin, width + recipe.margin)
        draw = {"gaussian": _gaussian, "diverse": diverse, "pink": pink}[recipe.start]
        return draw(shape, context.generator("synthesis"))

    def rates(self, recipe: Recipe) -> PlateauSchedule | CosineSchedule:
        """Return the schedule of the learning rate."""
        steps, first, least = recipe.iterations, recipe.learning_rate, self.min_learning_rate
        if recipe.schedule == "cosine":
            return CosineSchedule(steps, first, least)
        assert self.patience is not None  # by __post_init__
        if recipe.schedule == "halving":
            return PlateauSchedule(steps, first, least, self.patience, factor=0.5, reset=True)
        return PlateauSchedule(steps, first, least, self.patience)

    def _labels(self, network: nn.Module, image: Tensor, context: Context) -> Tensor:
        with torch.no_grad():
            classes = network(image).shape[1]
        labels = torch.randint(classes, (self.images,), generator=context.generator("labels"))
        return labels.to(context.device)


def channel_weights(targets: Targets, weighting: str, image_weight: float) -> Tensor:
    """Return how much the squared gaps of each channel count, (K,)."""
    if weighting == "channel":
        weights = torch.ones(len(targets.mean))
    else:
        shares = [1 / (len(targets.channels) * channels) for channels in targets.channels]
        weights = targets.per_channel(torch.tensor(shares))
        if weighting == "deviation":
            weights = weights / targets.deviation.cpu().square()
    weights[: targets.channels[0]] *= image_weight
    return weights


def weighted_loss(gaps: Gaps, weights: Tensor) -> Tensor:
    """Return the weighted sum of the squared gaps of means and deviations; its mean over rows."""
    squares = gaps.mean.square() + gaps.deviation.square()
    return (squares * weights).sum() / len(squares)


def range_of_views(
    clip: bool | Literal["seen", "black"], context: Context
) -> tuple[Tensor, Tensor] | None:
    """Return between which values what the network sees is clipped; None where it is not."""
    black, white = context.pixel_range
    if clip == "black":
        return black, black + _MCT_WHITE * (white - black)
    return (black, white) if clip == "seen" else None


def clipped(images: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Return `images` brought between `low` and `high`; the gradient is that of `images`."""
    return images + (images.clamp(low, high) - images).detach()


def _of_output(recipe: Recipe, output: Tensor, labels: Tensor | None) -> Tensor:
    if labels is not None:
        return cross_entropy(output, labels)
    return negative_spread(output) if recipe.output == "spread" else inverse_spread(output)


def _gaussian(shape: tuple[int, int, int, int], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator)
