"""Which images of a set serve as calibration data."""

import numpy as np
import numpy.typing as npt

from bench.data.listing import Listing
from models.errors import BenchError


def calibration_indices(
    listing: Listing, n: int, seed_generator: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Choose `n` distinct images at random, spread over the classes as evenly as possible.

    Two classes differ by at most one image, unless the smaller has no more. So does every prefix:
    any batch cut from the result is spread over the classes too, and from the same state of
    `seed_generator` a smaller `n` gives a prefix of a larger one's.
    Returns (n,) int64 indices into `listing`. Raises BenchError when there are fewer images.
    """
    if not 1 <= n <= len(listing):
        raise BenchError(
            f"cannot choose {n} calibration images from the {len(listing)} of the {listing.side} "
            f"side of {listing.name!r}; ask for 1 to {len(listing)}"
        )
    shuffled = seed_generator.permutation(len(listing))
    tie_break = seed_generator.random(len(listing))
    labels = listing.labels[shuffled]
    by_class = np.argsort(labels, kind="stable")
    _, starts, counts = np.unique(labels[by_class], return_index=True, return_counts=True)
    # Round r takes the r-th image of every class that has one, the classes in random order.
    rounds = np.empty(len(listing), dtype=np.int64)
    rounds[by_class] = np.arange(len(listing)) - np.repeat(starts, counts)
    order = np.lexsort((tie_break, rounds))
    return shuffled[order[:n]].astype(np.int64)
