"""What a network multiplies by what while one image passes, whatever computes it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from models.quantize.activation import stored_layers
from models.quantize.bits import LayerBits, mean_of
from models.quantize.spec import FLOAT_BITS
from models.tracing import place_of, traced, watched

aten = torch.ops.aten

# What only gives values another shape or place.
_MOVED = {
    *(aten.view, aten._unsafe_view, aten.reshape, aten.permute, aten.transpose, aten.t),
    *(aten.squeeze, aten.unsqueeze, aten.alias, aten.detach, aten.clone, aten._to_copy),
    aten.expand,
}
# What leaves each value as it is, or on the grid that it is on.
_SAME_VALUES = {
    *_MOVED,
    *(aten.slice, aten.select, aten.split, aten.split_with_sizes, aten.unbind),
    *(aten.unfold, aten.cat, aten.stack, aten.roll, aten.index_select, aten.constant_pad_nd),
    *(aten.max_pool2d_with_indices, aten.upsample_nearest2d, aten.pixel_shuffle),
    *(aten.channel_shuffle, aten.native_channel_shuffle, aten.relu, aten.relu_),
}
_ACTIVATIONS = {
    *(aten.relu, aten.relu_, aten.hardtanh, aten.hardtanh_, aten.threshold, aten.threshold_),
    *(aten.leaky_relu, aten.leaky_relu_, aten._prelu_kernel, aten.elu, aten.elu_, aten.gelu),
    *(aten.silu, aten.silu_, aten.hardswish, aten.hardswish_, aten.mish, aten.mish_),
}
_CLAMPS = {aten.clamp, aten.clamp_, aten.clamp_min, aten.clamp_min_}
# What takes rows of a table, which is their first argument.
_LOOKUPS = {aten.embedding, aten._embedding_bag, aten._embedding_bag_forward_only}
_ADDING = {aten.addmm, aten.baddbmm}  # a bias, their first argument, to a product


class LayerWeight(NamedTuple):
    """The weight of a convolution or linear layer, `used` being what it multiplies with.

    bits: the mean of its output channels.
    """

    parameter: Tensor
    used: Tensor
    bits: int | float
    name: str = ""


def weights_at(network: nn.Module, bits: Mapping[str, LayerBits]) -> list[LayerWeight]:
    """Return the weights of the layers of `network` that are named in `bits`."""
    layers = stored_layers(network)
    return [
        LayerWeight(layers[name].weight, layers[name].weight, mean_of(b), name)
        for name, b in bits.items()
    ]


class Factor(NamedTuple):
    """What is multiplied: a weight of a convolution or linear layer, or anything else.

    bits: of its values, 32 in float, on average where they differ. values: how many it has.
    tensor: one number for each tensor of a pass, the same for what only has another shape.
    is_image: whether it is the input of the network, or a part of it. layer: whose weight it is.
    quantizers: which of the quantizers its values come out of, by number; of a weight none.
    """

    is_weight: bool
    bits: int | float
    values: int
    tensor: int
    is_image: bool = False
    layer: str = ""
    quantizers: frozenset[int] = frozenset()


class Product(NamedTuple):
    """A convolution or a product of matrices; `macs` are its multiply-accumulates.

    place: such as `convolution in 'stem'`. terms: of the sum that one value of the output is.
    """

    place: str
    macs: int
    factors: tuple[Factor, Factor]
    terms: int = 1


class Counts(NamedTuple):
    """What happens in a pass of one image.

    functions: places of the activation functions whose output no quantizer sees.
    quantizers: how many quantizers of activations the image passes.
    tables: what rows are looked up in.
    """

    products: tuple[Product, ...]
    functions: tuple[str, ...]
    quantizers: int
    tables: tuple[Factor, ...] = ()


@torch.no_grad()
def count(
    network: nn.Module,
    weights: Sequence[LayerWeight],
    quantizers: Mapping[nn.Module, int],
    image: Tensor,
) -> Counts:
    """Return what a quantized `network` multiplies.

    weights: of all its convolutions and linear layers.
    quantizers: the modules that quantized activations come out of, and their bits.
    image: (1, C, H, W) normalised input, on the device of the network; it passes once.
    """
    pass_ = _Pass(weights, quantizers, image)
    modules = {
        name: module
        for name, module in network.named_modules()
        if not isinstance(module, torch.jit.ScriptModule)
    }
    with (
        _attention_written_out(),
        traced(modules, pass_.enter, pass_.leave),
        traced(pass_.by_number, pass_.enter_quantizer, pass_.leave_quantizer),
        watched(pass_.note),
    ):
        network(image)
    return Counts(
        tuple(pass_.products),
        tuple(pass_.functions.values()),
        pass_.quantizers,
        tuple(pass_.tables),
    )


class _Pass:
    """A pass of one image: its products, and which tensors hold quantized values."""

    def __init__(
        self, weights: Sequence[LayerWeight], quantizers: Mapping[nn.Module, int], image: Tensor
    ) -> None:
        self.products: list[Product] = []
        self.tables: list[Factor] = []
        self.functions: dict[int, str] = {}
        self._function_of: dict[int, int] = {}  # what it came out of, by identity
        self.quantizers = 0
        self.by_number = {str(number): module for number, module in enumerate(quantizers)}
        self._bits_after = list(quantizers.values())
        self._weights = {place_of(weight.used): weight for weight in weights}
        self._copies: dict[int, LayerWeight] = {}  # what is made of weights, by identity
        self._quantized: dict[int, frozenset[int]] = {}  # numbers of quantizers, likewise
        self._same: dict[int, int] = {}  # the identity of what has the same values
        self._image = id(image)
        self._parts_of_image = {id(image)}
        self._alive: list[Tensor] = [image]  # so that no identity is used twice
        self._modules: list[str] = []
        self._within = 0

    def enter(self, name: str, args: Any) -> None:
        self._modules.append(name)

    def leave(self, name: str, args: Any, output: Any) -> None:
        self._modules.pop()

    def enter_quantizer(self, name: str, args: Any) -> None:
        self._within += 1
        self.functions.pop(self._function_of.get(id(args[0]), id(args[0])), None)

    def leave_quantizer(self, name: str, args: Any, output: Any) -> None:
        self._within -= 1
        self.quantizers += 1
        self._quantized[id(output)] = frozenset([int(name)])
        if self._source(args[0]) == self._image:
            self._same[id(output)] = self._image
        self._alive.append(output)

    def note(self, func: Any, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        if self._within:
            return
        kind = getattr(func, "overloadpacket", None)
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        made = [x for x in tree_leaves(output) if isinstance(x, Tensor)]
        self._alive += made
        if kind in flop_registry:
            macs = flop_registry[kind](*args, **kwargs, out_val=output) // 2
            first, second = args[1:3] if kind in _ADDING else args[:2]
            factors = self._factor(first), self._factor(second)
            terms = macs // max(sum(x.numel() for x in made[:1]), 1)
            self.products.append(Product(self._here(kind), macs, factors, max(terms, 1)))
        if kind in _LOOKUPS:
            self.tables.append(self._factor(args[0]))
        if kind in _MOVED:
            self._same |= {id(x): self._source(given[0]) for x in made}
        if kind in _SAME_VALUES and given:
            self._hand_on(given, made)
        else:
            for x in made:  # changed in place
                self._quantized.pop(id(x), None)
        if kind in _ACTIVATIONS or (kind in _CLAMPS and args[1:2] == (0,)):
            self.functions |= {id(x): self._here(kind) for x in made}

    def _factor(self, x: Tensor) -> Factor:
        weight = self._weight(x)
        source = self._source(x)
        if weight is not None:
            return Factor(True, weight.bits, x.numel(), source, layer=weight.name)
        passed = self._quantized.get(id(x), frozenset[int]())
        bits = max((self._bits_after[number] for number in passed), default=FLOAT_BITS)
        is_image = source in self._parts_of_image
        return Factor(False, bits, x.numel(), source, is_image, quantizers=passed)

    def _source(self, x: Tensor) -> int:
        return self._same.get(id(x), id(x))

    def _hand_on(self, given: Sequence[Tensor], made: Sequence[Tensor]) -> None:
        weight = self._weight(given[0])
        if weight is not None and len(given) == 1:
            self._copies |= {id(x): weight for x in made}
        if len(given) == 1:
            origin = self._function_of.get(id(given[0]), id(given[0]))
            if origin in self.functions:
                self._function_of |= {id(x): origin for x in made}
        if all(self._source(x) in self._parts_of_image for x in given):
            self._parts_of_image |= {id(x) for x in made}
        if all(id(x) in self._quantized for x in given):
            passed = frozenset[int]().union(*(self._quantized[id(x)] for x in given))
            self._quantized |= {id(x): passed for x in made}

    def _weight(self, x: Tensor) -> LayerWeight | None:
        return self._copies.get(id(x), self._weights.get(place_of(x)))

    def _here(self, kind: Any) -> str:
        name = str(kind).removeprefix("aten.").strip("_")
        module = self._modules[-1] if self._modules else ""
        return f"{name} in {module!r}" if module else f"{name} in forward()"


@contextmanager
def _attention_written_out() -> Iterator[None]:
    """Compute attention as separate products inside; as one operation they are not counted."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
