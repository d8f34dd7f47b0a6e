"""Cross-layer equalisation and bias absorption (Nagel et al., ICCV 2019, section 4.1)."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from models.quantize.activation import weighted_layers
from models.quantize.bias import add_to_bias, by_group, response
from models.quantize.moments import Normal
from models.tracing import traced

_ROUNDS = 1000
_CONVERGED = 1e-4  # the largest relative change of a channel's scale in a round
_TOLERANCE = 1e-4  # of the largest output
_SIGMAS = 3  # below the mean, where a ReLU is taken to be linear

Layer = nn.Conv2d | nn.Linear


class Pair(NamedTuple):
    """Two layers, by name, the second of which alone reads the output of the first.

    activation: the ReLU or ReLU6 module between them, where there is one; nothing else is.
    """

    first: str
    second: str
    activation: str | None


class BoundedReLU(nn.ReLU6):
    """min(max(x, 0), bound), one bound a channel: what a ReLU6 is once its channels are scaled."""

    bound: Tensor

    def __init__(self, bound: Tensor):
        super().__init__()
        self.register_buffer("bound", bound)

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` (N, C, ...) between 0 and the bounds."""
        return torch.minimum(torch.relu(x), self.bound.view(-1, *[1] * (x.dim() - 2)))


def replace_relu6(network: nn.Module) -> None:
    """Put a ReLU in the place of each ReLU6 module, in place."""
    relus: dict[nn.Module, nn.Module] = {}
    for name, module in list(network.named_modules(remove_duplicate=False)):
        if isinstance(module, nn.ReLU6):
            network.set_submodule(name, relus.setdefault(module, nn.ReLU(module.inplace)))


@torch.no_grad()
def find_pairs(network: nn.Module, images: Tensor) -> list[Pair]:
    """Return the pairs of `network`, whose BatchNorms are folded, in the order of their calls.

    images: (N, 3, H, W) normalised input, run once to see which tensor goes where, and once for
    each candidate: scaling its channels by 2 and 1/2 must not change the network's output, or the
    tensor between the two layers is used elsewhere too, such as by a residual connection.

    Each ReLU6 in a pair becomes a `BoundedReLU` with bounds of 6, in place.
    """
    expected = network(images)
    layers = weighted_layers(network)
    pairs = []
    for pair in candidates(network, images):
        first = layers[pair.first]
        bound_relu6(network, pair)
        scale = first.weight.new_full((len(first.weight),), 2.0)
        scale[1::2] = 0.5  # powers of two, which change no mantissa and are taken back exactly
        _rescale(network, pair, scale)
        difference = (network(images) - expected).abs().max()
        _rescale(network, pair, 1 / scale)
        if bool(difference <= _TOLERANCE * expected.abs().max()):
            pairs.append(pair)
    return pairs


@torch.no_grad()
def equalise(
    network: nn.Module, pairs: list[Pair], outputs: Mapping[str, Normal]
) -> dict[str, Normal]:
    """Scale the channels between the layers of each pair until their weights span the same.

    s_i = sqrt(r1_i r2_i) / r2_i divides the output channel i of the first layer, and multiplies
    the input channel i of the second, r being max |w| of the channel; over all pairs, until no
    scale changes by more than 1e-4, at most 1,000 times. A channel that is 0 in one of the layers
    stays as it is. In place; the network computes the same.

    outputs: statistics of layers' outputs by name; returned as they are after the scaling.
    """
    layers = weighted_layers(network)
    scales = {p.first: layers[p.first].weight.new_ones(len(layers[p.first].weight)) for p in pairs}
    for _ in range(_ROUNDS):
        change = 0.0
        for pair in pairs:
            r1, r2 = output_ranges(layers[pair.first]), input_ranges(layers[pair.second])
            scale = torch.where((r1 > 0) & (r2 > 0), torch.sqrt(r1 * r2) / r2, 1)
            _rescale(network, pair, scale)
            scales[pair.first] *= scale
            change = max(change, float((scale - 1).abs().max()))
        if change < _CONVERGED:
            break
    return dict(outputs) | {
        name: Normal(outputs[name].mean / scale, outputs[name].deviation / scale)
        for name, scale in scales.items()
        if name in outputs
    }


@torch.no_grad()
def absorb_bias(
    network: nn.Module, pairs: list[Pair], outputs: Mapping[str, Normal]
) -> dict[str, Normal]:
    """Move the part of a bias that a ReLU always lets through to the next layer, in place.

    c = max(0, beta - 3 gamma) is taken from the first layer's bias (and from the bound of a
    `BoundedReLU`, which c does not exceed), and what the second layer makes of c is added to its
    own. The network computes the same wherever the first output is at least c, which holds for
    99.865 % of normal values, and where the second layer does not pad: at borders the padding
    stays 0 where it would have to become -c.

    outputs: statistics of layers' outputs by name; returned as they are afterwards.
    """
    layers = weighted_layers(network)
    shifted = dict(outputs)
    for pair in pairs:
        if pair.activation is None or pair.first not in shifted:
            continue
        mean, deviation = shifted[pair.first]
        surplus = (mean - _SIGMAS * deviation).clamp(min=0)
        activation = network.get_submodule(pair.activation)
        if isinstance(activation, BoundedReLU):
            surplus = torch.minimum(surplus, activation.bound)
            activation.bound -= surplus
        second = layers[pair.second]
        add_to_bias(layers[pair.first], -surplus)
        add_to_bias(second, response(second, second.weight, surplus))
        shifted[pair.first] = Normal(mean - surplus, deviation)
    return shifted


def output_ranges(layer: Layer) -> Tensor:
    """Return max |w| of each output channel of `layer`, (out,)."""
    return layer.weight.detach().abs().flatten(1).amax(1)


def input_ranges(layer: Layer) -> Tensor:
    """Return max |w| of each input channel of `layer`, (in,), whatever its groups."""
    weight = by_group(layer, layer.weight).abs()
    return weight.amax([d for d in range(weight.dim()) if d not in (0, 2)]).flatten()


def bound_relu6(network: nn.Module, pair: Pair) -> None:
    """Make the ReLU6 between two layers, where there is one, a `BoundedReLU` with bounds of 6."""
    if pair.activation and type(network.get_submodule(pair.activation)) is nn.ReLU6:
        weight = weighted_layers(network)[pair.first].weight
        network.set_submodule(pair.activation, BoundedReLU(weight.new_full((len(weight),), 6.0)))


def _rescale(network: nn.Module, pair: Pair, scale: Tensor) -> None:
    """Divide what leaves the first layer by `scale` (C,), and undo it in the second."""
    divide_output(network, pair, scale)
    multiply_input(weighted_layers(network)[pair.second], scale)


def divide_output(network: nn.Module, pair: Pair, scale: Tensor) -> None:
    """Divide what leaves the first layer of a pair, and the activation behind it, by `scale` (C,).

    In place; a ReLU6 must be a `BoundedReLU`.
    """
    first = weighted_layers(network)[pair.first]
    first.weight.div_(scale.view(-1, *[1] * (first.weight.dim() - 1)))
    if first.bias is not None:
        first.bias.div_(scale)
    if pair.activation is not None:
        activation = network.get_submodule(pair.activation)
        if isinstance(activation, BoundedReLU):
            activation.bound /= scale


def multiply_input(layer: Layer, scale: Tensor) -> None:
    """Multiply the weights of each input channel of `layer` by `scale` (C,), in place."""
    weight = by_group(layer, layer.weight)
    weight.mul_(scale.view(len(weight), 1, -1, *[1] * (weight.dim() - 3)))


def candidates(network: nn.Module, images: Tensor) -> list[Pair]:
    """Return the pairs between which one tensor passes, each layer and ReLU6 called once.

    The version of a tensor tells whether something has changed it in place on the way.
    """
    layers = weighted_layers(network)
    kinds = nn.Conv2d | nn.Linear | nn.ReLU | nn.ReLU6
    modules = {n: m for n, m in network.named_modules() if isinstance(m, kinds)}
    outputs: list[tuple[Tensor, int, Pair]] = []  # tensors are kept, so that no identity returns
    waiting: dict[str, list[Pair]] = {}
    calls: Counter[str | None] = Counter()
    pairs: list[Pair] = []

    def origins(x: Tensor) -> list[Pair]:
        return [pair for tensor, version, pair in outputs if tensor is x and version == x._version]

    def before(name: str, args: Any) -> None:
        calls[name] += 1
        if name in layers:
            pairs.extend(pair._replace(second=name) for pair in origins(args[0]))
        else:
            linear = [pair for pair in origins(args[0]) if pair.activation is None]
            waiting[name] = [pair._replace(activation=name) for pair in linear]

    def after(name: str, args: Any, output: Tensor) -> None:
        new = [Pair(name, "", None)] if name in layers else waiting[name]
        outputs.extend((output, output._version, pair) for pair in new)

    with traced(modules, before, after):
        network(images)
    return [
        pair
        for pair in pairs
        if calls[pair.first] == calls[pair.second] == 1
        and isinstance(layers[pair.first], nn.Conv2d) == isinstance(layers[pair.second], nn.Conv2d)
        and (calls[pair.activation] <= 1 or _is_relu(network, pair))
    ]


def _is_relu(network: nn.Module, pair: Pair) -> bool:
    return pair.activation is not None and isinstance(
        network.get_submodule(pair.activation), nn.ReLU
    )
