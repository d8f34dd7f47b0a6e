"""A line of the table of peers: what one way of one tool came to at some bits, and its CSV file."""

import csv
from collections.abc import Iterable, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from bench.peers.base import Bits
from models.errors import BenchError


class Job(NamedTuple):
    """One thing to measure. tool: its name in tables."""

    tool: str
    method: str
    bits: Bits


class Conditions(BaseModel):
    """What all rows of a file share.

    evaluation, calibration: hashes of the images that are evaluated, and of the weights, the
    calibration images and how these are made.
    """

    model_config = ConfigDict(frozen=True)

    network: str
    data: str
    images: int
    evaluation: str
    calibration_images: int
    calibration: str
    seed: int


class Row(Conditions):
    """A measurement, or why there is none.

    right: a bit an image, in the order of the set, packed, in hexadecimal.
    layers, low_weights, low_inputs, weights_percent: see `bench.peers.grids.Found`.
    quantize_s, float_s: seconds of quantizing, and of an eager float evaluation of all images, of
        the processor where it computes.
    evaluate_ratio: seconds of an eager evaluation over those of the float network.
    reason: why there is no number.
    """

    tool: str
    version: str
    method: str
    w_bits: int
    a_bits: int
    correct: int | None = None
    right: str | None = None
    layers: int | None = None
    low_weights: int | None = None
    low_inputs: int | None = None
    weights_percent: float | None = None
    quantize_s: float | None = None
    float_s: float | None = None
    evaluate_ratio: float | None = None
    device: str | None = None
    threads: int | None = None
    load_average: float | None = None
    torch: str | None = None
    reason: str | None = None

    @field_validator("*", mode="before")
    @classmethod
    def _nothing(cls, value: Any) -> Any:
        return None if value == "" else value

    @property
    def bits(self) -> Bits:
        return Bits(self.w_bits, self.a_bits)

    @property
    def job(self) -> Job:
        return Job(self.tool, self.method, self.bits)

    @property
    def bitmap(self) -> np.ndarray | None:
        """Which images are right, boolean (images,); None where there is no number."""
        if self.right is None:
            return None
        packed = np.frombuffer(bytes.fromhex(self.right), np.uint8)
        return np.unpackbits(packed, count=self.images).astype(bool)


COLUMNS = tuple(Row.model_fields)


def packed(right: np.ndarray) -> str:
    """Return a boolean (N,) as `Row.right` has it."""
    return np.packbits(right).tobytes().hex()


def text(rows: Iterable[Row]) -> str:
    """Return rows as CSV."""
    out = StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: "" if v is None else v for k, v in row.model_dump().items()})
    return out.getvalue()


def read(path: Path) -> list[Row]:
    """Return the rows of a CSV file, none where there is no file.

    Raises BenchError for a file that is none of rows.
    """
    if not path.exists():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [Row.model_validate(line) for line in csv.DictReader(file)]
    except (OSError, ValueError, ValidationError) as error:
        raise BenchError(
            f"{path} is not a table of bench peers ({type(error).__name__}); move it away"
        ) from error


def check_conditions(rows: Sequence[Row], conditions: Conditions, path: Path) -> None:
    """Raise BenchError where rows of a file were measured on something else than is asked for."""
    wanted = conditions.model_dump()
    for row in rows:
        for key, value in wanted.items():
            if getattr(row, key) != value:
                raise BenchError(
                    f"{path} was measured at {key}={getattr(row, key)}, and {key}={value} is asked "
                    "for; move it away, or give another folder with --out"
                )


def with_row(rows: Sequence[Row], new: Row) -> list[Row]:
    """Return `rows` with `new` in the place of the one of the same job, else at the end."""
    if any(row.job == new.job for row in rows):
        return [new if row.job == new.job else row for row in rows]
    return [*rows, new]
