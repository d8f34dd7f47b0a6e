"""What happens to files: cut off, one bit turned over."""

from collections.abc import Callable
from pathlib import Path

Damage = Callable[[Path], None]


def cut_off(path: Path) -> None:
    """Lose the second half, as when a disk was full or a copy was broken off."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def flip(path: Path, place: float = 0.5) -> None:
    """Turn one bit over, at a share of the length."""
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 0x04
    path.write_bytes(content)


def empty(path: Path) -> None:
    """Lose everything, as after a loss of power."""
    path.write_bytes(b"")


EVERY = (cut_off, flip, empty)
