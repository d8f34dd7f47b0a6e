"""A network with gated quantizers: where they start, and what their gates come to."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from models.errors import BenchError
from models.qat import gates
from models.qat.gated import GatedQuantizer
from models.qat.layers import QuantizedLayer
from models.qat.network import quantized_layers
from models.qat.quantizer import SMALLEST_STEP
from models.tracing import replaced, traced


@dataclass(frozen=True)
class Start:
    """Where gated quantizers start.

    phi: of the gates of the widths, ascending. pruning: whether output channels of all weights but
        the last layer's have gates.
    release: ranges start at the largest value, which cuts what is further below 0 than that, and
        gates may be shut for good, both as in the release; else at the largest magnitude, and no
        gate is (`GatedQuantizer`).
    """

    phi: tuple[float, ...]
    pruning: bool
    release: bool


class Gated(NamedTuple):
    """A gated quantizer; what it quantizes is the `weight` or the `input` of a layer."""

    layer: str
    part: str
    quantizer: GatedQuantizer

    @property
    def what(self) -> str:
        """In words, such as `the weight of 'stem'`."""
        return f"the {self.part} of {self.layer!r}"


def gated_quantizers(network: nn.Module) -> list[Gated]:
    """Return the gated quantizers of `network`, by layer in registration order, inputs first."""
    return [each for n, layer in quantized_layers(network).items() for each in _of_layer(n, layer)]


def _of_layer(name: str, layer: QuantizedLayer) -> list[Gated]:
    parts = {"input": layer.input_quantizer, "weight": layer.weight_quantizer}
    return [Gated(name, part, q) for part, q in parts.items() if isinstance(q, GatedQuantizer)]


@torch.no_grad()
def start(network: nn.Module, images: Tensor, where: Start) -> None:
    """Set gates and ranges of `network` as `where` says, and the shares of its quantizers.

    images: (N, C, H, W) normalised; they pass once in eval mode, each layer computing with the
    ranges that it then has.
    """
    for _, _, quantizer in gated_quantizers(network):
        quantizer.phi.copy_(quantizer.phi.new_tensor(where.phi))
        quantizer.xmax.fill_(torch.nan)
        quantizer.release = where.release
    layers = quantized_layers(network)
    macs: dict[str, int] = {}

    def begin(name: str, args: Any) -> None:
        for _, part, quantizer in _of_layer(name, layers[name]):
            x = args[0] if part == "input" else layers[name].weight
            seen = (x if where.release else x.abs()).max()
            largest = torch.maximum(quantizer.xmax.nan_to_num(0.0), seen)
            # Of what is 0 alone any range will do.
            quantizer.xmax.copy_(torch.where(largest > 0, largest, 1.0))

    def note(name: str, args: Any, output: Tensor) -> None:
        layer = layers[name]
        of_image = output.numel() // len(images) * layer.weight[0].numel()
        macs[name] = macs.get(name, 0) + of_image

    with traced(layers, before=begin, after=note), _in_use(network):
        network(images)
    called = list(macs)
    for name, _, quantizer in gated_quantizers(network):
        quantizer.price_share = macs.get(name, 0) / max(macs.values())
        if not where.pruning or name == called[-1]:
            quantizer.phi_channels = None


def check_ranges(network: nn.Module) -> None:
    """Raise BenchError, naming the first, for a range that has shrunk to nothing."""
    quantizers = gated_quantizers(network)
    ranges = torch.stack([each.quantizer.xmax.detach() for each in quantizers]).tolist()
    for each, xmax in zip(quantizers, ranges, strict=True):
        if not xmax > SMALLEST_STEP:
            raise BenchError(
                f"the learned range of {each.what} has collapsed to {xmax:.2g}; lower the learning "
                "rate of the ranges (method.schedule.quantizer_rate), or method.mu"
            )


@torch.no_grad()
def prune(network: nn.Module, image: Tensor) -> list[str]:
    """Find out what is left to compute once channels are pruned; return layers without any.

    Each gated weight is told which share of each output channel matters (`GatedQuantizer.shares`):
    none of one that is pruned, and of others what multiplies inputs that depend on the image. A
    pruned output is a constant, its bias, and so is what follows from constants alone.

    image: (1, C, H, W) normalised; it passes once.
    Raises BenchError where the output of `network` no longer depends on the image.
    """
    layers = quantized_layers(network)
    empty = [
        name
        for name, layer in layers.items()
        if isinstance(layer.weight_quantizer, GatedQuantizer) and not _kept(layer).any()
    ]
    output = _marked(network, layers, image)
    if not bool(output.isnan().any()):
        names = ", ".join(map(repr, empty[:3])) or "no layer alone"
        raise BenchError(
            f"the gates of all output channels of {names} are shut, so the network gives every "
            "image the same logits; lower method.mu, or give method.pruning=false"
        )
    return empty


def _kept(layer: QuantizedLayer) -> Tensor:
    """Return which output channels of a layer are not pruned, (out,) bool."""
    quantizer = layer.weight_quantizer
    kept = quantizer.kept() if isinstance(quantizer, GatedQuantizer) else None
    return layer.weight.new_ones(len(layer.weight), dtype=torch.bool) if kept is None else kept


def _marked(network: nn.Module, layers: Mapping[str, QuantizedLayer], image: Tensor) -> Tensor:
    """Return the output of `network`, NaN where it depends on the image.

    NaN stands for what does: whatever is computed with it is NaN again. A layer marks the outputs
    that are kept and see a marked input.
    """

    def wrap(layer: QuantizedLayer, forward: Any) -> Any:
        def marking(x: Tensor) -> Tensor:
            axis = 1 if layer.weight.dim() > 2 else x.dim() - 1
            others = [at for at in range(x.dim()) if at != axis]
            pairs = _pairs(layer, x.isnan().amax(others)) & _kept(layer)[:, None]
            quantizer = layer.weight_quantizer
            if isinstance(quantizer, GatedQuantizer):
                quantizer.shares = pairs.float().mean(1).tolist()
            output: Tensor = forward(torch.zeros_like(x))
            marked = output.new_zeros(len(pairs)).masked_fill(pairs.any(1), torch.nan)
            at_last = axis == x.dim() - 1
            return torch.zeros_like(output) + (marked if at_last else marked[:, None, None])

        return marking

    with replaced(layers.values(), wrap), _in_use(network):
        output: Tensor = network(torch.full_like(image, torch.nan))
    return output


@contextmanager
def _in_use(network: nn.Module) -> Iterator[None]:
    """Inside, `network` is in eval mode: what passes is no batch to learn from."""
    mode = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(mode)


def _pairs(layer: QuantizedLayer, inputs: Tensor) -> Tensor:
    """Return for each output channel which of its inputs are in `inputs`, (in,) bool: (out, n)."""
    groups = getattr(layer, "groups", 1)
    outputs = len(layer.weight)
    return inputs.view(groups, 1, -1).expand(-1, outputs // groups, -1).reshape(outputs, -1)


@torch.no_grad()
def mean_probabilities(quantizers: Sequence[Gated]) -> dict[str, Tensor]:
    """Return the mean probability that a gate is not 0, each (), by what it is a gate of.

    Such as `gates of weights/4 bits` and `gates of channels/all`: what stands before the slash
    belongs together.
    """
    found: dict[str, list[Tensor]] = {}
    for each in quantizers:
        quantizer = each.quantizer
        of_widths = gates.probability(quantizer.phi).unbind()
        for width, value in zip(quantizer.gated_widths, of_widths, strict=True):
            found.setdefault(f"gates of {each.part}s/{width} bits", []).append(value)
        if quantizer.phi_channels is not None:
            of_channels = gates.probability(quantizer.phi_channels).mean()
            found.setdefault("gates of channels/mean of all layers", []).append(of_channels)
    return {name: torch.stack(values).mean() for name, values in found.items()}


@torch.no_grad()
def layer_gates(network: nn.Module) -> dict[str, dict[str, Any]]:
    """Return of each layer the probabilities that its gates are not 0, as JSON.

    `weight` and `input` have one a width; `channels` is the mean of the output channels.
    """
    told: dict[str, dict[str, Any]] = {}
    for name, part, quantizer in gated_quantizers(network):
        of_layer, widths = told.setdefault(name, {}), map(str, quantizer.gated_widths)
        probabilities = _rounded(gates.probability(quantizer.phi))
        of_layer[part] = dict(zip(widths, probabilities, strict=True))
        if quantizer.phi_channels is not None:
            of_channels = gates.probability(quantizer.phi_channels).mean()
            of_layer["channels"] = _rounded(of_channels[None])[0]
    return told


def _rounded(values: Tensor) -> list[float]:
    return [round(value, 4) for value in values.tolist()]
