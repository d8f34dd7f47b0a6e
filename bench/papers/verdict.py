"""Whether a published number was reproduced."""

from collections import Counter
from typing import Literal, NamedTuple, get_args

VerdictName = Literal[
    "reproduced",
    "off",
    "undecided",
    "not comparable",
    "failed",
    "not run",
    "not here",
    "unpublished",
]
"""`undecided`: on a part of the published images, and too few to tell. `not here`: the harness has
no such method, network, data set or cell. `unpublished`: a measured cell of a table whose numbers
are not known."""


VERDICTS: tuple[VerdictName, ...] = get_args(VerdictName)
"""All of them, the better ones first."""


class Verdict(NamedTuple):
    """What a published and a measured number say together.

    text: for a table. why: in what the recipes differ, or why there is no number.
    """

    name: VerdictName
    text: str
    why: str = ""


class Interval(NamedTuple):
    """A measured mean with its 95 % interval, all in the unit of the published number."""

    mean: float
    low: float
    high: float


def judge(published: float, measured: Interval, tolerance: float) -> Verdict:
    """Return `reproduced` where the published value is in the interval or within `tolerance` of the
    mean, otherwise `off` with measured minus published, in points.
    """
    difference = measured.mean - published
    # Papers print decimals: what is left of a subtraction of floats must not decide.
    near = abs(difference) <= tolerance + 1e-9
    if near or measured.low <= published <= measured.high:
        return Verdict("reproduced", "reproduced")
    return Verdict("off", f"off by {difference:+.2f}")


def judge_drop(published: float, measured: Interval, tolerance: float) -> Verdict:
    """Return whether a drop measured on a part of the images is the published one.

    `reproduced` where its whole interval is within `tolerance` of the published drop, `off` where
    none of it is, else `undecided`: an interval that is wide enough has any drop in it.
    """
    low, high = measured.low - published, measured.high - published
    if max(abs(low), abs(high)) <= tolerance:
        return Verdict("reproduced", "drop reproduced")
    if low > tolerance or high < -tolerance:
        return Verdict("off", f"drop off by {measured.mean - published:+.2f}")
    return Verdict("undecided", "undecided")


def in_words(counts: Counter[str]) -> str:
    """Return how many numbers have which verdict, such as `3 reproduced, 1 off`."""
    return ", ".join(f"{counts[name]} {name}" for name in VERDICTS if counts[name])
