"""Compiling a network for its evaluation, where the evaluation is long enough to pay for it.

A compiled network is found again by what it does, not by which object it is: bits, ranges and zero
points are tensors, so that one compilation serves every recipe that puts quantizers at the same
places.
"""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from bench.machine.memory import out_of_memory
from models.errors import BenchError, first_line
from models.inference import with_fixed_batchnorm
from models.paths import expanded
from models.quantize.activation import weighted_layers
from models.tracing import traced

log = logging.getLogger(__name__)

Wish = Literal["auto"] | bool

BACKEND = "inductor"
"""Of torch.compile."""
CACHE = "~/.cache/quantization-bench/compiled"
"""Where compiled code is kept for other processes, unless TORCHINDUCTOR_CACHE_DIR says."""
_CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"

# Multiplications that one core does in five minutes or so, and a GPU in one: a compilation takes
# five to sixty seconds, and saves a third of the evaluation, rarely half.
_WORTH = {"cpu": 5e12, "cuda": 5e14}
# Graphs kept of one class of networks: places x granularities, and the float one.
_GRAPHS = 32


def worth_compiling(network: nn.Module, images: int, image: Tensor, wish: Wish) -> bool:
    """Return whether to compile `network` for an evaluation of `images` images.

    image: (1, 3, H, W) normalised input. It depends on nothing that changes from run to run, so
    that a repetition of a cell computes alike.
    """
    if wish != "auto":
        return wish
    return images * multiplications(network, image) >= _WORTH.get(image.device.type, float("inf"))


class Call(NamedTuple):
    """What one layer with weights does to a batch: multiply-accumulates, and numbers it touches."""

    multiplications: int
    numbers: int


@torch.inference_mode()
def calls(network: nn.Module, batch: Tensor) -> list[Call]:
    """Return each call of a convolution or linear layer as `batch` passes, in order.

    numbers: of its input, its weights and its output.
    """
    layers = weighted_layers(network)
    result = []

    def note(name: str, args: Any, output: Tensor) -> None:
        weight = layers[name].weight
        numbers = args[0].numel() + weight.numel() + output.numel()
        result.append(Call(output.numel() * weight[0].numel(), numbers))

    with traced(layers, after=note):
        network(batch)
    return result


def multiplications(network: nn.Module, batch: Tensor) -> int:
    """Return the multiply-accumulates of convolutions and linear layers for a batch."""
    return sum(call.multiplications for call in calls(network, batch))


def compiled(network: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return `network` for batches of one size, compiled at the first of them unless it is known.

    Quantizers are hooks, and PyTorch does not look at hooks when it decides whether a compiled
    graph fits, unless told to: it would take the float network's for the quantized one's.

    Raises BenchError where there is no folder for what is compiled.
    """
    import torch._dynamo

    os.environ[_CACHE_VARIABLE] = str(_cache_folder())
    torch._dynamo.config.skip_nnmodule_hook_guards = False
    torch._dynamo.config.recompile_limit = _GRAPHS
    # Else it would run uncompiled from then on, without a word.
    torch._dynamo.config.fail_on_recompile_limit_hit = True
    # A batch is padded to the size of the others; a graph for every size would be slower.
    return torch.compile(with_fixed_batchnorm(network), dynamic=False, backend=BACKEND)


def _cache_folder() -> Path:
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir

    # Importing its compiler sets the variable to a folder under /tmp, where another user could be
    # first; processes that this one starts are handed it down.
    named = os.environ.get(_CACHE_VARIABLE)
    if named in (None, "", default_cache_dir()):
        named = CACHE
    advice = f"set {_CACHE_VARIABLE} to a folder that can be written, or give runtime.compile=false"
    try:
        folder = expanded(named)
        folder.mkdir(parents=True, exist_ok=True)
    except (BenchError, OSError) as error:
        raise BenchError(f"{named} cannot be made; {advice}") from error
    if not os.access(folder, os.W_OK):
        raise BenchError(f"{folder} cannot be written; {advice}")
    return folder


def checked(network: nn.Module, batch: Tensor, wish: Wish) -> Callable[[Tensor], Tensor] | None:
    """Return `network` compiled and tried on `batch`; None where this machine cannot compile it.

    Raises BenchError for that where compiling was asked for (wish is True), and what says that
    memory does not suffice for the batch.
    """
    from torch._dynamo.exc import FailOnRecompileLimitHit

    try:
        run = compiled(network)
        try:
            run(batch)
        except FailOnRecompileLimitHit:
            torch.compiler.reset()
            run = compiled(network)
            run(batch)
    except Exception as error:
        if out_of_memory(error):
            raise
        # Whatever a compiler may raise; the eager network runs, or says what is wrong itself.
        cause = getattr(error, "inner_exception", error)
        why = first_line(cause) or type(cause).__name__
        if not isinstance(cause, BenchError):
            why += "; install a C++ compiler, or give runtime.compile=false"
        if wish is True:
            raise BenchError(f"cannot compile the network: {why}") from error
        log.warning("warning: the network is not compiled: %s", why)
        torch.compiler.reset()
        return None
    return run
