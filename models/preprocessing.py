"""What an image or a text goes through before a network sees it; weights carry theirs."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Literal

from models.errors import BenchError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Medium = Literal["image", "text"]

PADDING, UNKNOWN = 0, 1
"""Ids that are no word's: of a place behind the end of a text, and of all words without a row."""


class Preparation(ABC):
    """What makes a network's input of an image or of a text.

    medium: which of the two. stored_type: of the numbers that decoded ones are kept as, in NumPy's
    words. input_type: of the network's input, in PyTorch's.
    size: how large one is, see there.
    """

    medium: ClassVar[Medium]
    stored_type: ClassVar[str]
    input_type: ClassVar[str]
    size: int

    @property
    @abstractmethod
    def stored_shape(self) -> tuple[int, ...]:
        """Of one, as it is kept; what has channels has them last."""

    @property
    @abstractmethod
    def input_shape(self) -> tuple[int, ...]:
        """Of one, as the network takes it."""

    @property
    @abstractmethod
    def places(self) -> int:
        """How many pixels, or words, the network looks at."""

    @property
    @abstractmethod
    def decoded_by(self) -> dict[str, object]:
        """By name, what the numbers that are kept depend on."""

    @abstractmethod
    def as_dict(self) -> dict[str, object]:
        """Return the values by name."""

    @abstractmethod
    def normalise(self, decoded: "Tensor") -> "Tensor":
        """Turn what was kept, (N, ...), into a network input on the same device."""

    @abstractmethod
    def pixel_range(self, device: "torch.device") -> "tuple[Tensor, Tensor]":
        """Return the lowest and the highest values of an input."""

    @abstractmethod
    def noise(self, count: int, generator: "torch.Generator") -> "Tensor":
        """Return `count` random inputs, on the CPU."""

    def blank(self) -> "Tensor":
        """Return an input of zeros, (1, ...), on the CPU."""
        import torch

        return torch.zeros(1, *self.input_shape, dtype=getattr(torch, self.input_type))


@dataclass(frozen=True)
class Preprocessing(Preparation):
    """Resize the shorter side, crop the centre, then (pixel / 255 - mean) / std.

    size: side of the square network input, in pixels.
    resize: length of the shorter side before the crop, in pixels.
    mean, std: per channel (RGB), of pixels scaled to 0..1.
    fit: `crop`, or `letterbox`: the longer side is brought to `size`, and what the image leaves
        free, on the right or below, has the colour `mean`; nothing is cut off, and `resize` is
        without effect.
    """

    medium = "image"
    stored_type = "|u1"
    input_type = "float32"

    size: int
    resize: int
    interpolation: Literal["bilinear", "bicubic"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    fit: Literal["crop", "letterbox"] = "crop"

    @property
    def stored_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of one image."""
        return (self.size, self.size, 3)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one image."""
        return (3, self.size, self.size)

    @property
    def places(self) -> int:
        return self.size**2

    @property
    def decoded_by(self) -> dict[str, object]:
        """Not mean and std, but for the mean that fills a letterbox."""
        values = {name: getattr(self, name) for name in ("size", "resize", "interpolation")}
        return values if self.fit == "crop" else values | {"fit": self.fit, "mean": self.mean}

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

    def normalise(self, decoded: "Tensor") -> "Tensor":
        """Turn pixels (N, 3, H, W), uint8, into a float32 network input on the same device.

        Their memory layout is kept.
        """
        mean, std = (_by_channel(values, decoded.device) for values in (self.mean, self.std))
        return (decoded.float() / 255 - mean) / std

    def noise(self, count: int, generator: "torch.Generator") -> "Tensor":
        """Return normal noise, (count, 3, size, size) float32."""
        import torch

        return torch.randn(count, *self.input_shape, generator=generator)


@dataclass(frozen=True)
class Words(Preparation):
    """A text as a row of ids: its first `size` words, and 0 behind the last of a shorter one.

    A word is its rank in the language, from 0, and its id is 2 more; all words whose id would not
    be below `vocabulary` have the id 1.

    vocabulary: how many ids there are, which are the rows of the network's table; 3 at least.
    Raises BenchError for numbers that leave no word.
    """

    medium = "text"
    stored_type = "<i4"
    input_type = "int64"

    size: int
    vocabulary: int

    def __post_init__(self) -> None:
        if self.size < 1 or self.vocabulary < 3:
            raise BenchError(
                f"a text of {self.size} words and a vocabulary of {self.vocabulary} ids leave no "
                "word; give at least 1 and 3"
            )

    @property
    def stored_shape(self) -> tuple[int]:
        return (self.size,)

    @property
    def input_shape(self) -> tuple[int]:
        return (self.size,)

    @property
    def places(self) -> int:
        return self.size

    @property
    def decoded_by(self) -> dict[str, object]:
        return {"words": self.size, "vocabulary": self.vocabulary}

    def as_dict(self) -> dict[str, object]:
        return dict(vars(self))

    def normalise(self, decoded: "Tensor") -> "Tensor":
        """Return the same ids (N, size) as int64."""
        return decoded.long()

    def pixel_range(self, device: "torch.device") -> "tuple[Tensor, Tensor]":
        """Return the lowest and the highest id."""
        import torch

        low, high = torch.tensor([PADDING, self.vocabulary - 1], device=device)
        return low, high

    def noise(self, count: int, generator: "torch.Generator") -> "Tensor":
        """Return random texts, (count, size) int64; the first has the highest id."""
        import torch

        ids = torch.randint(UNKNOWN, self.vocabulary, (count, self.size), generator=generator)
        ids[:1, 0] = self.vocabulary - 1
        return ids


def laid_out(inputs: "Tensor", memory_format: "torch.memory_format") -> "Tensor":
    """Return `inputs` (N, ...) in a memory layout, which images have and rows of ids have not."""
    return inputs.contiguous(memory_format=memory_format) if inputs.dim() == 4 else inputs


# Copied to a device once: a copy for every batch would wait for what is queued there.
@lru_cache(maxsize=64)
def _by_channel(values: tuple[float, ...], device: "torch.device") -> "Tensor":
    import torch

    with torch.inference_mode(False):  # whoever asks first
        return torch.tensor(values, device=device).view(1, len(values), 1, 1)
