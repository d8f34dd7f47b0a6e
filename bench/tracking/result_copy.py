"""The copy of a result inside its W&B run, so that tables can be made of runs."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from bench.cells.migrations import migrated
from bench.cells.result import Result
from models.errors import BenchError

RESULT_COPY = "record"
"""Key of the copy in a run's config. It is JSON text, which W&B keeps as it is."""


def copy_text(result: Result) -> str:
    """Return the result as text, but for a traceback, which has paths of the machine.

    And but for its checksum, which is that of a file.
    """
    return result.model_copy(update={"traceback": None, "checksum": None}).model_dump_json()


def read_copy(config: Mapping[str, Any]) -> Result:
    """Return the result in the config of a run, one of an earlier version as one of the present.

    Raises BenchError when there is no whole one.
    """
    text = config.get(RESULT_COPY)
    if not isinstance(text, str):
        raise BenchError("has no record of a cell")
    try:
        content = json.loads(text)
        return Result.model_validate(migrated(content) if isinstance(content, dict) else content)
    except ValidationError as error:
        raise BenchError(
            f"has a record of another version ({error.error_count()} keys do not fit)"
        ) from error
    except ValueError as error:
        raise BenchError("has a record that is not whole") from error
