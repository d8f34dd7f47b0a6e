"""Layers that compute with quantized weights and inputs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Self, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.qat.quantizer import Quantizer


def is_depthwise(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Return whether `module` is a convolution whose every input channel has its own kernels."""
    return isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1


class Switchable(nn.Module):
    """A part of a network that is used at one of several bit-widths.

    choices: the bit-widths there are, in descending order. chosen: the one in use, which
    `models.qat.network.set_bits` sets.
    """

    choices: tuple[int, ...]
    chosen: int


class _CachedWeight(NamedTuple):
    """A quantized weight, and the leaf of the graph that layers compute with in its place."""

    quantized: Tensor
    leaf: Tensor


class QuantizedLayer(Switchable):
    """A convolution or linear layer whose weight and input are quantized at the current bits.

    It takes over the parameters and options of the layer it replaces, so `weight` and `bias` keep
    their names in the state dict. The bias stays float.

    fixed_bits: the bit-width of a layer that has one whatever is chosen; else None.
    fixed_input_bits: likewise of its input.
    input_quantizer: None where the input is left as it comes.
    input_values: how many values the layer reads for an image, 0 where it is not known.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None
    weight_quantizer: Quantizer
    input_quantizer: Quantizer | None
    fixed_bits: int | None
    fixed_input_bits: int | None
    input_values: int = 0
    cache: dict[int, _CachedWeight] | None

    @classmethod
    def replacing(
        cls,
        layer: nn.Module,
        choices: Sequence[int],
        fixed_bits: int | None,
        weight_quantizer: Quantizer,
        input_quantizer: Quantizer | None,
        fixed_input_bits: int | None,
    ) -> Self:
        """Return the layer that stands in for `layer`, at the first of `choices`."""
        new = cls.__new__(cls)
        # Its parameters, buffers, options and hooks; `layer` keeps its own tables of them.
        state = {k: v.copy() if isinstance(v, dict) else v for k, v in layer.__dict__.items()}
        new.__dict__.update(state)
        new.choices = tuple(choices)
        new.chosen = new.choices[0]
        new.fixed_bits = fixed_bits
        new.fixed_input_bits = fixed_input_bits
        new.weight_quantizer = weight_quantizer
        new.input_quantizer = input_quantizer
        new.cache = None
        return new

    @property
    def bits(self) -> int:
        """The bit-width of the weight in use."""
        return self.chosen if self.fixed_bits is None else self.fixed_bits

    @property
    def input_bits(self) -> int:
        """The bit-width of the input in use, where it is quantized."""
        return self.chosen if self.fixed_input_bits is None else self.fixed_input_bits

    def quantized_weight(self, chosen: int | None = None) -> Tensor:
        """Return the weight as it is used when `chosen` is (None: now); shape of the weight.

        Within `quantized_weights`, the same tensor each time.
        """
        bits = self.bits if chosen is None or self.fixed_bits is not None else chosen
        if self.cache is None:
            quantized: Tensor = self.weight_quantizer(self.weight, bits)
            return quantized
        if bits not in self.cache:
            # Also where no gradients are recorded: a later use within the step may need them.
            with torch.enable_grad():
                quantized = self.weight_quantizer(self.weight, bits)
            leaf = quantized.detach().requires_grad_(quantized.requires_grad)
            self.cache[bits] = _CachedWeight(quantized, leaf)
        return self.cache[bits].leaf

    @torch.no_grad()
    def freeze(self) -> None:
        """Quantize the weight once, at the current bits, for evaluation from now on."""
        weight = self.weight_quantizer(self.weight, self.bits).detach()
        self.cache = {self.bits: _CachedWeight(weight, weight)}

    def quantized_input(self, x: Tensor) -> Tensor:
        if self.input_quantizer is None:
            return x
        quantized: Tensor = self.input_quantizer(x, self.input_bits)
        return quantized


class QuantizedConv2d(QuantizedLayer, nn.Conv2d):  # type: ignore[misc]
    """nn.Conv2d on quantized values."""

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(self.quantized_input(x), self.quantized_weight(), self.bias)


class QuantizedConv2dSame(QuantizedConv2d):
    """timm's Conv2dSame (TensorFlow's "SAME" padding) on quantized values."""

    def forward(self, x: Tensor) -> Tensor:
        from timm.layers import pad_same

        # Padding with zeros commutes with quantization: 0 is on every grid of activations.
        padded = pad_same(x, list(self.kernel_size), list(self.stride), list(self.dilation))
        return super().forward(padded)


class QuantizedLinear(QuantizedLayer, nn.Linear):  # type: ignore[misc]
    """nn.Linear on quantized values."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(self.quantized_input(x), self.quantized_weight(), self.bias)


class QuantizedOutput(Switchable):
    """An activation function whose output is quantized at the current bits.

    fixed_bits: the bit-width it has whatever is chosen, or None.
    """

    def __init__(
        self,
        function: nn.Module,
        choices: Sequence[int],
        quantizer: Quantizer,
        fixed_bits: int | None,
    ) -> None:
        super().__init__()
        self.function = function
        self.choices = tuple(choices)
        self.chosen = self.choices[0]
        self.quantizer = quantizer
        self.fixed_bits = fixed_bits

    @property
    def bits(self) -> int:
        """The bit-width in use."""
        return self.chosen if self.fixed_bits is None else self.fixed_bits

    def forward(self, x: Tensor) -> Tensor:
        quantized: Tensor = self.quantizer(self.function(x), self.bits)
        return quantized


REPLACEMENTS: dict[str, type[QuantizedLayer]] = {
    "Conv2d": QuantizedConv2d,
    "Conv2dSame": QuantizedConv2dSame,
    "Linear": QuantizedLinear,
}
"""By the name of the class replaced; other sub-classes may change the weight before its use."""


@contextmanager
def quantized_weights(network: nn.Module) -> Iterator[None]:
    """Quantize each weight of `network` at most once a bit-width while within the context.

        with quantized_weights(network):
            for bits in (8, 4, 2):
                set_bits(network, bits)
                loss(network(images)).backward()
        optimizer.step()

    Backward passes within it collect the gradients of the quantized weights; they go on to the
    weights and their learned steps, all at once, when the context is left (not after an error).
    Where one weight served several passes at the same bit-width, the surrogate gradient so sees
    the sum of their gradients. Do not change weights within the context. Nested contexts are one.
    """
    layers = [m for m in network.modules() if isinstance(m, QuantizedLayer) and m.cache is None]
    for layer in layers:
        layer.cache = {}
    try:
        yield
        weights = [each for layer in layers for each in (layer.cache or {}).values()]
        reached = [each for each in weights if each.leaf.grad is not None]
        if reached:
            torch.autograd.backward(
                [each.quantized for each in reached], [each.leaf.grad for each in reached]
            )
    finally:
        for layer in layers:
            layer.cache = None
