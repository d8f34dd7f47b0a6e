"""The random order in which a part of a set is evaluated."""

import numpy as np

from bench.data.listing import Listing, chosen, random_order


def test_it_is_a_permutation_that_never_changes() -> None:
    order = random_order(1000)
    assert sorted(order.tolist()) == list(range(1000))
    assert order[:8].tolist() == [610, 174, 566, 230, 978, 909, 208, 687]
    assert random_order(1).tolist() == [0]
    assert not order.flags.writeable


def test_chosen_images_come_in_their_order() -> None:
    files = tuple(f"{i}.png" for i in range(5))
    labels = np.array([3, 3, 1, 0, 1])
    listing = Listing("five", "eval", files, labels, 3, "f", "s", sizes=np.ones((5, 2), np.int64))
    part = chosen(listing, np.array([4, 0]))
    assert part.files == ("4.png", "0.png")
    assert part.labels.tolist() == [1, 3]
    assert (part.classes, part.fingerprint) == (2, "f")
    assert part.sizes is not None
    assert part.sizes.shape == (2, 2)
