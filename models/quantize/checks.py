"""Whether a value of the quantizer is one that it can have."""

from models.errors import BenchError

FLOAT_BITS = 32
"""The bit-width that stands for "left in floating point"."""

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


def check_count(name: str, value: object) -> None:
    """Raise BenchError unless `value` is a whole number, 1 or more."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise BenchError(f"{name}={value!r}; give a whole number, 1 or more")


def check_fraction(name: str, value: object) -> None:
    """Raise BenchError unless `value` is a number from 0 to below 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise BenchError(f"{name}={value!r}; give a number from 0 to below 1")


def check_switch(name: str, value: object) -> None:
    """Raise BenchError unless `value` is true or false."""
    if not isinstance(value, bool):
        raise BenchError(f"{name}={value!r}; give true or false")
