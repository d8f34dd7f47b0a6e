"""Trained networks as models of integers: which weights have them, and which have none."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.errors import NotApplicable
from models.export.export import Exported, export
from models.export.weights import stored
from models.qat.conversion import make_quantizable
from models.qat.network import freeze
from models.qat.plain import as_quantized
from models.qat.spec import QatSpec
from models.qat.surrogate import Surrogate
from models.qat.weights import DoReFaWeight
from models.quantize.network import QuantizedNetwork
from tests.models.export.test_export import run

WEIGHTS = torch.tensor([[-1.0, -0.3, 0.05], [0.2, 0.6, 0.9]])


def dorefa(scheme: str, bits: int, rescale: str = "none") -> Tensor:
    return DoReFaWeight((bits,), Surrogate(), scheme, rescale)(WEIGHTS, bits)


@pytest.fixture
def images() -> Tensor:
    return torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def exported(
    network: nn.Module, images: Tensor, bits: tuple[int, ...], **spec: object
) -> tuple[QuantizedNetwork, Exported]:
    how = QatSpec(**{"first_bits": None, "last_bits": None, **spec})  # type: ignore[arg-type]
    trained = freeze(make_quantizable(network.eval(), bits, how, images)).requires_grad_(False)
    made = as_quantized(trained)
    return made, export(made, images[:1], how.granularity == "channel")


def test_modified_weights_of_dorefa_are_integers_with_zero() -> None:
    # u = (tanh w / tanh 1 + 1) / 2: 0, 0.309, 0.533, 0.630, 0.853, 0.970; floor(4 u) - 2.
    found = stored("w", dorefa("modified", 2), 2, by_channel=False)
    assert (found.integers * found.scale).tolist() == [[-1, -0.5, 0], [0, 0.5, 0.5]]
    assert (found.bits, int(found.zero_point)) == (4, 0)
    assert found.integers.tolist() == [[-8, -4, 0], [0, 4, 4]]  # as fine as 4 bits allow


@pytest.mark.parametrize(
    ("scheme", "values"),
    [
        ("original", [[-1, -1 / 3, 1 / 3], [1 / 3, 1, 1]]),  # round(3 u): 0, 1, 2, 2, 3, 3
        ("centered", [[-3 / 4, -1 / 4, 1 / 4], [1 / 4, 3 / 4, 3 / 4]]),  # floor(4 u)
    ],
)
def test_symmetric_grids_without_0_are_odd_integers(scheme: str, values: list[list[float]]) -> None:
    found = stored("w", dorefa(scheme, 2), 2, by_channel=False)
    assert found.bits == 4
    assert (found.integers * found.scale).numpy() == pytest.approx(np.array(values), rel=1e-6)
    odd = found.integers / found.integers.abs().min()
    assert odd.tolist() == [[-3, -1, 1], [1, 3, 3]]


def test_they_take_a_bit_more_than_they_have() -> None:
    assert stored("w", dorefa("original", 3), 3, by_channel=False).bits == 4
    found = stored("w", dorefa("original", 4), 4, by_channel=False)
    assert (found.bits, int(found.integers.abs().amax())) == (8, 15)
    assert stored("w", dorefa("centered", 7), 7, by_channel=False).bits == 8
    for scheme in ("original", "centered"):
        with pytest.raises(NotApplicable, match="of 256 levels without 0: its zero point would be"):
            stored("w", dorefa(scheme, 8), 8, by_channel=False)


SPECS: list[dict[str, object]] = [
    {"weight_quantizer": "lsq", "activation_quantizer": "lsq"},
    {"weight_quantizer": "lsq", "granularity": "channel", "sites": "relu"},
    {"weight_quantizer": "step_range", "activation_quantizer": "step_range"},
    {"weight_quantizer": "mixed_step_range", "activation_quantizer": "mixed_step_range"},
    {"weight_quantizer": "uniform_static", "activation_quantizer": "uniform_static"},
    {"weight_quantizer": "affine", "granularity": "channel", "activation_quantizer": "affine_ema"},
    {"weight_quantizer": "gated", "activation_quantizer": "gated"},
    {"weight_quantizer": "dorefa", "clip_start": "release", "signed_inputs": "never"},
    {"weight_quantizer": "dorefa", "scheme": "original", "activation_quantizer": "dorefa"},
    {"weight_quantizer": "dorefa", "scheme": "centered", "rescale": "stddev"},
]


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_stored_weights_and_logits_are_those_that_were_trained(
    tiny_network: nn.Module, images: Tensor, spec: dict[str, object]
) -> None:
    """Weights to two units in the last place of the largest of a tensor; logits of 8 bits."""
    odd = spec.get("scheme") in ("original", "centered")
    bits = (7,) if odd else (8, 4, 2)
    made, found = exported(tiny_network, images, bits, batchnorm="private", **spec)
    head = found.weights["head"]
    shape = (-1, 1) if head.scale.dim() else ()
    integers = head.integers.float() - head.zero_point.float().view(shape)
    wanted = made.network.get_submodule("head").weight.detach()
    off = (integers * head.scale.view(shape) - wanted).abs().max()
    assert float(off) <= 2.0**-22 * float(wanted.abs().max())
    logits = made.network(images).numpy()
    # A value that lies between two integers may fall to the other side.
    assert np.abs(run(found.model, images) - logits).max() < 0.03 * np.abs(logits).max()
    assert found.layers == 4
    assert found.integer == (2 if spec.get("sites") == "relu" else 3)  # images stay float


def test_ranges_of_activations_without_0_are_refused(
    tiny_network: nn.Module, images: Tensor
) -> None:
    how = QatSpec(activation_quantizer="affine_ema")
    trained = freeze(make_quantizable(tiny_network.eval(), (4,), how, images)).requires_grad_(False)
    trained.get_submodule("head.input_quantizer.running.8").range.copy_(torch.tensor([1.0, 2.0]))
    with pytest.raises(NotApplicable, match="a range of activations does not contain 0"):
        export(as_quantized(trained), images[:1], False)


def test_learned_bits_beyond_8_are_refused(tiny_network: nn.Module, images: Tensor) -> None:
    how = QatSpec(weight_quantizer="step_range", activation_quantizer="step_range")
    trained = freeze(make_quantizable(tiny_network.eval(), (4,), how, images)).requires_grad_(False)
    trained.get_submodule("convs.1.input_quantizer").step["4"] /= 100
    with pytest.raises(NotApplicable, match="activations of 11 bits: integer kernels have 8"):
        export(as_quantized(trained), images[:1], False)
