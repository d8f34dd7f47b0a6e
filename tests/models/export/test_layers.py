"""Layers as models of their own, against the layers."""

import numpy as np
import pytest
import torch
from torch import nn

from models.export.layers import float_layer, integer_layer
from models.export.runtime import Session

LAYERS = {
    "strided": (lambda: nn.Conv2d(3, 8, 3, stride=2, padding=1), (2, 3, 9, 9)),
    "depthwise": (lambda: nn.Conv2d(6, 6, 3, padding=1, groups=6, bias=False), (1, 6, 5, 5)),
    "same": (lambda: nn.Conv2d(2, 4, (4, 3), padding="same", dilation=(1, 2)), (1, 2, 7, 8)),
    "valid": (lambda: nn.Conv2d(2, 4, 3, padding="valid"), (1, 2, 7, 7)),
    "linear": (lambda: nn.Linear(12, 5), (3, 12)),
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_computes_what_it_does_in_the_network(name: str) -> None:
    torch.manual_seed(0)
    made, shape = LAYERS[name]
    layer = made()
    integers = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
    values = torch.from_numpy(integers.astype(np.float32) / 64)
    with torch.no_grad():
        wanted = layer(values).numpy()
        floating = Session(float_layer(layer, shape))
        np.testing.assert_allclose(floating.logits(values.numpy()), wanted, rtol=1e-4, atol=1e-5)
        assert (floating.layers, floating.integer_layers) == (1, 0)

        session = Session(integer_layer(layer, shape), exact=True)
        assert (session.layers, session.integer_layers) == (1, 1)
        largest = layer.weight.flatten(1).abs().amax(1).view(-1, *[1] * (layer.weight.dim() - 1))
        layer.weight.copy_((layer.weight * 127 / largest).round() * largest / 127)
        wanted = layer(values).numpy()
    found = session.logits(integers).astype(int)
    assert np.abs(found - (wanted * 64).round().clip(0, 255)).max() <= 1
    assert ((found > 0) & (found < 255)).mean() > 0.2
