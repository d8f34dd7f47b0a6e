"""What is in the images of a set, as part of what the set is."""

from typing import TYPE_CHECKING

from bench.data.listing import fingerprint_of

if TYPE_CHECKING:
    from bench.statistics.boxes import Truth


def digest_of(truth: "Truth") -> str:
    """Return the sha256 (hex) of the objects of an image, in their order."""
    columns = truth.boxes, truth.classes, truth.crowd, truth.areas
    return fingerprint_of(column.tolist() for column in columns)
