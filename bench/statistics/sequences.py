"""Intervals that may be looked at after every image: sampling a finite set in random order.

A 95 % interval of the usual kind is right 95 times of 100 when it is looked at once; whoever stops
at the first look that suits is wrong more often. A confidence sequence holds at all looks at once:
with 95 % the truth is in every one of its intervals. These are the prior-posterior-ratio sequences
of Waudby-Smith and Ramdas, "Confidence sequences for sampling without replacement" (NeurIPS 2020,
section 2): a composition of the whole set is excluded once the images seen are 20 times likelier
under a fixed mixture of compositions than under it. They shrink to the truth as the last image is
seen.
"""

from collections.abc import Callable
from math import lgamma, log

from bench.statistics.intervals import CONFIDENCE

_EVEN = (1.0, 1.0)


def accuracy_sequence(right: int, seen: int, total: int) -> tuple[float, float]:
    """Return the interval of the top-1 of all `total` images, in percent, after `seen` of them.

    Raises ValueError for counts that cannot be.
    """
    _check((right, seen - right), seen, total)
    threshold = log(1 - CONFIDENCE) + _mixture((right, seen - right), _EVEN)

    def inside(whole: int) -> bool:
        return _likelihood((right, seen - right), (whole, total - whole)) > threshold

    low, high = right, total - (seen - right)
    middle = min(max(round(right * total / max(seen, 1)), low), high)
    return (
        100 * _edge(inside, middle, low) / total,
        100 * _edge(inside, middle, high) / total,
    )


def _check(counts: tuple[int, ...], seen: int, total: int) -> None:
    if min(counts) < 0 or not 0 <= seen <= total or total < 1:
        raise ValueError(f"{counts} of {seen} images seen of {total} cannot be")


def _likelihood(seen: tuple[int, ...], whole: tuple[int, ...]) -> float:
    """Return the logarithm of the hypergeometric probability, without its constant term."""
    return sum(_binomial(all_, part) for part, all_ in zip(seen, whole, strict=True)) - _binomial(
        sum(whole), sum(seen)
    )


def _mixture(seen: tuple[int, ...], prior: tuple[float, ...]) -> float:
    """Return the logarithm of the Dirichlet-multinomial probability of the counts seen.

    A part of a Dirichlet-multinomial set, drawn at random, is one again, with the same prior.
    """
    n, weight = sum(seen), sum(prior)
    value = lgamma(weight) + lgamma(n + 1) - lgamma(n + weight)
    for count, of_prior in zip(seen, prior, strict=True):
        value += lgamma(count + of_prior) - lgamma(of_prior) - lgamma(count + 1)
    return value


def _binomial(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


def _edge(inside: Callable[[int], bool], start: int, end: int) -> int:
    """Return the last value inside on the way from `start` to `end`; those inside have no gap."""
    if inside(end):
        return end
    while abs(end - start) > 1:
        between = (start + end) // 2
        start, end = (between, end) if inside(between) else (start, between)
    return start
