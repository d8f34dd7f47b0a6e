"""Records of earlier versions of the schema, brought to the present one when they are read.

The files stay as they are. Whoever changes what a result holds raises `SCHEMA_VERSION` and adds the
step that leads there.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

SCHEMA_VERSION: Literal[3] = 3

SEALED_SINCE = 2
"""The version from which on a file ends with its checksum."""

Content = dict[str, Any]


def _to_2(content: Content) -> Content:
    """No checksums, and no image was left out: an unreadable one ended the cell."""
    return content | {"left_out": 0, "correct_sha256": None, "checksum": None}


def _to_3(content: Content) -> Content:
    """What is quantized was not counted, and nothing known that a reader is to be warned of."""
    shares = ("quantized_weights", "quantized_multiplications", "quantized_inputs")
    return content | {"warnings": []} | dict.fromkeys(shares)


STEPS: Mapping[int, Callable[[Content], Content]] = {1: _to_2, 2: _to_3}
"""From each earlier version to the next: given the content of a result.json, it returns another."""


def migrated(content: Content) -> Content:
    """Return `content` as one of the present version; as it is where its version is unknown."""
    version = content.get("schema_version")
    while isinstance(version, int) and version in STEPS:
        content = STEPS[version](content) | {"schema_version": version + 1}
        version += 1
    return content
