"""ZeroQ (Cai et al., CVPR 2020): images distilled from BatchNorm statistics."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim import Adam
from torch.optim.lr_scheduler import ReduceLROnPlateau

from methods.base import Calibration, Context, Method
from methods.batchnorm import batchnorms, inputs_of, running_statistics
from models.errors import NotApplicable

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
    patience: steps without improvement after which the learning rate is divided by 10.
    """

    name = "zeroq"
    cached = True
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

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.iterations < 1:
            raise ValueError(f"iterations={self.iterations}; give at least 1")

    def not_applicable(self, network: nn.Module) -> str | None:
        return None if batchnorms(network) else "the network has no BatchNorm statistics to match"

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
        images = start.to(context.device, memory_format=context.memory_format, copy=True)
        images.requires_grad_(True)
        optimizer = Adam([images], lr=self.learning_rate)
        scheduler = ReduceLROnPlateau(
            optimizer, patience=self.patience, min_lr=self.min_learning_rate
        )
        curve = []
        for step in range(self.iterations):
            loss = statistics_loss(network, images, self.epsilon)
            (images.grad,) = torch.autograd.grad(loss, images)
            optimizer.step()
            curve.append(loss.item())
            scheduler.step(curve[-1])
            context.progress(step + 1, self.iterations, curve[-1])
        return Calibration(images.detach().contiguous().cpu(), curve)


def statistics_loss(network: nn.Module, images: Tensor, epsilon: float) -> Tensor:
    """Squared distance of each image's statistics to the running ones, summed over layers.

    sum_l (||mu_l - mu(x)||^2 + ||sigma_l - sigma(x)||^2) / N over BatchNorm inputs, plus the same
    for the image with mean 0 and deviation 1. Variances are unbiased over height x width. The
    sum runs over channels without weights (ZeroQ release, distill_data.py, getDistilData).
    Statistics are taken at the input of each BatchNorm, so no order of layers is assumed.
    """
    layers = batchnorms(network)
    with inputs_of(layers) as inputs:
        network(images)
    zero = images.new_zeros(images.shape[1])
    total = _distance(images, zero, zero + 1, epsilon)
    for layer in layers:
        for activation in inputs[layer]:
            total = total + _distance(activation, *running_statistics(layer), epsilon)
    return total


def _distance(x: Tensor, mean: Tensor, var: Tensor, epsilon: float) -> Tensor:
    pixels = x.flatten(2)
    if pixels.shape[2] < 2:
        raise NotApplicable("a BatchNorm sees 1x1 maps, whose variance over pixels does not exist")
    deviation = torch.sqrt(pixels.var(dim=2) + epsilon)
    gap = (pixels.mean(dim=2) - mean).square().sum()
    return (gap + (deviation - torch.sqrt(var + epsilon)).square().sum()) / x.shape[0]
