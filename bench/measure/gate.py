"""Before anything is quantized: is the float network the one that was published?"""

import logging

from bench.cells.result import Result
from models.errors import BenchError

log = logging.getLogger(__name__)


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
