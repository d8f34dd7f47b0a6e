"""Weight factorization (Meller et al., "Same, Same But Different", ICML 2019).

The output channels of a layer are multiplied by factors that the layers which read them undo, so
that no channel has much smaller weights and activations than the largest, whose grid it shares. The
network computes the same. Written from the paper and from what the authors' release computes
(icml2019/equalization, equalization.py).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.errors import NotApplicable
from models.quantize.activation import weighted_layers
from models.quantize.bias import by_group
from models.quantize.equalise import (
    BoundedReLU,
    Pair,
    bound_relu6,
    candidates,
    divide_output,
    input_ranges,
    multiply_input,
    output_ranges,
)
from models.quantize.spec import QuantSpec
from models.tracing import traced

_LARGEST = 16.0  # factor
_LEAST = 1e-30  # of a divisor
_TOLERANCE = 1e-4  # of the largest output
_BATCH = 32  # images at a time through the network


class Extrema(NamedTuple):
    """Of each output channel of a layer, (C,): the largest output of the activation behind it, and
    the smallest before it.
    """

    largest: Tensor
    smallest: Tensor


def check_equalise(spec: QuantSpec) -> None:
    """Raise NotApplicable for a recipe whose other parts have no meaning with factors."""
    key = f"quant.equalise={spec.equalise}"
    if not spec.fold:
        raise NotApplicable(f"{key} rescales what BatchNorm would scale back: add quant.fold=true")
    if spec.bias_correction == "data_free":
        raise NotApplicable(
            f"{key} rescales the inputs whose means BatchNorm says, for "
            "quant.bias_correction=data_free; use empirical"
        )
    if spec.is_mixed:
        raise NotApplicable(
            f"{key}: quant=mixed chooses bits by the weights as they are before; use none"
        )


@torch.no_grad()
def factorise(network: nn.Module, images: Tensor, two_step: bool) -> list[str]:
    """Multiply output channels of the layers of `network` by their factors, in place.

    Layers are taken in the order of their calls, each with the weights that the ones before have
    left it; activations are those on `images`, (N, 3, H, W) normalised. A layer has factors where
    its output goes, through at most one ReLU or ReLU6, to convolutions or linear layers only: the
    release also goes through pooling, concatenation and residual additions, here such layers stay
    as they are. A ReLU6 gets bounds that are scaled with its channels, where the release keeps 6
    and no factor below 0.7. Depthwise layers have no factors of their own, as in the release, which
    takes the largest weight of their whole kernel for that of each channel.

    two_step: whether channels may be made smaller first; see `factors`.

    Returns the names of the layers that have factors. Raises NotApplicable where there is none.
    """
    layers = weighted_layers(network)
    fans = _fans(network, images[:1])
    extrema = _extrema(network, [fan[0] for fan in fans], images)
    for fan in fans:
        first = layers[fan[0].first]
        readers = [input_ranges(layers[pair.second]) for pair in fan]
        found = factors(output_ranges(first), extrema[fan[0].first], readers if two_step else [])
        _rescale(network, fan, 1 / found)
    if not fans:
        raise NotApplicable(
            "quant.equalise: no layer's output goes to convolutions or linear layers alone, so "
            "that no channel can be rescaled; use none"
        )
    return [fan[0].first for fan in fans]


def factors(weights: Tensor, extrema: Extrema, readers: Sequence[Tensor] = ()) -> Tensor:
    """Return the factor of each output channel of a layer, (C,).

    It is the largest, up to 16, with which neither the channel's weights nor its activations get
    larger than those of the channel with the largest, and its most negative input of the activation
    no larger than that either; 1 or more, as nothing is larger than the largest.

    readers: with two steps, max |w| of each input channel, (C,), of each layer that reads the
        output. Of two or more the largest share that one has of its own layer's maximum weighs the
        channel: the largest are then looked for among channels so weighted, and one that is large
        only where it matters little is made smaller. With one reader nothing changes, as in the
        release.

    weights: max |w| of each output channel, (C,).
    """
    share = torch.ones_like(weights)
    if len(readers) > 1:
        share = torch.stack([r / r.amax().clamp(min=_LEAST) for r in readers]).amax(0)
    largest = extrema.largest.abs()
    activation, weight = (largest * share).amax(), (weights * share).amax()
    if not (activation > 0 and weight > 0):
        return torch.ones_like(weights)
    of_output = (activation / largest.clamp(min=_LEAST)).clamp(max=_LARGEST)
    of_input = (activation / extrema.smallest.abs().clamp(min=_LEAST)).clamp(min=1)
    of_weight = weight / weights.clamp(min=_LEAST)
    return torch.minimum(of_weight, torch.minimum(of_output, of_input))


def _fans(network: nn.Module, image: Tensor) -> list[list[Pair]]:
    """Return for each layer that can have factors its pairs, one for each layer that reads it.

    As in `find_pairs`, factors of 2 and 1/2 must leave the network's output as it is. Each ReLU6
    behind one of them becomes a `BoundedReLU`, in place.
    """
    expected = network(image)
    layers = weighted_layers(network)
    by_first: dict[str, list[Pair]] = {}
    for pair in candidates(network, image):
        by_first.setdefault(pair.first, []).append(pair)
    fans = []
    for name, pairs in by_first.items():
        first = layers[name]
        if len({pair.activation for pair in pairs}) > 1 or len(by_group(first, first.weight)) > 1:
            continue
        bound_relu6(network, pairs[0])
        scale = first.weight.new_full((len(first.weight),), 2.0)
        scale[1::2] = 0.5
        _rescale(network, pairs, scale)
        difference = (network(image) - expected).abs().max()
        _rescale(network, pairs, 1 / scale)
        if bool(difference <= _TOLERANCE * expected.abs().max()):
            fans.append(pairs)
    return fans


def _rescale(network: nn.Module, pairs: Sequence[Pair], scale: Tensor) -> None:
    divide_output(network, pairs[0], scale)
    layers = weighted_layers(network)
    for second in dict.fromkeys(pair.second for pair in pairs):
        multiply_input(layers[second], scale)


def _extrema(network: nn.Module, pairs: Sequence[Pair], images: Tensor) -> dict[str, Extrema]:
    """Return the extrema of the first layer of each pair on `images`, by name."""
    layers = weighted_layers(network)
    ends: dict[str, tuple[Tensor, Tensor]] = {}

    def note(name: str, args: object, output: Tensor) -> None:
        channels = output.transpose(0, 1 if isinstance(layers[name], nn.Conv2d) else -1).flatten(1)
        low, high = torch.aminmax(channels, dim=1)
        if name in ends:
            low, high = torch.minimum(low, ends[name][0]), torch.maximum(high, ends[name][1])
        ends[name] = low, high

    with traced({pair.first: layers[pair.first] for pair in pairs}, after=note):
        for batch in images.split(_BATCH):
            network(batch)
    found = {}
    for pair in pairs:
        low, high = ends[pair.first]
        if pair.activation is not None:
            activation = network.get_submodule(pair.activation)
            high = high.clamp(min=0)
            if isinstance(activation, BoundedReLU):
                high = torch.minimum(high, activation.bound)
        found[pair.first] = Extrema(high, low)
    return found
