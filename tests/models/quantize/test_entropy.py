"""Divergences of all thresholds at once against one after the other."""

from itertools import pairwise

import numpy as np
import pytest

from models.quantize.entropy import divergences


def naive_divergence(counts: np.ndarray, end: int, levels: int) -> float:
    """KL(P || Q) in nats bin by bin, in words of the slides."""
    starts = [-(-k * end // levels) for k in range(levels + 1)]
    q = np.zeros(end)
    for first, last in pairwise(starts):
        inside = counts[first:last]
        q[first:last] = np.where(inside > 0, inside.sum() / max((inside > 0).sum(), 1), 0)
    p = counts[:end].copy()
    p[-1] += counts[end:].sum()
    p, q = p / p.sum(), q / q.sum()
    if np.any((p > 0) & (q == 0)):
        return np.inf
    return float(sum(a * np.log(a / b) for a, b in zip(p, q, strict=True) if a > 0))


@pytest.mark.parametrize("levels", [2, 8, 128])
def test_divergences_are_those_of_their_definition(levels: int) -> None:
    sample = np.random.default_rng(levels).laplace(size=3000)
    counts = np.histogram(np.abs(sample), bins=2048)[0].astype(float)
    found = divergences(counts, levels)
    assert len(found) == 2049 - levels
    for end in (levels + 40, 300, 301, 777, 1500, 2047, 2048):
        wanted = naive_divergence(counts, end, levels)
        assert found[end - levels] == pytest.approx(wanted, abs=1e-9)
