"""Scalar k-means: hand-computed cases and what it stores."""

import pytest
import torch

from models.errors import NotApplicable
from models.quantize.identity import identity
from models.quantize.ranges import WeightFormat
from models.quantize.rounding.base import Layer
from models.quantize.rounding.kmeans import KMeans, clustered, nearest
from models.quantize.spec import QuantSpec


def layer(weight: torch.Tensor, bits: int) -> Layer:
    how = WeightFormat(bits, "affine", "channel")
    return Layer(weight, how, None, torch.Generator().manual_seed(0))


def test_two_clusters_by_hand() -> None:
    values = torch.tensor([0.0, 1.0, 2.0, 10.0, 12.0, 11.0])
    centroids, assigned = clustered(values, 2)
    assert centroids.tolist() == [1.0, 11.0]
    assert assigned.tolist() == [0, 0, 0, 1, 1, 1]
    assert nearest(torch.tensor([5.9, 6.0, 6.1]), centroids).tolist() == [0, 0, 1]


def test_every_centroid_is_the_mean_of_its_weights_or_better() -> None:
    weight = torch.randn(8, 4, 3, 3, generator=torch.Generator().manual_seed(3))
    errors = []
    for bits in (1, 2, 3, 5):
        made = KMeans().quantize(layer(weight, bits))
        assert len(made.weight.unique()) == 2**bits
        assert made.size_bits == weight.numel() * bits + 32 * 2**bits
        assert made.shared is not None
        assert torch.equal(made.shared, made.shared.clamp(0, 2**bits - 1))
        errors.append(float((made.weight - weight).square().mean()))
    assert errors == sorted(errors, reverse=True)
    # Of a normal distribution at 2 bits: Max, 1960, has 0.1175; three iterations come near.
    assert errors[1] == pytest.approx(0.1175, abs=0.03)


def test_fewer_values_than_centroids_stay_as_they_are() -> None:
    weight = torch.tensor([[1.0, 2.0], [2.0, 1.0]])
    made = KMeans().quantize(layer(weight, 4))
    assert torch.equal(made.weight, weight)
    assert made.size_bits == 4 * 4 + 2 * 32


def test_what_it_cannot_do_and_does_not_heed() -> None:
    with pytest.raises(NotApplicable, match="codebooks of up to 8 bits, not 9"):
        KMeans().check(WeightFormat(9, "affine", "channel"))
    plain = identity(QuantSpec(4, 8, rounding="kmeans"))
    assert identity(QuantSpec(4, 8, rounding="kmeans", w_range="mse")) == plain
