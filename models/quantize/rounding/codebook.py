"""A codebook of a layer's weight: k-means over its blocks, in the metric of the layer's input.

The filters of a layer are cut into blocks of neighbouring weights, and all blocks share one
codebook. The error that a centroid c makes in place of a block v is (v - c)' G (v - c), with G =
X'X of what such blocks are multiplied with, whichever block of the input it is: the rows of all are
pooled.

Written from Stock et al., ICLR 2020, section 3, and from what the authors' release computes
(facebookresearch/kill-the-bits, src/quantization/em.py, pq.py, utils/reshape.py). The release
scores rows of the input that it draws anew each time; their G gives the same assignments. Its
M-step solves a least squares problem, whose solution is the mean of the members where G has full
rank.

Shapes: vectors are (n, d), centroids (k, d), assignments (n,), a metric (d, d).
"""

from typing import NamedTuple

import torch
from torch import Tensor

_SCORES = 2**24  # elements of a table of scores, 64 MiB
_VECTORS_EACH = 4  # a centroid has more vectors than this, by the release's rule
CENTROID_BITS = 16
"""Of each number in a codebook, as the release stores and counts them."""


class Codebook(NamedTuple):
    """The centroids, and which of them stands for each vector."""

    centroids: Tensor
    assignments: Tensor


def cut(weight: Tensor, size: int) -> Tensor:
    """Return the blocks of `weight` (out, in[, kh, kw]), `size` neighbouring weights of a filter.

    Block by block, in each of them filter by filter. `size` divides what a filter has.
    """
    return weight.reshape(len(weight), -1, size).transpose(0, 1).reshape(-1, size)


def joined(vectors: Tensor, like: Tensor) -> Tensor:
    """Return the weight, of the shape of `like`, whose blocks are `vectors`."""
    return vectors.view(-1, len(like), vectors.shape[1]).transpose(0, 1).reshape(like.shape)


def pooled(gram: Tensor, size: int) -> Tensor:
    """Return the metric of blocks of `size`, from the Gram matrix (groups, d, d) of an input.

    The sum of the blocks on the diagonals. Where the layer has seen only zeros, the identity.
    """
    blocks = gram.unflatten(2, (-1, size)).unflatten(1, (-1, size))
    metric = torch.diagonal(blocks, dim1=1, dim2=3).sum((0, 3))
    return metric if bool(metric.any()) else torch.eye(size).to(gram)


def most_centroids(vectors: int) -> int:
    """Return the largest power of two below a fourth of the number of vectors; 0 for none.

    The release's rule (src/quantize.py): so each centroid has more than four vectors on average.
    """
    below = (vectors - 1) // _VECTORS_EACH  # the largest number below a fourth
    return 1 << (below.bit_length() - 1) if below > 0 else 0


def affordable_centroids(vectors: int, size: int, bits: float) -> int:
    """Return the largest power of two of centroids that takes at most `bits` a weight; 0 for none.

    Indices and codebook together; no more than `most_centroids` and no fewer than 2.
    """
    count = most_centroids(vectors)
    while count > 1 and stored_bits(vectors, size, count) > bits * vectors * size:
        count //= 2
    return count if count > 1 else 0


def stored_bits(vectors: int, size: int, centroids: int) -> int:
    """Return what an index for each vector and a codebook of 16-bit numbers take, in bits."""
    return vectors * (centroids - 1).bit_length() + centroids * size * CENTROID_BITS


def assign(vectors: Tensor, centroids: Tensor, metric: Tensor) -> Tensor:
    """Return the nearest centroid of each vector in the metric (the E-step)."""
    twice = (2 * centroids @ metric).T
    lengths = (centroids @ metric * centroids).sum(1)
    parts = vectors.split(max(1, _SCORES // len(centroids)))
    return torch.cat([torch.addmm(lengths, part, twice, alpha=-1).argmin(1) for part in parts])


def means(vectors: Tensor, assignments: Tensor, centroids: Tensor) -> Tensor:
    """Return the mean of each centroid's vectors (the M-step); one without vectors stays."""
    counts = torch.bincount(assignments, minlength=len(centroids))[:, None]
    sums = torch.zeros_like(centroids).index_add_(0, assignments, vectors)
    return torch.where(counts > 0, sums / counts, centroids)


def fill(vectors: Tensor, codebook: Codebook, metric: Tensor) -> Tensor:
    """Return assignments in which no centroid is without vectors, if there are enough kinds.

    Each empty centroid gets the vector that is farthest from its own, of those that do not have
    theirs alone. So one more is filled each time, and it ends; the release moves a centroid by
    noise of 1e-8 until that has an effect, which in float32 may be never.
    """
    centroids, assignments = codebook.centroids, codebook.assignments.clone()
    counts = torch.bincount(assignments, minlength=len(centroids))
    empty = (counts == 0).nonzero().flatten().tolist()
    if not empty:
        return assignments
    away = vectors - centroids[assignments]
    distances = (away @ metric * away).sum(1)
    for centroid in empty:
        candidates = torch.where(counts[assignments] > 1, distances, 0.0)
        farthest = candidates.argmax()
        if not candidates[farthest] > 0:
            break  # all vectors are where a centroid is
        counts[assignments[farthest]] -= 1
        counts[centroid] += 1
        assignments[farthest], distances[farthest] = centroid, 0.0
    return assignments


def start(vectors: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return `count` of the vectors at random, no two alike; fewer where there are fewer kinds."""
    distinct = vectors.unique(dim=0)
    order = torch.randperm(len(distinct), generator=generator)[:count]
    return distinct[order.to(vectors.device)]


def k_means(vectors: Tensor, centroids: Tensor, metric: Tensor, epochs: int) -> Codebook:
    """Return the codebook after at most `epochs` E- and M-steps from `centroids` on.

    It ends early when no vector changes its centroid. The error in the metric never rises.
    """
    assignments = torch.full((len(vectors),), -1, device=vectors.device)
    for _ in range(epochs):
        nearest = assign(vectors, centroids, metric)
        found = fill(vectors, Codebook(centroids, nearest), metric)
        if torch.equal(found, assignments):
            break
        assignments = found
        centroids = means(vectors, assignments, centroids)
    return Codebook(centroids, assignments)
