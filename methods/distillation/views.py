"""What a network is shown of images that are optimised: smoothed, mirrored, cut out."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad


@dataclass(frozen=True)
class View:
    """How images become what the network sees.

    sigma: deviation, in pixels, of a 3 x 3 Gaussian filter; 0 for none.
    margin: pixels, over both sides, that images are larger by than what is cut out of them.
    flip: whether half of the views are mirrored.

    One step shows all images alike, as Sony MCT's image_pipeline.py does. At the edges the filter
    repeats the last pixel, where the release takes 0.
    """

    sigma: float = 0.0
    margin: int = 0
    flip: bool = False

    def drawn(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return a view of `images` (N, C, H + margin, W + margin), as drawn: (N, C, H, W)."""
        if self.flip and float(torch.rand((), generator=generator)) < 0.5:
            images = images.flip(3)
        top = left = 0
        if self.margin:
            top, left = torch.randint(self.margin + 1, (2,), generator=generator).tolist()
        return self._cut(smoothed(images, self.sigma), top, left)

    def central(self, images: Tensor) -> Tensor:
        """Return what a method hands over in the end: smoothed, and the middle of the images."""
        return self._cut(smoothed(images, self.sigma), self.margin // 2, self.margin // 2)

    def _cut(self, images: Tensor, top: int, left: int) -> Tensor:
        height, width = (side - self.margin for side in images.shape[2:])
        return images[:, :, top : top + height, left : left + width]


def smoothed(images: Tensor, sigma: float) -> Tensor:
    """Return `images` (N, C, H, W) behind a 3 x 3 Gaussian filter of deviation `sigma` pixels."""
    if not sigma:
        return images
    channels = images.shape[1]
    line = torch.exp(-(torch.arange(-1.0, 2.0) ** 2) / (2 * sigma**2))
    kernel = torch.outer(line, line) / line.sum() ** 2
    kernel = kernel.to(images.device).expand(channels, 1, 3, 3)
    return conv2d(pad(images, (1, 1, 1, 1), mode="replicate"), kernel, groups=channels)
