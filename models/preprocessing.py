"""What an image goes through before a network sees it; weights carry theirs."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Preprocessing:
    """Resize the shorter side, crop the centre, then (pixel / 255 - mean) / std.

    size: side of the square network input, in pixels.
    resize: length of the shorter side before the crop, in pixels.
    mean, std: per channel (RGB), of pixels scaled to 0..1.
    """

    size: int
    resize: int
    interpolation: Literal["bilinear", "bicubic"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one image."""
        return (3, self.size, self.size)

    def as_dict(self) -> dict[str, object]:
        return dict(vars(self))

    def normalise(self, pixels: "Tensor") -> "Tensor":
        """Turn `pixels` (N, 3, H, W), uint8, into a float32 network input on the same device.

        The memory layout of `pixels` is kept.
        """
        values = pixels.float()
        mean = values.new_tensor(self.mean).view(1, 3, 1, 1)
        std = values.new_tensor(self.std).view(1, 3, 1, 1)
        return (values / 255 - mean) / std
