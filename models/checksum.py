"""The checksum that names a file; importing this imports nothing heavy."""

import hashlib
from pathlib import Path

from models.errors import BenchError


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of the file's bytes, 64 lower-case hexadecimal digits.

    Raises BenchError, with the OSError as its cause, when the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BenchError(f"cannot read {path}: {error.strerror}; check the path") from error
