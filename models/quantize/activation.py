"""Activation quantizers and the places of a network where they sit."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from models.errors import NotApplicable
from models.quantize.grid import GRIDS, Grid, fake_quantize
from models.quantize.ranges import estimate


class ActivationQuantizer(nn.Module):
    """Observe the range of what passes, then quantize to it.

    The running range starts at 0 (so it always contains it) and takes the smallest lower and the
    largest upper end that the range estimator gives, as in the ZeroQ release (quant_modules.py,
    QuantAct). While observing, each tensor is already quantized with the range it has just widened,
    so that layers further on see quantized input. Unlike the release, a range that stays empty (a
    ReLU that is dead on every calibration image) quantizes to 0 (within 1e-8) for good instead of
    following each evaluation batch, because a number must not depend on the batch size.

    After `freeze` the forward pass is branch-free tensor arithmetic on buffers.

    channel_dim: with one range a channel, the axis that holds them: 1 in (N, C) and (N, C, H, W),
        -1 of what a linear layer sees, (N, ..., C).

    Raises NotApplicable when, with one range a channel, tensors of different channels pass, or a
    tensor of which it is not known which axis holds them.
    """

    low: Tensor
    high: Tensor

    def __init__(
        self,
        bits: int,
        scheme: str,
        granularity: str,
        range_estimator: str = "minmax",
        channel_dim: int = 1,
    ):
        super().__init__()
        self.bits = bits
        self.scheme = scheme
        self.range_estimator = range_estimator
        self.channel_dim = channel_dim if granularity == "channel" else None
        self.observing = True
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.zeros(()))
        for name in Grid._fields:
            self.register_buffer(name, torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.observing:
            if self.channel_dim == 1 and x.dim() not in (2, 4):
                raise NotApplicable(
                    f"quant.a_granularity=channel: an activation of shape {tuple(x.shape)} passes, "
                    "and which of its axes holds the channels is not known; use tensor"
                )
            low, high = estimate(
                x.detach(), self.range_estimator, self.bits, self.channel_dim, self.scheme, True
            )
            if self.low.dim() and self.low.shape != low.shape:
                raise NotApplicable(
                    f"quant.a_granularity=channel: one activation module of the network serves "
                    f"{self.low.numel()} and {low.numel()} channels, which cannot share ranges"
                )
            self.low, self.high = torch.minimum(self.low, low), torch.maximum(self.high, high)
            self._set_grid()
        return fake_quantize(x, self.grid)

    @property
    def grid(self) -> Grid:
        """What values are quantized to, with the range seen so far."""
        return Grid(*(getattr(self, name) for name in Grid._fields))

    def freeze(self) -> None:
        """Keep the range seen so far for every later tensor."""
        self.observing = False

    def set_range(self, low: Tensor, high: Tensor) -> None:
        """Keep [low, high], widened to contain 0, for every later tensor.

        low, high: scalars, or with one range a channel shaped to broadcast with what passes.
        """
        self.low, self.high = low.clamp(max=0), high.clamp(min=0)
        self._set_grid()
        self.freeze()

    def _set_grid(self) -> None:
        grid = GRIDS[self.scheme](self.low, self.high, self.bits)
        for name, value in zip(Grid._fields, grid, strict=True):
            setattr(self, name, value)


def _quantize_output(module: nn.Module, args: Any, output: Tensor) -> Tensor:
    return module.get_submodule("output_quantizer")(output)


def _quantize_input(module: nn.Module, args: Any) -> Any:
    return (module.get_submodule("input_quantizer")(args[0]), *args[1:])


def weighted_layers(network: nn.Module) -> dict[str, nn.Conv2d | nn.Linear]:
    """Return the convolutions and linear layers of `network` by name, in registration order.

    One whose weight is no parameter, because it computes it, is not among them.
    """
    layers = {n: m for n, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    return {n: m for n, m in layers.items() if isinstance(m.weight, nn.Parameter)}


Table = nn.Embedding | nn.EmbeddingBag


def tables_of(network: nn.Module) -> dict[str, Table]:
    """Return the tables of embeddings of `network` by name, in registration order.

    Their weights are looked up, and multiply nothing.
    """
    return {
        n: m for n, m in network.named_modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag)
    }


def stored_layers(network: nn.Module) -> dict[str, nn.Conv2d | nn.Linear | Table]:
    """Return the layers whose weights are quantized, by name, in registration order: those of
    `weighted_layers`, and tables of embeddings.
    """
    layers = {**weighted_layers(network), **tables_of(network)}
    return {name: layers[name] for name, _ in network.named_modules() if name in layers}


def channel_axis(module: nn.Module) -> int:
    """Return the axis that holds the channels of what passes a quantizer at `module`."""
    return -1 if isinstance(module, nn.Linear) else 1


def sites_of(network: nn.Module, sites: str) -> list[str]:
    """Return the names of the modules that `sites` ("relu" or "all") puts a quantizer at.

    Other sites are of `models.quantize.places`.
    """
    kinds = (nn.ReLU, nn.ReLU6) if sites == "relu" else (nn.Conv2d, nn.Linear)
    return [name for name, module in network.named_modules() if isinstance(module, kinds)]


def attach(network: nn.Module, sites: str, quantizers: Mapping[str, ActivationQuantizer]) -> None:
    """Put each quantizer at the module it is named for, in place.

    It sits at the module's output for sites "relu", at its input for "all". Hooks are used, not
    wrapper modules: attribute paths and state-dict keys of the network stay as they are, and a
    module used twice (a shared ReLU) keeps one range.
    """
    for name, quantizer in quantizers.items():
        module = network.get_submodule(name)
        if sites == "relu":
            module.add_module("output_quantizer", quantizer)
            module.register_forward_hook(_quantize_output)
        else:
            module.add_module("input_quantizer", quantizer)
            module.register_forward_pre_hook(_quantize_input)
