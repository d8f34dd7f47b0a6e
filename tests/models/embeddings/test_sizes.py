"""Compression ratios as the paper counts them, and what a file would take."""

from collections.abc import Callable

import numpy as np
import pytest

from models.embeddings.sizes import compression_ratio, stored_bits

Golden = Callable[[str], dict[str, np.ndarray]]


def test_ratios_are_the_papers(golden: Golden) -> None:
    recorded = golden("dpq")["cr_n_d_K_D_sep_shared"]
    assert len(recorded) == 48
    for rows, columns, centroids, parts, separate, shared in recorded:
        shape = (int(rows), int(columns), int(parts), int(centroids))
        assert np.float32(compression_ratio(*shape)) == separate
        assert np.float32(compression_ratio(*shape, shared=True)) == shared


def test_a_ratio_by_hand() -> None:
    # 10 rows of 8 numbers: 2,560 bits. 4 codes of 2 bits a row, 4 x 8 or 4 x 2 numbers.
    assert compression_ratio(10, 8, 4, 4) == pytest.approx(2560 / (80 + 1024))
    assert compression_ratio(10, 8, 4, 4, shared=True) == pytest.approx(2560 / (80 + 256))
    assert stored_bits(10, 8, 4, 4) == 80 + 1024
    assert stored_bits(10, 8, 4, 4, shared=True) == 80 + 256


def test_codes_that_are_stored_have_whole_bits() -> None:
    assert stored_bits(10, 8, 4, 5) == 10 * 4 * 3 + 32 * 5 * 8
    assert compression_ratio(10, 8, 4, 5) > 2560 / stored_bits(10, 8, 4, 5)
