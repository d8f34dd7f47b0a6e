"""What a method plugin is, and what it is given.

A plugin is one file with one frozen dataclass derived from `Method`: its fields are the method's
parameters (the keys of its config) and `calibrate` does the work. `docs/add_a_method.md` walks
through one.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from methods.identity import identifying
from models.quantize.bits import ChosenBits
from models.quantize.mixed import check_search
from models.quantize.network import QuantizedNetwork, quantize
from models.quantize.spec import QuantSpec


class Progress(Protocol):
    """Called with the steps done, the steps in all, and the current loss where there is one."""

    def __call__(self, done: int, total: int, loss: float | None = None) -> None: ...


def no_progress(done: int, total: int, loss: float | None = None) -> None:
    """Nobody looks."""


def _unbounded() -> tuple[Tensor, Tensor]:
    return torch.tensor(-torch.inf), torch.tensor(torch.inf)


@dataclass(frozen=True)
class Context:
    """What a method may use besides the float network.

    input_shape: (channels, height, width) of one image; (words,) of a text.
    generator: a seeded CPU random generator for a named purpose. The seed of a purpose depends
        on the cell's seed and on nothing else, so every bit-width starts from the same noise.
    real_images: gives n preprocessed training images (n, C, H, W). Only a method that declares
        `needs_real_images` gets one that works.
    pixel_range: the network's input for black and for white, each (1, C, 1, 1): where the values of
        photographs lie. No bounds where nobody says them.
    precision: float32, or bfloat16 for a method that declares `heeds_precision`: what the network
        may be computed in while images are optimised. Images are float32 all the same.
    """

    input_shape: tuple[int, ...]
    generator: Callable[[str], torch.Generator]
    real_images: Callable[[int], Tensor]
    device: torch.device
    memory_format: torch.memory_format = torch.contiguous_format
    progress: Progress = no_progress
    precision: torch.dtype = torch.float32
    pixel_range: tuple[Tensor, Tensor] = field(default_factory=_unbounded)


@dataclass(frozen=True)
class Calibration:
    """Images to calibrate a quantized network with.

    images: (N, C, H, W) float32, in the network's normalised input space; of texts ids (N, words).
    curve: the loss of each optimisation step, empty where nothing was optimised.
    """

    images: Tensor
    curve: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Method(ABC):
    """Where the calibration images come from, and for some methods what else becomes of a network.

    images: how many of them there are.

    version: raise it when a change of the code changes the method's numbers; it is part of a
        cell's identity.
    chooses_bits: whether the method chooses the bits that a cell leaves open (`mixed`); where it
        does not, the search of `models.quantize.mixed` does, on the images of `calibrate`.
    needs_real_images: whether the method sees training images. One that does not is data-free,
        and reaching for them raises.
    cached: whether the images cost enough to be kept on disk for all the bit-widths.
    tasks: of the networks that it has a meaning for, by name (`bench.tasks`). One that needs
        labels, or takes what a network returns for logits, classifies.
    heeds_precision: whether `calibrate` computes the network in the context's precision, so that
        another precision makes other images.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    needs_real_images: ClassVar[bool] = False
    chooses_bits: ClassVar[bool] = False
    cached: ClassVar[bool] = False
    heeds_precision: ClassVar[bool] = False
    tasks: ClassVar[tuple[str, ...]] = ("classification",)
    bibtex: ClassVar[str] = ""

    images: int = 64

    def __post_init__(self) -> None:
        if self.images < 1:
            raise ValueError(f"images={self.images}; give at least 1")

    @property
    def image_method(self) -> "Method":
        """The method whose `calibrate` makes the images: this one, or another that it names."""
        return self

    @property
    def sees_real_images(self) -> bool:
        """Whether training images reach the method, itself or by `image_method`."""
        return self.needs_real_images or self.image_method.needs_real_images

    def identity(self) -> dict[str, Any]:
        """Return what of the method can change a number: name, version and parameters."""
        return {"name": self.name, "version": self.version, **identifying(asdict(self))}

    def check(self, spec: QuantSpec) -> None:
        """Raise BenchError unless there can be a cell of the method at `spec`."""
        if spec.is_mixed:
            check_search(spec)

    def not_applicable(self, network: nn.Module) -> str | None:
        """Return why the method has no meaning for `network`, or None when it has one."""
        return None

    @abstractmethod
    def calibrate(self, network: nn.Module, context: Context) -> Calibration:
        """Return calibration images for `network` (float, eval mode, frozen; not to be changed)."""

    def quantize(
        self,
        network: nn.Module,
        spec: QuantSpec,
        images: Tensor,
        generator: torch.Generator,
        progress: Progress = no_progress,
        chosen: ChosenBits | None = None,
    ) -> QuantizedNetwork:
        """Return a quantized copy of `network`, calibrated on `images`, what `calibrate` returned.

        generator: a seeded CPU random generator, the same for every bit-width.
        Only a method that changes more than the images, such as the weights, has one of its own.
        See `models.quantize.network.quantize`.
        """
        return quantize(network, spec, images, progress, chosen, generator)
