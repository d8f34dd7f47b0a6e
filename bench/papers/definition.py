"""Tables of papers: which published numbers they show, and which cells measure them.

One YAML file a table lies in `bench/papers/tables/`; the experiment of the same name, where there
is one, has its cells.
"""

from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.files.yaml_files import read_yaml
from bench.papers.by_name import TABLES, table_names
from models.errors import BenchError, first_mistake
from models.registry import did_you_mean


class Definition(BaseModel):
    """One table of a paper."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    select: list[dict[str, Any]] = Field(
        description="Which published numbers it shows, in this order: fields of `Published` that "
        "must be equal, a list standing for any one of its members. Without any, all rows are "
        "cells that nothing is published for."
    )
    columns: dict[str, str] = Field(
        description="Heading to what stands below it: a field of `Published`, or recipe.KEY."
    )
    across: Literal["bits", "model"] | None = Field(
        None, description="What has a column for each of its values; null: a line a number."
    )
    heads: dict[str, str] = Field(
        default_factory=dict, description="Headings of these columns, such as W8A8: 8-bit."
    )
    cells: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="What the cells of a row have in columns of `bench table --format csv`, by the "
        "label of the row or the name of its method; the default is that method. Bits that are not "
        "published are said here.",
    )
    same: dict[str, str] = Field(
        default_factory=dict,
        description="Recipe keys, or weights, whose published value a cell must have, with the "
        "cell's column.",
    )
    tolerance: float = Field(
        0.1,
        description="Points, or MB, that a measured value may be off by and still counts as "
        "reproduced; of bit operations it is a twentieth.",
    )
    drop_tolerance: float = Field(
        0.5,
        description="Points that the drop from float to quantized may be off by where a part of "
        "the images was evaluated.",
    )


def load_definition(name: str) -> Definition:
    """Return the definition of the table called `name`.

    Raises BenchError when there is none, or when its file is not as `Definition` says.
    """
    if name not in table_names():
        raise BenchError(f"unknown table {name!r}; {did_you_mean(name, table_names())}")
    path = TABLES / f"{name}.yaml"
    try:
        return Definition.model_validate(read_yaml(path))
    except (yaml.YAMLError, ValidationError) as error:
        raise BenchError(f"{path} is no definition of a table: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        key, _, message = first_mistake(error)
        return f"{key}: {message}"
    return " ".join(str(error).split())
