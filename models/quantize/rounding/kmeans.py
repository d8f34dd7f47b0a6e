"""Scalar k-means: the weights of a layer share 2^b values (Han et al., ICLR 2016; HAQ)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from models.errors import NotApplicable
from models.quantize.ranges import WeightFormat
from models.quantize.rounding.base import Layer, Rounded, Rounding

_ITERATIONS = 3
_VALUE_BITS = 32
_MOST_BITS = 8


@dataclass(frozen=True)
class KMeans(Rounding):
    """Each weight becomes the nearest of 2^b centroids of its layer, found by Lloyd's algorithm.

    3 iterations from evenly spaced quantiles. HAQ's release (lib/utils/quantize_utils.py,
    `k_means_cpu`) takes 3 iterations from one k-means++ start, which is drawn at random; quantiles
    lie as such starts do on average, and make the number no matter of chance.

    Size: b bits a weight and 32 for each centroid. HAQ's ratios leave the codebooks out.
    """

    name = "kmeans"

    def check(self, weight_format: WeightFormat) -> None:
        if weight_format.bits > _MOST_BITS:
            raise NotApplicable(
                f"quant.rounding=kmeans has codebooks of up to {_MOST_BITS} bits, not "
                f"{weight_format.bits}"
            )

    def scale_bits(self, weight: Tensor, weight_format: WeightFormat, groups: int) -> int:
        return 0  # there is no grid: codebooks are in the size

    def quantize(self, layer: Layer) -> Rounded:
        bits = layer.format.bits
        values = layer.weight.flatten()
        centroids, assigned = clustered(values, 2**bits)
        return Rounded(
            centroids[assigned].view_as(layer.weight),
            size_bits=len(values) * bits + len(centroids) * _VALUE_BITS,
            shared=assigned.view_as(layer.weight),
        )


def clustered(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return up to `count` centroids, rising, and which of them each of `values` (n,) is nearest.

    A centroid that no value is nearest stays where it is.
    """
    places = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    ordered = values.sort().values
    centroids = ordered[(places * len(values)).long().clamp(max=len(values) - 1)].unique()
    for _ in range(_ITERATIONS):
        assigned = nearest(values, centroids)
        sums = values.new_zeros(len(centroids)).index_add_(0, assigned, values)
        counts = assigned.bincount(minlength=len(centroids))
        centroids = torch.where(counts > 0, sums / counts.clamp(min=1), centroids)
    return centroids, nearest(values, centroids)


def nearest(values: Tensor, centroids: Tensor) -> Tensor:
    """Return the index of the nearest of `centroids` (k,), rising; halfway, that of the lower."""
    return torch.bucketize(values, (centroids[1:] + centroids[:-1]) / 2)
