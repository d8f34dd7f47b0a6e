"""The two ways a measurement ends early without being a bug, and errors in one line."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # takes a tenth of a second to import
    from pydantic import ValidationError


class BenchError(Exception):
    """A mistake of the user's or of the environment's.

    The message is one line that says what is wrong, where, and what to do about it; it is shown
    without a traceback.
    """


class NotApplicable(Exception):
    """A combination that has no meaning (say, BatchNorm statistics of a network without any).

    The cell is recorded as skipped with this message as the reason.
    """


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message that is not blank, "" where there is none."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "")


class Mistake(NamedTuple):
    """One value that does not fit.

    key: where it is, such as `method.images`. value: `=0`, or nothing where it is missing.
    message: what is wrong with it.
    """

    key: str
    value: str
    message: str


def first_mistake(error: "ValidationError") -> Mistake:
    """Return the first of the values that pydantic found wrong."""
    first = error.errors()[0]
    key = ".".join(map(str, first["loc"]))
    value = "" if first["type"] == "missing" else f"={first['input']!r}"
    return Mistake(key, value, first["msg"])
