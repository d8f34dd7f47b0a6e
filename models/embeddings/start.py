"""Where centroids of the parts of a table start: k-means of each part by itself."""

import torch
from torch import Tensor

_ITERATIONS = 10
_SCORES = 2**24  # elements of a table of distances, 64 MiB


def k_means(pieces: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return `count` centroids of each part of a table, (D, K, size), after Lloyd's algorithm.

    pieces: (n, D, size), n at least `count`. It begins with the pieces of `count` rows drawn at
    random, and does 10 iterations; a centroid that no piece is nearest to stays where it is.
    """
    rows, parts, size = pieces.shape
    drawn = torch.randperm(rows, generator=generator)[:count].to(pieces.device)
    centroids = pieces[drawn].transpose(0, 1).contiguous()
    first = torch.arange(parts, device=pieces.device) * count
    for _ in range(_ITERATIONS):
        places = (nearest(pieces, centroids) + first).flatten()
        sums = pieces.new_zeros(parts * count, size).index_add_(0, places, pieces.flatten(0, 1))
        members = places.bincount(minlength=parts * count)[:, None]
        means = (sums / members.clamp(min=1)).view_as(centroids)
        centroids = torch.where(members.view(parts, count, 1) > 0, means, centroids)
    return centroids


def nearest(pieces: Tensor, centroids: Tensor) -> Tensor:
    """Return which of the centroids (D, K, size) of its part each of `pieces` (n, D, size) is
    nearest to, (n, D).
    """
    lengths = centroids.square().sum(2)
    many = max(1, _SCORES // (centroids.shape[0] * centroids.shape[1]))
    codes = [
        (2 * torch.einsum("npi,pki->npk", some, centroids) - lengths).argmax(2)
        for some in pieces.split(many)
    ]
    return torch.cat(codes)
