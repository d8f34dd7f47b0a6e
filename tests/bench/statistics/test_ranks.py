"""Correlation of ranks."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from bench.statistics.ranks import spearman


def test_it_is_that_of_scipy_with_equal_values_too() -> None:
    generator = np.random.default_rng(0)
    for _ in range(5):
        x, y = generator.integers(0, 5, (2, 20)).tolist()
        assert spearman(x, y) == pytest.approx(spearmanr(x, y).statistic)
    assert spearman([1, 2, 3], [9, 8, 1]) == pytest.approx(-1)
    assert spearman([1, 2, 3], [4, 4, 4]) is None
