"""What a search decides one after the other, and what the agent is told of each."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.quantize.activation import weighted_layers
from models.quantize.counting import Product
from models.quantize.prices import Prices, layer_of
from models.quantize.spec import MIXED, QuantSpec


class Decision(NamedTuple):
    """The bits of the weight of a layer, or of a quantizer of activations.

    name: of the layer, or of the quantizer's place. is_input: whether it is a quantizer.
    layer: whose weight it is, or whose input the quantizer is first.
    candidates: what may be chosen.
    """

    name: str
    is_input: bool
    layer: str
    candidates: tuple[int, ...]


def decisions(prices: Prices, spec: QuantSpec, fixed: Sequence[str]) -> list[Decision]:
    """Return what `spec` leaves open: in the order of calls each weight, then the layer's input.

    prices: of the network. fixed: layers and places that have bits of their own.
    """
    found: dict[tuple[str, bool], Decision] = {}
    for product in prices.products:
        layer = layer_of(product)
        if spec.w_bits == MIXED and layer and layer not in fixed:
            decision = Decision(layer, False, layer, tuple(sorted(spec.w_candidates)))
            found.setdefault((layer, False), decision)
        if spec.a_bits == MIXED:
            read = sorted(number for factor in product.factors for number in factor.quantizers)
            for name in (prices.quantizers[number] for number in read):
                if name not in fixed:
                    decision = Decision(name, True, layer, tuple(sorted(spec.a_candidates)))
                    found.setdefault((name, True), decision)
    return list(found.values())


def features(network: nn.Module, prices: Prices, of: Sequence[Decision]) -> Tensor:
    """Return what HAQ's agent is told of the layers of decisions, (n, 8), each column in 0..1.

    Whether the layer is depthwise, its input and output channels, stride, kernel size, number of
    weights, pixels of its input, and its place (lib/env/quantize_env.py, `_build_state_embedding`);
    scaled by the least and the largest of each over the decisions.
    """
    layers = weighted_layers(network)
    of_layer: dict[str, Product] = {}
    for product in prices.products:
        of_layer.setdefault(layer_of(product), product)
    order = {name: place for place, name in enumerate(dict.fromkeys(d.layer for d in of))}
    rows = [
        [*_shape(layers.get(d.layer), of_layer.get(d.layer)), float(order[d.layer])] for d in of
    ]
    table = torch.tensor(rows)
    low, high = table.amin(0), table.amax(0)
    return torch.where(high > low, (table - low) / (high - low).clamp(min=1e-12), 0.0)


def _shape(layer: nn.Conv2d | nn.Linear | None, product: Product | None) -> list[float]:
    if layer is None or product is None:
        return [0.0] * 7
    values = next((f.values for f in product.factors if not f.is_weight), 0)
    if isinstance(layer, nn.Linear):
        return [0.0, layer.in_features, layer.out_features, 0.0, 1.0, layer.weight.numel(), 1.0]
    depthwise = layer.groups == layer.in_channels and layer.groups > 1
    return [
        float(depthwise),
        layer.in_channels,
        layer.out_channels,
        layer.stride[0],
        layer.kernel_size[0],
        layer.weight.numel(),
        values / layer.in_channels,
    ]
