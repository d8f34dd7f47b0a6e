"""Calibration images are spread over the classes."""

import numpy as np
import pytest

from bench.data import Listing, calibration_indices
from models.errors import BenchError


def listing(counts: list[int]) -> Listing:
    """A class-sorted set with `counts[i]` images of class i."""
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int64)
    files = tuple(str(i) for i in range(len(labels)))
    return Listing("toy", "train", files, labels, len(counts), "", "")


def choose(counts: list[int], n: int, seed: int = 0) -> np.ndarray:
    return calibration_indices(listing(counts), n, np.random.default_rng(seed))


@pytest.mark.parametrize(
    ("counts", "n", "expected"),
    [
        ([400] * 10, 20, [2] * 10),
        ([1] * 1000, 1000, [1] * 1000),
        ([5, 1, 5], 7, [3, 1, 3]),
        ([0, 2, 4], 6, [0, 2, 4]),
        ([100, 100, 3], 23, [10, 10, 3]),
    ],
)
def test_spread_is_as_even_as_the_classes_allow(
    counts: list[int], n: int, expected: list[int]
) -> None:
    for seed in range(5):
        indices = choose(counts, n, seed)
        assert (indices.dtype, len(set(indices.tolist()))) == (np.int64, n)
        labels = listing(counts).labels[indices]
        assert np.bincount(labels, minlength=len(counts)).tolist() == expected


def test_fewer_images_than_classes_are_of_different_random_classes() -> None:
    chosen = [listing([50] * 100).labels[choose([50] * 100, 10, seed)] for seed in range(200)]
    assert all(len(set(labels.tolist())) == 10 for labels in chosen)
    # 2,000 draws over 100 classes: 20 each, give or take 4.2; within the class any image alike.
    counts = np.bincount(np.concatenate(chosen), minlength=100)
    assert counts.min() > 3 and counts.max() < 42
    places = np.concatenate([choose([50] * 100, 10, seed) % 50 for seed in range(200)])
    assert abs(places.mean() - 24.5) < 2


def test_same_seed_same_choice_and_a_smaller_one_is_its_prefix() -> None:
    large = choose([30, 30, 30], 64, seed=7)
    np.testing.assert_array_equal(large, choose([30, 30, 30], 64, seed=7))
    np.testing.assert_array_equal(large[:16], choose([30, 30, 30], 16, seed=7))
    assert (large != choose([30, 30, 30], 64, seed=8)).any()


@pytest.mark.parametrize("n", [0, -1, 13])
def test_an_impossible_number_is_refused_with_the_count_found(n: int) -> None:
    with pytest.raises(BenchError, match=f"cannot choose {n} calibration images from the 12 of"):
        choose([6, 6], n)
