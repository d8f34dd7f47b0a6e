"""Tables of codes in the place of a layer's weight."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.embeddings.sizes import stored_bits
from models.errors import BenchError, NotApplicable
from models.quantize.identity import identity, written
from models.quantize.network import quantize
from models.quantize.ranges import WeightFormat
from models.quantize.rounding.base import Layer, Rounded
from models.quantize.rounding.dpq import ProductSoftmax, ProductVector
from models.quantize.rounding.reconstruction import Reconstruction
from models.quantize.spec import QuantSpec

WEIGHT = 0.05 * torch.randn(64, 24, generator=torch.Generator().manual_seed(0))
QUICK: dict[str, Any] = {"iterations": 20, "rate": 0.01, "batch": 16}
ROUNDINGS = (ProductSoftmax, ProductVector)


def rounded(
    rounding: ProductSoftmax | ProductVector, weight: Tensor = WEIGHT, bits: int = 4
) -> Rounded:
    size = weight[0].numel()
    problem = None
    if rounding.inputs != "none":
        problem = Reconstruction(torch.eye(size)[None], torch.zeros(1, len(weight), size))
    layer_format = WeightFormat(bits, "affine", "channel")
    generator = torch.Generator().manual_seed(0)
    return rounding.quantize(Layer(weight, layer_format, problem, generator))


@pytest.mark.parametrize("kind", ROUNDINGS)
@pytest.mark.parametrize("variant", ["release", "paper"])
@pytest.mark.parametrize("shared", [True, False])
def test_pieces_are_centroids_and_take_what_they_take(
    kind: type[ProductSoftmax | ProductVector], variant: str, shared: bool
) -> None:
    rounding = kind(**QUICK, centroids=8, variant=variant, shared=shared)
    made = rounded(rounding)
    assert made.size_bits == stored_bits(64, 24, 6, 8, shared=shared)
    pieces = made.weight.reshape(64, 6, 4)
    if shared:
        assert len(pieces.flatten(0, 1).unique(dim=0)) <= 8
    assert all(len(pieces[:, part].unique(dim=0)) <= 8 for part in range(6))
    assert (made.weight - WEIGHT).square().sum() < WEIGHT.square().sum()
    assert made.weight.dtype == WEIGHT.dtype and made.warning == ""


def test_the_bits_are_a_budget() -> None:
    # 64 x 24 weights. Parts of 4: 384 log2 K bits of codes, 768 K of numbers, or 128 K shared.
    for bits, shared, count in ((4, False, 4), (8, False, 8), (4, True, 32), (2, True, 8)):
        made = rounded(ProductVector(**QUICK, shared=shared), bits=bits)
        assert made.size_bits == stored_bits(64, 24, 6, count, shared=shared)
        assert made.size_bits <= bits * 64 * 24
        assert stored_bits(64, 24, 6, 2 * count, shared=shared) > bits * 64 * 24


def test_the_variant_of_the_paper_takes_the_nearest_and_the_releases_may_not() -> None:
    made = [
        rounded(ProductVector(**QUICK, centroids=8, variant=variant)).weight
        for variant in ("paper", "release")
    ]
    assert not torch.equal(*made)


def test_what_has_no_form_is_said() -> None:
    quick = ProductSoftmax(**QUICK)
    with pytest.raises(NotApplicable, match=r"dpq_sx is for tables.*convolution's of \(8, 4, 3"):
        rounded(quick, torch.zeros(8, 4, 3, 3))
    with pytest.raises(NotApplicable, match="parts of 5 columns do not divide the 24"):
        rounded(replace(quick, block=(1, 4, 5)))
    with pytest.raises(NotApplicable, match=r"centroids=128: .*give at most 64"):
        rounded(replace(quick, centroids=128))
    assert rounded(replace(quick, centroids=128, shared=True)).size_bits is not None
    with pytest.raises(NotApplicable, match="2 bits a weight do not pay for two centroids"):
        rounded(quick, WEIGHT[:16], bits=2)
    with pytest.raises(BenchError, match=r"rounding_centroids=12; give a power of two"):
        QuantSpec(4, 32, rounding="dpq_sx", rounding_centroids=12)
    with pytest.raises(BenchError, match=r"rounding_objective=outputs cannot be represented"):
        QuantSpec(4, 32, rounding="dpq_vq", rounding_objective="outputs")
    with pytest.raises(BenchError, match="rounding_variant=sequential cannot be represented"):
        QuantSpec(4, 32, rounding="dpq_vq", rounding_variant="sequential")


def test_a_table_of_zeros_stays() -> None:
    for kind in ROUNDINGS:
        made = rounded(kind(**QUICK, centroids=4), torch.zeros(16, 8))
        assert torch.isfinite(made.weight).all()
        assert made.weight.abs().max() < 1e-6


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU()]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 40)]
    return nn.Sequential(*layers).eval().requires_grad_(False)


IMAGES = torch.randn(40, 3, 10, 10, generator=torch.Generator().manual_seed(1)) + 0.5
SPEC = QuantSpec(
    *(32, 32),
    last_bits=4,
    rounding="dpq_vq",
    rounding_iterations=200,
    rounding_rate=0.01,
    rounding_centroids=4,
    rounding_variant="paper",
)


def test_only_the_last_layer_of_a_network_and_its_outputs_stay_nearer() -> None:
    net = network()
    wanted = net(IMAGES)
    errors = {}
    for objective in ("table", "output"):
        made = quantize(net, replace(SPEC, rounding_objective=objective), IMAGES)
        assert torch.equal(made.network.get_parameter("0.weight"), net.get_parameter("0.weight"))
        assert made.weight_bits == {"0": 32, "5": 4}
        assert made.more_bits == stored_bits(40, 16, 4, 4) - 4 * 640
        assert not any(p.requires_grad or p.grad is not None for p in made.network.parameters())
        errors[objective] = (made.network(IMAGES) - wanted).square().mean().item()
    assert errors["output"] < 0.9 * errors["table"]


def test_what_is_no_part_of_an_identity() -> None:
    plain = {"w_bits": 32, "a_bits": 32, "last_bits": 4, "rounding": "dpq_sx"}
    spec = QuantSpec(32, 32, last_bits=4, rounding="dpq_sx", w_scheme="symmetric")
    assert identity(spec) == plain
    assert identity(replace(spec, rounding_shared=True)) == plain | {"rounding_shared": True}
    other = QuantSpec(4, 32, rounding_shared=True, rounding_objective="table")
    assert identity(other) == {"w_bits": 4, "a_bits": 32}
    assert {"rounding_shared", "rounding_objective"} <= written(spec).keys()
    assert not {"rounding_shared", "rounding_objective"} & written(other).keys()
