"""What the training loop needs from around it: images, checkpoints, other processes, interrupts."""

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

State = dict[str, Any]
Images = Callable[[Tensor], Tensor]
"""From indices (n,) int64 on the CPU to those images or clips, (n, C, H, W), on the device.

They are uint8 pixels, or float32 where a method has made them.
"""


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """Return `values`, of the CPU, on `device`; what is queued on a GPU is not waited for."""
    if device.type == "cuda":
        values = values.pin_memory()
    return values.to(device, non_blocking=True)


def held(pixels: Tensor) -> Images:
    """Return what gives images of `pixels` (N, C, H, W), which are on the device."""
    return lambda indices: pixels[to_device(indices, pixels.device)]


class Examples(NamedTuple):
    """What a training looks at.

    images: gives those of some indices. targets: on the device, (N,) int64, class indices, or
    (N, K), the logits of a teacher. normalise: pixels 0..255 as float32 to the input of the
    network.
    """

    images: Images
    targets: Tensor
    normalise: Callable[[Tensor], Tensor]


class Checkpoints(Protocol):
    """Where the state of a training is kept: after each epoch, and before an interrupt."""

    def load(self) -> State | None: ...

    def save(self, state: State) -> None: ...

    @property
    def place(self) -> str: ...


class InMemory:
    """Keeps the last state, for as long as the process lives."""

    place = "memory"

    def __init__(self) -> None:
        self._state: State | None = None

    def load(self) -> State | None:
        return copy.deepcopy(self._state)

    def save(self, state: State) -> None:
        self._state = copy.deepcopy(state)


class Workers(Protocol):
    """The processes that share each batch: this one's place, and what they tell each other."""

    rank: int
    count: int

    def average(self, tensors: Sequence[Tensor]) -> None: ...

    def share(self, value: bytes | None) -> bytes | None:
        """Return the `value` of the first process."""


class Alone:
    """One process."""

    rank = 0
    count = 1

    def average(self, tensors: Sequence[Tensor]) -> None:
        """The mean over one is itself."""

    def share(self, value: bytes | None) -> bytes | None:
        return value


class Interrupts(Protocol):
    """What may end the process, and waits after a step until the state is kept."""

    @property
    def waiting(self) -> bool: ...

    def deliver(self) -> None:
        """Let what is waiting happen, if anything is; return when the process goes on."""


class NoInterrupts:
    """Nothing is held back."""

    waiting = False

    def deliver(self) -> None:
        """There is nothing to deliver."""
