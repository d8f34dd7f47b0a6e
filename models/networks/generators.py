"""Conditional generators of images: noise and a class become an image.

Source: the released code of GDFQ (Xu et al., ECCV 2020; main.py, Generator, and
main_direct.py's Generator_imagenet): the form for small images and the form for ImageNet. Both are
a linear layer to a map of a quarter of the size, twice an upsampling and a convolution, a last
convolution, tanh, and a BatchNorm without affine that gives each channel of the batch mean 0 and
deviation 1.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.errors import NotApplicable

LARGEST_SMALL = 64
"""Pixels a side up to which images have the form for small ones."""
RELEASE_EPSILON = 0.8
"""What the two BatchNorms behind convolutions have in the release, where a momentum was meant."""

_WIDE, _NARROW = 128, 64
_SLOPE = 0.2


class SmallGenerator(nn.Module):
    """(N, latent) noise and (N,) classes to (N, C, H, W): noise times an embedding of the class.

    epsilon: of the two BatchNorms behind convolutions.
    """

    def __init__(
        self, classes: int, shape: tuple[int, int, int], latent: int, epsilon: float
    ) -> None:
        super().__init__()
        channels, *size = shape
        self.start = size[0] // 4, size[1] // 4
        self.embedding = nn.Embedding(classes, latent)
        self.linear = nn.Linear(latent, _WIDE * self.start[0] * self.start[1])
        self.norm = nn.BatchNorm2d(_WIDE)
        self.wide = nn.Conv2d(_WIDE, _WIDE, 3, padding=1)
        self.wide_norm = nn.BatchNorm2d(_WIDE, epsilon)
        self.narrow = nn.Conv2d(_WIDE, _NARROW, 3, padding=1)
        self.narrow_norm = nn.BatchNorm2d(_NARROW, epsilon)
        self.image = nn.Conv2d(_NARROW, channels, 3, padding=1)
        self.image_norm = nn.BatchNorm2d(channels, affine=False)

    def forward(self, noise: Tensor, classes: Tensor) -> Tensor:
        x = self.linear(self.embedding(classes) * noise)
        x = self.norm(x.view(len(x), _WIDE, *self.start))
        x = self.wide_norm(_larger(x, self.wide))
        x = functional.leaky_relu(x, _SLOPE)
        x = self.narrow_norm(_larger(x, self.narrow))
        x = functional.leaky_relu(x, _SLOPE)
        images: Tensor = self.image_norm(torch.tanh(self.image(x)))
        return images


class ClassNorm(nn.Module):
    """BatchNorm with a scale and a shift for each class, 1 and 0 at the start."""

    def __init__(self, classes: int, channels: int, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(classes, channels))
        self.bias = nn.Parameter(torch.zeros(classes, channels))
        self.norm = nn.BatchNorm2d(channels, epsilon, affine=False)

    def forward(self, x: Tensor, classes: Tensor) -> Tensor:
        weight, bias = (p[classes][:, :, None, None] for p in (self.weight, self.bias))
        normalised: Tensor = self.norm(x) * weight + bias
        return normalised


class LargeGenerator(nn.Module):
    """As `SmallGenerator`, of noise alone; the class chooses scales and shifts of BatchNorm."""

    def __init__(
        self, classes: int, shape: tuple[int, int, int], latent: int, epsilon: float
    ) -> None:
        super().__init__()
        channels, *size = shape
        self.start = size[0] // 4, size[1] // 4
        self.linear = nn.Linear(latent, _WIDE * self.start[0] * self.start[1])
        self.norm = ClassNorm(classes, _WIDE)
        self.wide = nn.Conv2d(_WIDE, _WIDE, 3, padding=1)
        self.wide_norm = ClassNorm(classes, _WIDE, epsilon)
        self.narrow = nn.Conv2d(_WIDE, _NARROW, 3, padding=1)
        self.narrow_norm = ClassNorm(classes, _NARROW, epsilon)
        self.image = nn.Conv2d(_NARROW, channels, 3, padding=1)
        self.image_norm = nn.BatchNorm2d(channels, affine=False)

    def forward(self, noise: Tensor, classes: Tensor) -> Tensor:
        x = self.linear(noise)
        x = self.norm(x.view(len(x), _WIDE, *self.start), classes)
        x = self.wide_norm(_larger(x, self.wide), classes)
        x = functional.leaky_relu(x, _SLOPE)
        x = self.narrow_norm(_larger(x, self.narrow), classes)
        x = functional.leaky_relu(x, _SLOPE)
        images: Tensor = self.image_norm(torch.tanh(self.image(x)))
        return images


def check_size(shape: tuple[int, ...]) -> None:
    """Raise NotApplicable for images, (C, H, W), that no form of the generator makes."""
    _, height, width = shape
    if height % 4 or width % 4 or min(height, width) < 4:
        raise NotApplicable(
            f"the generator makes images whose sides are multiples of 4, not {height}x{width}; use "
            "a network with another input, or method=distilled_qat"
        )


def make_generator(
    classes: int,
    shape: tuple[int, int, int],
    latent: int,
    epsilon: float,
    generator: torch.Generator,
) -> nn.Module:
    """Return a new generator, on the CPU, in training mode.

    shape: (C, H, W) of an image. epsilon: see `SmallGenerator`. generator: CPU, seeds the weights.
    Raises NotApplicable as `check_size`.
    """
    check_size(shape)
    seed = int(torch.randint(2**31, (), generator=generator))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if max(shape[1:]) <= LARGEST_SMALL:
            return SmallGenerator(classes, shape, latent, epsilon)
        return LargeGenerator(classes, shape, latent, epsilon)


def _larger(x: Tensor, layer: nn.Conv2d) -> Tensor:
    """Return what `layer`, of 3 x 3 pixels, makes of `x` (N, C, H, W) with each pixel four times.

    Four pixels that are one have the sum of their weights: one transposed convolution of 4 x 4 and
    stride 2 on the small map does it with 16 products a pixel in place of 36.
    """
    kernel = layer.weight.flip(2, 3)
    kernel = functional.pad(kernel, (0, 1)) + functional.pad(kernel, (1, 0))
    kernel = functional.pad(kernel, (0, 0, 0, 1)) + functional.pad(kernel, (0, 0, 1, 0))
    return functional.conv_transpose2d(x, kernel.transpose(0, 1), layer.bias, stride=2, padding=1)
