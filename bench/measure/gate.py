"""Before anything is quantized: is the float network the one that was published?"""

import logging

from bench.cells.result import Result
from bench.data import Listing
from models.errors import BenchError
from models.zoo import Weights

log = logging.getLogger(__name__)


def expected_top1(weights: Weights, listing: Listing) -> float | None:
    """Return the published float top-1 in percent, if `listing` is the set it was published for."""
    published = weights.published
    if published is None or (published.data, published.images) != (listing.name, len(listing)):
        return None
    return published.top1


def check_float(reference: Result, expected: float | None, mode: str) -> None:
    """Compare the float cell with the published top-1; mode "warn" only logs a mismatch.

    Raises BenchError when `expected` lies outside the 95 % interval of the measured top-1.
    """
    if expected is None or reference.ci_low is None or reference.ci_high is None:
        return
    if reference.ci_low <= expected <= reference.ci_high:
        return
    message = (
        f"float top-1 of {reference.model} on {reference.data} is {reference.top1:.2f} % "
        f"[{reference.ci_low:.2f}, {reference.ci_high:.2f}] and {expected} % was published for "
        "these weights: the images or their preprocessing differ, look at data.root; gate=warn "
        "measures all the same"
    )
    if mode == "stop":
        raise BenchError(message)
    log.warning("warning: %s", message)
