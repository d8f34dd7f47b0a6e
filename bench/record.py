"""The whole record of a cell inside its W&B run, so that tables can be made of runs."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from bench.result import Result
from models.errors import BenchError

RECORD = "record"
"""Key of the record in a run's config. It is JSON text, which W&B keeps as it is."""


def record_text(result: Result) -> str:
    """Return the record as text, but for a traceback, which has paths of the machine."""
    return result.model_copy(update={"traceback": None}).model_dump_json()


def read_record(config: Mapping[str, Any]) -> Result:
    """Return the record in the config of a run. Raises BenchError when it has no whole one."""
    text = config.get(RECORD)
    if not isinstance(text, str):
        raise BenchError("has no record of a cell")
    try:
        return Result.model_validate_json(text)
    except ValidationError as error:
        raise BenchError(
            f"has a record of another version ({error.error_count()} keys do not fit)"
        ) from error
