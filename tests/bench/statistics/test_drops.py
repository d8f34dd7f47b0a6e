"""Paired drops: by hand, against `bench compare`'s interval, and simulated."""

import numpy as np
import pytest

from bench.statistics.drops import Drop, Flips, mean_drop, paired_drop
from bench.statistics.significance import paired_bootstrap


def test_one_seed_is_the_paired_bootstrap() -> None:
    float_right = np.array([True] * 150 + [False] * 50)
    right = float_right.copy()
    right[:20] = False
    right[190:195] = True
    drop = paired_drop([Flips(20, 5, 200)])
    assert drop == (7.5, *paired_bootstrap(float_right, right))


def test_several_seeds_by_hand() -> None:
    # Drops of 2, 3 and 4 points. An image adds 1, -1 or 0: with d = 0.02, 0.03, 0.04 and 6, 5 and 6
    # of 100 flipped its variance is (0.06 - 0.0004, 0.05 - 0.0009, 0.06 - 0.0016) x 100 / 99.
    drop = paired_drop([Flips(4, 2, 100), Flips(4, 1, 100), Flips(5, 1, 100)])
    of_images = 1e4 * (0.0596 + 0.0491 + 0.0584) / 3 * 100 / 99 / 100
    of_seeds = 1.0 / 3
    half = (of_images + of_seeds) ** 0.5
    freedom = (of_images + of_seeds) ** 2 / (of_images**2 / 99 + of_seeds**2 / 2)
    assert freedom == pytest.approx(94.64, abs=0.01)
    assert drop.points == pytest.approx(3.0)
    assert (drop.low, drop.high) == pytest.approx(
        (3 - 1.98552 * half, 3 + 1.98552 * half), abs=1e-4
    )


def test_seeds_that_agree_on_every_image_have_the_interval_of_the_images() -> None:
    drop = paired_drop([Flips(60, 10, 10_000)] * 3)
    one = paired_drop([Flips(60, 10, 10_000)])
    assert drop.points == one.points == 0.5
    assert (drop.low, drop.high) == pytest.approx((one.low, one.high), abs=0.01)


def test_nothing_flipped() -> None:
    assert paired_drop([Flips(0, 0, 50), Flips(0, 0, 50)]) == Drop(0.0, 0.0, 0.0)
    assert paired_drop([Flips(0, 0, 50)]) == Drop(0.0, 0.0, 0.0)


def test_seeds_of_other_images_have_no_drop() -> None:
    with pytest.raises(ValueError, match="2 seeds on"):
        paired_drop([Flips(1, 1, 10), Flips(1, 1, 11)])
    with pytest.raises(ValueError, match="0 seeds"):
        paired_drop([])


def test_it_covers_the_true_drop() -> None:
    """Images differ in how easily they are lost, seeds in how much is lost in all."""
    generator, images, seeds, covered = np.random.default_rng(0), 400, 3, 0
    for _ in range(400):
        ease = generator.beta(0.5, 7, images)  # 1 in 15 is lost on average
        flips = []
        for scale in generator.normal(1, 0.15, seeds):
            lost = generator.random(images) < np.clip(ease * scale, 0, 1)
            gained = ~lost & (generator.random(images) < 0.02)
            flips.append(Flips(int(lost.sum()), int(gained.sum()), images))
        drop = paired_drop(flips)
        true = 100 * (1 / 15 - 0.02 * 14 / 15)
        covered += drop.low <= true <= drop.high
    assert covered >= 0.95 * 400


def test_the_mean_of_drops_with_intervals_of_their_own() -> None:
    first, second = Drop(2.0, 1.0, 4.0), Drop(3.0, 2.5, 3.5)
    assert mean_drop([first]) == first
    # 0.75 below and 1.25 above on average; t of one degree of freedom is 12.706, and the mean of
    # the two deviates by 0.5.
    found = mean_drop([first, second])
    over_seeds = 12.7062 * 0.5
    assert found.points == 2.5
    assert found.low == pytest.approx(2.5 - (0.75**2 + over_seeds**2) ** 0.5, abs=1e-3)
    assert found.high == pytest.approx(2.5 + (1.25**2 + over_seeds**2) ** 0.5, abs=1e-3)
