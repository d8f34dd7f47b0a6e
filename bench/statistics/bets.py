"""What is sure of a drop before all images are seen: bets against every drop it could be.

The images of a set are taken in random order, and the float network's outcome is known of all of
them. Against a drop of d one bets on the next image: what is won or lost is, were d the truth, zero
on average, so a capital of 1 grows to 40 in one of 40 worlds at most, however long and however
often one looks (Ville). Drops against which the capital has grown to that are excluded, those that
are too small and those that are too large; the rest is a 95 % confidence sequence. These are the
bets of Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting" (JRSS B
2024), without replacement, as in their section 5.

Three choices make it narrow, and none of them can make it wrong, as each is made before the image
is looked at. The stake follows the variance of the images before. What is bet on is the change of
an image less what is expected of it by whether the float network had it right (a control variate,
whose mean over the set is known). And the capital is divided over stakes for several distances
between the truth and d.
"""

from collections.abc import Callable
from functools import cached_property
from math import ceil, floor, log
from typing import NamedTuple

import numpy as np

from bench.statistics.drops import Drop
from bench.statistics.significance import ALPHA

_DISTANCES = np.array([[0.005], [0.01], [0.02], [0.04]])
"""Shares of images between the truth and d, each with a part of the capital."""

_HIGHEST_STAKE = 0.3
"""What an image adds is between -3 and 3, so that the capital stays positive."""

# Images that are taken to have been seen before the first: right in float, lost of these, wrong in
# float, gained of these. They keep the first stakes low.
_RIGHT, _LOST, _WRONG, _GAINED = 14.0, 4.0, 6.0, 1.0

_FIRST_LOOK = 256
_LATER_LOOKS = 1.1


class Sample(NamedTuple):
    """Images of a set in the random order in which they were taken.

    change: (n,) 1 where an image is lost, -1 where it is gained, else 0. right: (n,) bool, in
    float. total_right of all `total` images are right in float.
    """

    change: np.ndarray
    right: np.ndarray
    total_right: int
    total: int


def looks(total: int) -> list[int]:
    """Return after how many of `total` images a drop is looked at; the last is `total`.

    Whole batches, and from 2,560 images on a tenth more each time: any other would be as valid.
    """
    places, place = [], _FIRST_LOOK
    while place < total:
        places.append(place)
        place = max(place + _FIRST_LOOK, ceil(place * _LATER_LOOKS / _FIRST_LOOK) * _FIRST_LOOK)
    return [*places, total]


def drop_of(sample: Sample) -> Drop:
    """Return the drop on the images of a sample, and the interval of that on all of the set.

    It holds at all looks at once (95 %): it is what the intervals of all looks so far share.

    Raises ValueError for counts that cannot be.
    """
    bets, n, total = Bets(sample), len(sample.change), sample.total
    here = int(sample.change.sum())
    unseen_right = sample.total_right - int(sample.right.sum())
    least, most = here - (total - n - unseen_right), here + unseen_right
    if n == 0 or n == total:
        return Drop(100 * here / total, 100 * least / total, 100 * most / total)
    likely = min(max(round(here * total / n), least), most)
    low, high = least, most
    if bets.against(least, 1):  # the largest that is excluded, and one more
        low = 1 + _last(lambda d: bets.against(d, 1), least, likely)
    if bets.against(most, -1):
        high = -1 - _last(lambda d: bets.against(-d, -1), -most, -likely)
    return Drop(100 * here / n, 100 * low / total, 100 * high / total)


def settled(drop: Drop, published: float, tolerance: float) -> bool:
    """Return whether it is decided that a drop is within `tolerance` of the published one, or not.

    Decided is: all of its interval is, or none of it. All in points.
    """
    low, high = drop.low - published, drop.high - published
    return max(abs(low), abs(high)) <= tolerance or low > tolerance or high < -tolerance


def may_be_settled(sample: Sample, published: float, tolerance: float) -> bool:
    """Return the same as `settled` of `drop_of`, but for rounding, in a tenth of its time."""
    return first_settled(sample, published, tolerance) is not None


def first_settled(sample: Sample, published: float, tolerance: float) -> int | None:
    """Return at which look of a sample it was settled, as a number of images; None where at none.

    Raises ValueError for counts that cannot be.
    """
    if not len(sample.change):
        return None
    bets, scale = Bets(sample), sample.total / 100
    upper, lower = (published + tolerance) * scale, (published - tolerance) * scale
    above = bets.excluded(floor(upper), 1)
    below = bets.excluded(ceil(lower), -1)
    inside = bets.excluded(ceil(lower) - 1, 1) & bets.excluded(floor(upper) + 1, -1)
    found = np.flatnonzero(above | below | inside)
    return int(bets.ends[found[0]]) if len(found) else None


class Bets:
    """The bets on the images of a sample, of which one at the capital is asked about after all."""

    def __init__(self, sample: Sample) -> None:
        n, total = len(sample.change), sample.total
        seen_right = int(np.count_nonzero(sample.right))
        wrong = total - sample.total_right - (n - seen_right)
        if n > total or total < 1 or seen_right > sample.total_right or wrong < 0:
            raise ValueError(f"{seen_right} of {n} images right in a set of {total} cannot be")
        self._sample = sample

    @cached_property
    def ends(self) -> np.ndarray:
        """(looks,) the numbers of images after which the capital is looked at."""
        n = len(self._sample.change)
        return np.array([*(look for look in looks(self._sample.total) if look < n), n])

    @cached_property
    def _stakes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The stakes (distances, n), and of each image what is bet on: `amount` - d x `share`."""
        change, right, total_right, total = self._sample
        change, right = change.astype(float), right.astype(float)
        before = np.arange(len(change))
        unseen = total - before
        rights, sums = _earlier(right), _earlier(change)
        lost = (_earlier(change > 0) + _LOST) / (rights + _RIGHT)
        gained = (_earlier(change < 0) + _GAINED) / (before - rights + _WRONG)
        share = (rights + _RIGHT) / (before + _RIGHT + _WRONG)
        variance = share * lost * (1 - lost) + (1 - share) * gained * (1 - gained)
        slope = np.minimum(lost + gained, 1.0)
        amount = change + sums / unseen - slope * (right - (total_right - rights) / unseen)
        stakes = np.minimum(_DISTANCES / variance * (total / unseen), _HIGHEST_STAKE)
        return stakes, amount, 1 / unseen

    def capital(self, difference: int, sign: int) -> np.ndarray:
        """Return the logarithm of the capital at each look, (looks,), that began as 1.

        difference: lost minus gained of all images, which is bet against; sign: 1 on there being
        more, -1 on less.
        """
        stakes, amount, share = self._stakes
        factors = np.maximum(1 + sign * stakes * (amount - difference * share), 1e-300)
        starts = [0, *self.ends[:-1]]
        parts = np.add.reduceat(np.log(factors), starts, axis=1).cumsum(axis=1)
        most = parts.max(axis=0)
        together: np.ndarray = most + np.log(np.exp(parts - most).mean(axis=0))
        return together

    def excluded(self, difference: int, sign: int) -> np.ndarray:
        """Return at which looks a difference is excluded, (looks,) bool, once and for all.

        With it all smaller ones (sign 1), or all larger ones (-1).
        """
        return np.maximum.accumulate(self.capital(difference, sign)) >= log(2 / ALPHA)

    def against(self, difference: int, sign: int) -> bool:
        """Return the same of the last look."""
        return bool(self.excluded(difference, sign)[-1])


def _earlier(values: np.ndarray) -> np.ndarray:
    """Return of each image the sum over those before it."""
    return np.cumsum(values) - values


def _last(is_excluded: Callable[[int], bool], start: int, end: int) -> int:
    """Return the last excluded one on the way from `start`, which is, to `end`."""
    while end - start > 1:
        middle = (start + end) // 2
        start, end = (middle, end) if is_excluded(middle) else (start, middle)
    return start
