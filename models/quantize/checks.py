"""Whether a value of the quantizer is one that it can have."""

from typing import Any, Literal

from models.errors import BenchError

FLOAT_BITS = 32
"""The bit-width that stands for "left in floating point"."""

MIXED: Literal["mixed"] = "mixed"
"""Stands for bits that are chosen layer by layer, most often under a budget."""

_BITS = (2, 16)


def check_bits(name: str, bits: object) -> None:
    """Raise BenchError unless `bits` is 2..16 or 32."""
    low, high = _BITS
    if isinstance(bits, bool) or not isinstance(bits, int):
        raise BenchError(
            f"{name}={bits!r} is not a format this quantizer can represent; it makes uniform "
            f"integer grids, so give an integer, {low}..{high} bits or {FLOAT_BITS} for float"
        )
    if bits != FLOAT_BITS and not low <= bits <= high:
        raise BenchError(f"{name}={bits} is impossible; give {low}..{high}, or 32 for float")


def check_positive(name: str, value: object) -> None:
    """Raise BenchError unless `value` is a number above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise BenchError(f"{name}={value!r}; give a positive number")


def whole(value: Any) -> Any:
    """Return 4 for 4.0; anything else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def check_count(name: str, value: object, least: int = 1) -> None:
    """Raise BenchError unless `value` is a whole number, `least` or more."""
    if not counts(value, least):
        raise BenchError(f"{name}={value!r}; give a whole number, {least} or more")


def counts(value: object, least: int = 1) -> bool:
    """Return whether `value` is a whole number, `least` or more."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def check_power_of_two(name: str, value: object) -> None:
    """Raise BenchError unless `value` is 2, 4, 8, ..., or None."""
    if value is not None and not (
        isinstance(value, int) and counts(value, 2) and value.bit_count() == 1
    ):
        raise BenchError(f"{name}={value!r}; give a power of two, 2 or more, or null")


def check_fraction(name: str, value: object) -> None:
    """Raise BenchError unless `value` is a number from 0 to below 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise BenchError(f"{name}={value!r}; give a number from 0 to below 1")


def check_share(name: str, value: object) -> None:
    """Raise BenchError unless `value` is a number from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise BenchError(f"{name}={value!r}; give a number from 0 to 1")


def check_switch(name: str, value: object) -> None:
    """Raise BenchError unless `value` is true or false."""
    if not isinstance(value, bool):
        raise BenchError(f"{name}={value!r}; give true or false")
