"""A value that is handed down to what is called within, past what lies between.

Not a parameter, because it would pass through `Method.quantize`, which users' methods have too.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Generic, TypeVar

T = TypeVar("T")


class Surrounding(Generic[T]):
    """Holds one value at a time, of this thread; None outside `holding`. name: for debuggers."""

    def __init__(self, name: str) -> None:
        self._value: ContextVar[T | None] = ContextVar(name, default=None)

    @contextmanager
    def holding(self, value: T) -> Iterator[None]:
        """Inside, the value is `value`; afterwards what it was before."""
        token = self._value.set(value)
        try:
            yield
        finally:
            self._value.reset(token)

    def now(self) -> T | None:
        return self._value.get()
