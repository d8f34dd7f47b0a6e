"""DSG (Zhang et al., CVPR 2021): distilled images that are kept from being all alike."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from methods.base import Calibration, Context, Method
from methods.distillation.batchnorm import NO_STATISTICS, batchnorms
from methods.distillation.matching import Targets, gaps_to, targets_of
from methods.distillation.optimisation import PlateauSchedule, optimise
from methods.distillation.priors import image_prior, spectrum_difference
from methods.distillation.slack import Margins, enhancement, percentiles, slack_loss
from models.detection import is_detector

_CHUNK = 64  # images of noise at a time

# What a parameter that is left at None stands for.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "paper": {
        "images": 64,
        "learning_rate": 0.5,
        "patience": 100,
        "slack": True,
        "enhance": True,
        "label_weight": 0.0,
        "prior_weight": 0.0,
        "diversity_weight": 0.0,
    },
    "release": {
        "images": 40,
        "learning_rate": 0.9,
        "patience": 260,
        "slack": True,
        "enhance": True,
        "label_weight": 2.0,
        "prior_weight": 0.01,
        "diversity_weight": 1e-4,
    },
}


@dataclass(frozen=True)
class DSG(Method):
    """ZeroQ with slack around the BatchNorm statistics, and each image with a layer of its own.

    Slack distribution alignment: of |mean - running mean| only what exceeds a margin counts, and
    likewise of the deviation. A layer has one margin for means and one for deviations: the
    `percentile` of those distances over all channels of N(0, 1) images. Layerwise sample
    enhancement: image j weighs one layer more than the others. A layer is a call of a BatchNorm,
    in call order. Statistics are per image, over height x width, as ZeroQ's; so is the term of the
    image itself, which has no margin and no weight.

    variant: `paper` is slack and enhancement, X = I + 1 1^T: image j counts layer j twice. Where
        the paper is silent it is ZeroQ's: start N(0, 1), learning rate 0.5, patience 100, 500
        iterations. The paper has as many images as the network has layers; here it is ZeroQ's 64
        unless `images` says otherwise, and image j counts layer j modulo the number of layers.
        `release` is the released code: start uniform in 0..1, learning rate 0.9, patience 260, 40
        images. Image j doubles the excess of layer j before it is squared, which counts it four
        times, for j below 20 only. It adds the terms below. The margins that it reads from files
        are not released; here they are the paper's.
    slack, enhance: whether the two ideas are used. With neither, and without the terms below, the
        loss is ZeroQ's.
    epsilon: added to both variances before the root.
    clip: whether images are kept in the range of pixels at every step. Neither the paper nor the
        release does.
    percentile: of the margins, 0..1; the paper calls it epsilon.
    margin_images: how many N(0, 1) images the margins are from. The paper's number is not known.
    label_weight: of the cross-entropy with labels drawn at random. The release adds it twice.
    prior_weight: of the total variation, after rolling the images by up to 30 pixels, and of the
        mean L2 norm of an image.
    diversity_weight: of the difference between the eigenvalues of the images' cosine similarities
        and those of Gaussian images drawn anew each step, divided by the number of layers. The
        release's further term, the alignment of the eigenvectors, is left out: the sign of an
        eigenvector is arbitrary. As released neither term has a gradient; here this one has.
    """

    name = "dsg"
    cached = True
    heeds_precision = True
    tasks = ("classification", "detection")
    bibtex = """@inproceedings{zhang2021diversifying,
  title = {Diversifying Sample Generation for Accurate Data-Free Quantization},
  author = {Zhang, Xiangguo and Qin, Haotong and Ding, Yifu and Gong, Ruihao and Yan, Qinghua
            and Tao, Renshuai and Li, Yuhang and Yu, Fengwei and Liu, Xianglong},
  booktitle = {CVPR},
  year = {2021}
}"""

    # None is what the variant has; __post_init__ leaves none of them.
    images: int | None = None  # type: ignore[assignment]
    variant: Literal["paper", "release"] = "paper"
    iterations: int = 500
    learning_rate: float | None = None
    min_learning_rate: float = 1e-4
    patience: int | None = None
    epsilon: float = 1e-6
    slack: bool | None = None
    percentile: float = 0.9
    margin_images: int = 1024
    enhance: bool | None = None
    label_weight: float | None = None
    prior_weight: float | None = None
    diversity_weight: float | None = None
    clip: bool = False

    def __post_init__(self) -> None:
        for name, default in _DEFAULTS[self.variant].items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, default)
        super().__post_init__()
        for name in ("iterations", "margin_images"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}; give at least 1")
        for name in ("label_weight", "prior_weight", "diversity_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)}; give 0 or more")
        if not 0 <= self.percentile <= 1:
            raise ValueError(f"percentile={self.percentile}; give a number from 0 to 1")

    def not_applicable(self, network: nn.Module) -> str | None:
        if self.label_weight and is_detector(network):
            return "labels are drawn, and the network detects: give method.label_weight=0"
        return None if batchnorms(network) else NO_STATISTICS

    def calibrate(self, network: nn.Module, context: Context) -> Calibration:
        assert self.images is not None  # by __post_init__
        start = self.start((self.images, *context.input_shape), context.generator("synthesis"))
        image = start[:1].to(context.device, memory_format=context.memory_format)
        targets = targets_of(network, image, self.epsilon)
        margins = self.margins(network, targets, context) if self.slack else None
        weights = None
        if self.enhance:
            weights = enhancement(self.variant, self.images, targets).to(context.device)
        rolls, gaussians = context.generator("roll"), context.generator("diversity")
        if self.label_weight:
            with torch.no_grad():
                classes = network(image).shape[1]
            generator = context.generator("labels")
            labels = torch.randint(classes, (self.images,), generator=generator)
            labels = labels.to(context.device)

        def loss(images: Tensor) -> Tensor:
            gaps = gaps_to(targets, network, images, bool(self.label_weight), context.precision)
            total = slack_loss(gaps, margins, weights)
            if self.label_weight:
                assert gaps.output is not None
                total = total + self.label_weight * cross_entropy(gaps.output, labels)
            if self.prior_weight:
                total = total + self.prior_weight * image_prior(images, rolls)
            if self.diversity_weight:
                gaussian = torch.randn(images.shape, generator=gaussians).to(images.device)
                difference = spectrum_difference(images, gaussian)
                total = total + self.diversity_weight / targets.layers * difference
            return total

        return optimise(start, loss, self.schedule, context, self.clip)

    @property
    def schedule(self) -> PlateauSchedule:
        assert self.learning_rate is not None and self.patience is not None
        return PlateauSchedule(
            self.iterations, self.learning_rate, self.min_learning_rate, self.patience
        )

    def start(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Return the noise of the given shape that the variant starts from."""
        draw = torch.randn if self.variant == "paper" else torch.rand
        return draw(shape, generator=generator)

    def margins(self, network: nn.Module, targets: Targets, context: Context) -> Margins:
        """Return the margins from N(0, 1) images; those of the image itself are 0."""
        generator = context.generator("margins")
        chunks = []
        for done in range(0, self.margin_images, _CHUNK):
            shape = (min(_CHUNK, self.margin_images - done), *context.input_shape)
            noise = torch.randn(shape, generator=generator)
            noise = noise.to(context.device, memory_format=context.memory_format)
            with torch.no_grad():
                gaps = gaps_to(targets, network, noise, precision=context.precision)
            chunks.append(torch.stack([gaps.mean, gaps.deviation]).abs().cpu())
        pair = [percentiles(gap, targets, self.percentile) for gap in torch.cat(chunks, 1)]
        return Margins(*(targets.per_channel(each.to(context.device)) for each in pair))
