"""Files that show by a checksum, sha256, when they are no longer what was written.

A JSON object carries its own as its last key, a checkpoint as its last line; a folder has the file
`checksums.json`.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from models.checksum import sha256_of
from models.errors import BenchError

CHECKSUMS = "checksums.json"

_KEY = ',\n "checksum": "'
_END = '"\n}\n'
_LINE = re.compile(rb"\nsha256 ([0-9a-f]{64})")
_LINE_BYTES = 72
_PART_BYTES = 1 << 20


def sealed(text: str) -> str:
    """Return `text`, a JSON object with a key or more, with a last key `checksum`.

    It is the sha256 (hex) of all bytes before it, so that checking it parses nothing.
    """
    body = text.rstrip().removesuffix("}").rstrip()
    return f"{body}{_KEY}{hashlib.sha256(body.encode()).hexdigest()}{_END}"


def fits(content: bytes) -> bool | None:
    """Return whether `content` is as `sealed` made it; None where it does not end in a checksum."""
    body, key, end = content.rpartition(_KEY.encode())
    if not key:
        return None
    return end == f"{hashlib.sha256(body).hexdigest()}{_END}".encode()


def append_checksum(path: Path) -> None:
    """Add a last line to a file of a format that ends by itself, such as zip."""
    with path.open("r+b") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0, os.SEEK_END)
        file.write(f"\nsha256 {sha256}".encode())


def appended_fits(path: Path) -> bool | None:
    """Return whether a file is as `append_checksum` left it; None where its end has been cut off.

    Or has never been there. Raises OSError when it cannot be read.
    """
    with path.open("rb") as file:
        size = max(0, file.seek(0, os.SEEK_END) - _LINE_BYTES)
        file.seek(size)
        line = _LINE.fullmatch(file.read())
        if line is None:
            return None
        file.seek(0)
        digest, left = hashlib.sha256(), size
        while part := file.read(min(left, _PART_BYTES)):
            digest.update(part)
            left -= len(part)
        return digest.hexdigest().encode() == line[1]


def checksums(files: Mapping[str, Path]) -> str:
    """Return the content of the `checksums.json` of a folder, given its files by name.

    They may still have other names: what makes a folder whole is renamed last.
    """
    return json.dumps({name: sha256_of(file) for name, file in files.items()}, indent=1) + "\n"


def folder_fits(folder: Path) -> bool:
    """Return whether the files of `folder` are those that its checksums speak of.

    So they are taken to be where there is no `checksums.json`, in a folder of an earlier version.
    """
    path = folder / CHECKSUMS
    if not path.exists():
        return True
    try:
        known = json.loads(path.read_bytes())
        return all(sha256_of(folder / name) == sha256 for name, sha256 in known.items())
    except (BenchError, OSError, ValueError, AttributeError, TypeError):
        return False
