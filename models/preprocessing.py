"""What an image goes through before a network sees it; weights carry theirs."""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Preprocessing:
    """Resize the shorter side, crop the centre, then (pixel / 255 - mean) / std.

    size: side of the square network input, in pixels.
    resize: length of the shorter side before the crop, in pixels.
    mean, std: per channel (RGB), of pixels scaled to 0..1.
    fit: `crop`, or `letterbox`: the longer side is brought to `size`, and what the image leaves
        free, on the right or below, has the colour `mean`; nothing is cut off, and `resize` is
        without effect.
    """

    size: int
    resize: int
    interpolation: Literal["bilinear", "bicubic"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    fit: Literal["crop", "letterbox"] = "crop"

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one image."""
        return (3, self.size, self.size)

    def as_dict(self) -> dict[str, object]:
        """Return the values by name; `fit` only where it is not the usual crop."""
        values = dict(vars(self))
        if self.fit == "crop":
            del values["fit"]
        return values

    def pixel_range(self, device: "torch.device") -> "tuple[Tensor, Tensor]":
        """Return what black and what white are as network input, each (1, 3, 1, 1) float32."""
        mean, std = (_by_channel(values, device) for values in (self.mean, self.std))
        return -mean / std, (1 - mean) / std

    def normalise(self, pixels: "Tensor") -> "Tensor":
        """Turn `pixels` (N, 3, H, W), uint8, into a float32 network input on the same device.

        The memory layout of `pixels` is kept.
        """
        mean, std = (_by_channel(values, pixels.device) for values in (self.mean, self.std))
        return (pixels.float() / 255 - mean) / std


# Copied to a device once: a copy for every batch would wait for what is queued there.
@lru_cache(maxsize=64)
def _by_channel(values: tuple[float, ...], device: "torch.device") -> "Tensor":
    import torch

    with torch.inference_mode(False):  # whoever asks first
        return torch.tensor(values, device=device).view(1, len(values), 1, 1)
