"""How much of a network is quantized: counted while one image passes, whatever computes it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from models.errors import NotApplicable
from models.quantize.spec import FLOAT_BITS
from models.tracing import traced

aten = torch.ops.aten

# What leaves each value as it is, or on the grid that it is on.
_SAME_VALUES = {
    *(aten.view, aten._unsafe_view, aten.reshape, aten.permute, aten.transpose, aten.t),
    *(aten.expand, aten.slice, aten.select, aten.split, aten.split_with_sizes, aten.unbind),
    *(aten.squeeze, aten.unsqueeze, aten.unfold, aten.alias, aten.detach, aten.clone),
    *(aten._to_copy, aten.cat, aten.stack, aten.roll, aten.index_select, aten.constant_pad_nd),
    *(aten.max_pool2d_with_indices, aten.upsample_nearest2d, aten.pixel_shuffle),
    *(aten.channel_shuffle, aten.native_channel_shuffle, aten.relu, aten.relu_),
}
_ACTIVATIONS = {
    *(aten.relu, aten.relu_, aten.hardtanh, aten.hardtanh_, aten.threshold, aten.threshold_),
    *(aten.leaky_relu, aten.leaky_relu_, aten._prelu_kernel, aten.elu, aten.elu_, aten.gelu),
    *(aten.silu, aten.silu_, aten.hardswish, aten.hardswish_, aten.mish, aten.mish_),
}
_CLAMPS = {aten.clamp, aten.clamp_, aten.clamp_min, aten.clamp_min_}
_ADDING = {aten.addmm, aten.baddbmm}  # a bias, their first argument, to a product
_NAMED = 3


class LayerWeight(NamedTuple):
    """The weight of a convolution or linear layer, `used` being what it multiplies with."""

    parameter: Tensor
    used: Tensor
    bits: int


class Coverage(NamedTuple):
    """What of a network is quantized, in percent, 0..100, and what quantizers cannot reach.

    Weights are parameters of two dimensions or more: biases and those of BatchNorms are not.

    weights: those at fewer than 32 bits. foreign_weights: those of no nn.Conv2d or nn.Linear.
    multiplications: the multiply-accumulates of a forward pass by a weight at fewer than 32 bits.
    inputs: those of a quantized input.
    foreign_multiplications: those by no weight of an nn.Conv2d or nn.Linear, by their place, such
        as `convolution in 'stem'`.
    functions: places of the activation functions whose output no quantizer sees.
    quantizers: how many quantizers of activations the image passes.
    """

    weights: float
    foreign_weights: float
    multiplications: float
    inputs: float
    foreign_multiplications: Mapping[str, float]
    functions: Sequence[str]
    quantizers: int


@torch.no_grad()
def coverage(
    network: nn.Module,
    weights: Sequence[LayerWeight],
    quantizers: Iterable[nn.Module],
    image: Tensor,
) -> Coverage:
    """Return what of a quantized `network` is quantized.

    weights: of all its convolutions and linear layers.
    quantizers: the modules that quantized activations come out of.
    image: (1, C, H, W) normalised input, on the device of the network; it passes once.
    """
    counts = _Counts(weights)
    watched = {
        name: module
        for name, module in network.named_modules()
        if not isinstance(module, torch.jit.ScriptModule)
    }
    at = {str(number): quantizer for number, quantizer in enumerate(quantizers)}
    with (
        _attention_written_out(),
        traced(watched, counts.enter, counts.leave),
        traced(at, counts.enter_quantizer, counts.leave_quantizer),
        _Counting(counts),
    ):
        network(image)
    layers = {_place(weight.parameter): weight for weight in weights}
    sizes = {_place(p): p.numel() for p in network.parameters() if _is_matrix(p)}
    sizes |= {place: weight.parameter.numel() for place, weight in layers.items()}
    low = sum(sizes[place] for place, weight in layers.items() if weight.bits < FLOAT_BITS)
    foreign = sum(size for place, size in sizes.items() if place not in layers)
    weighing, multiplying = max(sum(sizes.values()), 1), max(counts.multiplications, 1)
    return Coverage(
        weights=100 * low / weighing,
        foreign_weights=100 * foreign / weighing,
        multiplications=100 * counts.by_weight / multiplying,
        inputs=100 * counts.of_input / multiplying,
        foreign_multiplications={k: 100 * n / multiplying for k, n in counts.foreign.items()},
        functions=tuple(counts.functions.values()),
        quantizers=counts.quantizers,
    )


def check_coverage(found: Coverage, weights: bool, activations: bool) -> None:
    """Raise NotApplicable where nothing is quantized of the weights or activations that should."""
    if weights and not found.multiplications:
        places = _places(found.foreign_multiplications)
        raise NotApplicable(
            "nothing would be quantized: only the weights of nn.Conv2d and nn.Linear are, and the "
            f"network multiplies by others: {places}"
        )
    if activations and not found.quantizers:
        raise NotApplicable(
            "nothing would be quantized: the network calls none of the modules that have quantizers"
        )


def shortfalls(found: Coverage, weights: bool, sites: str | None) -> list[str]:
    """Return a line each on what stays float although nobody has asked for that.

    weights: whether they are quantized. sites: of quantized activations, None where they are float.
    """
    lines = []
    foreign, of_weights = sum(found.foreign_multiplications.values()), found.foreign_weights
    if (weights or sites == "all") and max(round(foreign, 1), round(of_weights, 1)) > 0:
        by = f": {_places(found.foreign_multiplications)}" if found.foreign_multiplications else ""
        lines.append(
            f"{percent(foreign)} of the multiplications and {percent(of_weights)} of the weights "
            f"stay float, because only nn.Conv2d and nn.Linear are quantized{by}"
        )
    if sites == "relu" and found.functions:
        lines.append(
            f"{len(found.functions)} activation functions stay float, because only nn.ReLU and "
            f"nn.ReLU6 are quantized: {_places(found.functions)}; {percent(found.inputs)} of the "
            "multiplications have a quantized input"
        )
    return lines


def percent(share: float) -> str:
    """Return `share` with one decimal; what is not quite nothing or not quite all says so."""
    if 0 < share < 0.05:
        return "less than 0.1 %"
    if 99.95 <= share < 100:
        return "more than 99.9 %"
    return f"{share:.1f} %"


def _places(places: Iterable[str]) -> str:
    names = list(dict.fromkeys(places))
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


class _Counts:
    """What operations come to: multiplications, and which tensors hold quantized values."""

    def __init__(self, weights: Sequence[LayerWeight]) -> None:
        self.multiplications = self.by_weight = self.of_input = self.quantizers = 0
        self.foreign: Counter[str] = Counter()
        self.functions: dict[int, str] = {}
        self._bits = {_place(weight.used): weight.bits for weight in weights}
        self._copies: dict[int, int] = {}  # bits of what is made of weights, by identity
        self._quantized: set[int] = set()
        self._alive: list[Tensor] = []  # so that no identity is used twice
        self._modules: list[str] = []
        self._within = 0

    def enter(self, name: str, args: Any) -> None:
        self._modules.append(name)

    def leave(self, name: str, args: Any, output: Any) -> None:
        self._modules.pop()

    def enter_quantizer(self, name: str, args: Any) -> None:
        self._within += 1
        self.functions.pop(id(args[0]), None)

    def leave_quantizer(self, name: str, args: Any, output: Any) -> None:
        self._within -= 1
        self.quantizers += 1
        self._quantized.add(id(output))
        self._alive.append(output)

    def note(self, func: Any, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        if self._within:
            return
        kind = getattr(func, "overloadpacket", None)
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        made = [x for x in tree_leaves(output) if isinstance(x, Tensor)]
        self._alive += made
        if kind in flop_registry:
            count = flop_registry[kind](*args, **kwargs, out_val=output) // 2
            self._multiply(kind, args[1:3] if kind in _ADDING else args[:2], count)
        if kind in _SAME_VALUES and given:
            self._hand_on(given, made)
        else:
            self._quantized -= {id(x) for x in made}  # changed in place
        if kind in _ACTIVATIONS or (kind in _CLAMPS and args[1:2] == (0,)):
            self.functions |= {id(x): self._here(kind) for x in made}

    def _multiply(self, kind: Any, factors: Sequence[Tensor], count: int) -> None:
        bits = [self._bits_of(factor) for factor in factors]
        weights = [b for b in bits if b is not None]
        inputs = [x for x, b in zip(factors, bits, strict=True) if b is None]
        self.multiplications += count
        if any(b < FLOAT_BITS for b in weights):
            self.by_weight += count
        if inputs and all(id(x) in self._quantized for x in inputs):
            self.of_input += count
        if not weights:
            self.foreign[self._here(kind)] += count

    def _hand_on(self, given: Sequence[Tensor], made: Sequence[Tensor]) -> None:
        bits = [self._bits_of(x) for x in given]
        if bits[0] is not None and len(given) == 1:
            self._copies |= {id(x): bits[0] for x in made}
        if all(id(x) in self._quantized for x in given):
            self._quantized |= {id(x) for x in made}

    def _bits_of(self, x: Tensor) -> int | None:
        return self._copies.get(id(x), self._bits.get(_place(x)))

    def _here(self, kind: Any) -> str:
        name = str(kind).removeprefix("aten.").strip("_")
        module = self._modules[-1] if self._modules else ""
        return f"{name} in {module!r}" if module else f"{name} in forward()"


class _Counting(TorchDispatchMode):
    """Shows `counts` each operation inside."""

    def __init__(self, counts: _Counts) -> None:
        super().__init__()
        self._counts = counts

    # Not defined in the class: PyTorch would import its compiler, which takes seconds.
    __torch_dispatch__: Any


def _dispatch(
    self: Any, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
) -> Any:
    kwargs = kwargs or {}
    output = func(*args, **kwargs)
    self._counts.note(func, args, kwargs, output)
    return output


_Counting.__torch_dispatch__ = _dispatch


def _place(x: Tensor) -> int:
    return x.untyped_storage().data_ptr()


def _is_matrix(x: Tensor) -> bool:
    return sum(size > 1 for size in x.shape) > 1


@contextmanager
def _attention_written_out() -> Iterator[None]:
    """Compute attention as separate products inside; as one operation they are not counted."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
