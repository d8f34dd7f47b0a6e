"""Before anything is quantized: is the float network the one that was published?"""

from bench.cells.result import Result
from models.errors import BenchError


def check_float(reference: Result, expected: float | None, mode: str) -> list[str]:
    """Compare the float cell with what is published; mode "warn" only returns a mismatch.

    expected: the headline of its task, in percent; None where nothing is published.

    Returns what is to be said of the cells of this network, a line each.

    Raises BenchError when `expected` lies outside the 95 % interval of the measured one.
    """
    if expected is None or reference.ci_low is None or reference.ci_high is None:
        return []
    if reference.ci_low <= expected <= reference.ci_high:
        return []
    title = reference.of_task.headline.title
    message = (
        f"float {title} of {reference.model} on {reference.data} is {reference.headline:.2f} % "
        f"[{reference.ci_low:.2f}, {reference.ci_high:.2f}] and {expected} % was published for "
        "these weights: the images or their preprocessing differ, look at data.root"
    )
    if mode == "stop":
        raise BenchError(f"{message}; gate=warn measures all the same")
    return [message]
