"""The checksum of a file, and what is said when it cannot be read."""

from pathlib import Path

import pytest

from models.checksum import sha256_of
from models.errors import BenchError


def test_sha256_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")  # printf 'abc' | sha256sum
    assert sha256_of(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_sha256_of_unreadable(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"cannot read .*: Is a directory") as caught:
        sha256_of(tmp_path)
    assert isinstance(caught.value.__cause__, IsADirectoryError)
