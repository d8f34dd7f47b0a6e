"""Published numbers: what papers and releases print, each with where it was read.

`bench/papers/references/` has one YAML file a paper or system:

    paper: dsg
    tables:
      - table: ImageNet comparison     # any field of `Published` here is what all its rows have
        model: resnet18
        columns:                       # optional: what the cells of a row differ in
          - {w_bits: 4, a_bits: 4}
          - {w_bits: 8, a_bits: 8}
        rows:
          - {row: ZeroQ, method: zeroq, values: [26.04, {value: 71.43, note: ...}]}

A row without columns has `value`. A null among `values` is a cell that the table leaves empty.
Later places win: file, table, column, row, cell; `recipe` alone is merged, key by key.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.files.yaml_files import read_yaml
from models.errors import BenchError, first_mistake
from models.registry import did_you_mean

REFERENCES = Path(__file__).parent / "references"

Bits = Annotated[int, Field(ge=1, le=32)] | Literal["mixed"] | None
Kind = Literal["paper", "release", "second_hand", "rerun", "recalled"]
Metric = Literal[
    "top1",
    "top1_error",
    "top1_gain",
    "top5",
    "delta_b",
    "size_mb",
    "total_mb",
    "compression",
    "map",
    "map_drop",
    "box_ap",
    "mask_ap",
    "bops_percent",
    "latency_percent",
    "energy_percent",
    "epoch_percent",
    "seconds",
]


class Published(BaseModel):
    """One published number."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    paper: str = Field(description="What it is printed in, by the name `bench cite` has for it.")
    table: str = Field(description="Where in there, such as 'Table 1' or 'README'.")
    row: str = Field(description="Label of its row, as printed.")
    model: str = Field(description="The zoo's name where the zoo has the network.")
    weights: str = Field("unknown", description="Name of the float weights.")
    data: str = Field(description="Evaluation set, such as imagenet, cifar10, minikinetics, coco.")
    method: str = Field(
        description="The harness's name where it has the method, else the paper's in lower case."
    )
    w_bits: Bits = Field(None, description="Of weights, 32 for float; null where no one is stated.")
    a_bits: Bits = Field(None, description="Of activations, likewise.")
    metric: Metric = Field(
        "top1",
        description="top1, top1_error, top5 and average precisions in percent; top1_gain and "
        "map_drop in points; delta_b the mean over bit-widths of 100 x accuracy / accuracy of a "
        "network trained for that one; size_mb as printed, of 10^6 or 2^20 bytes; total_mb of "
        "weights and activations together, in 10^6 bytes; compression in "
        "times; bops_percent of the float network's, epoch_percent of an epoch's time, "
        "latency_percent and energy_percent as a change.",
    )
    value: float = Field(description="As printed.")
    spread: float | None = Field(None, description="Standard deviation, in the unit of value.")
    kind: Kind = Field(
        description="paper: in the paper, or on slides of it; release: in the authors' "
        "repository; second_hand: quoted by others; rerun: measured by others; recalled: from "
        "memory, never to be printed as published."
    )
    source: str = Field(description="Where it was read: paper and table, or repository and file.")
    note: str = Field("", description="Doubts, and what the label does not say.")
    recipe: dict[str, Any] = Field(
        default_factory=dict,
        description="What is known of it, under the names of QuantSpec, QatSpec and the methods "
        "where they have one, and no_data, no_finetuning. What is absent is unknown.",
    )


def load_published(folder: Path | None = None) -> list[Published]:
    """Return the entries of every YAML file of `folder`, by default of those that ship with bench.

    Raises BenchError, naming file, entry and field, for what is not as `Published` says.
    """
    files = sorted((REFERENCES if folder is None else folder).glob("*.yaml"))
    return [entry for file in files for entry in _read(file)]


def printable(published: Published) -> bool:
    """Return whether a table may show the number as published: not when it is only recalled."""
    return published.kind != "recalled"


def select(published: Iterable[Published], fields: Mapping[str, Any]) -> list[Published]:
    """Return the entries that have these `fields`; a set stands for any one of its members.

    Raises BenchError for a field that `Published` does not have.
    """
    _only(fields, Published.model_fields, "select")
    choices = {k: v if isinstance(v, set | frozenset) else (v,) for k, v in fields.items()}
    return [p for p in published if all(getattr(p, k) in v for k, v in choices.items())]


def _read(file: Path) -> Iterator[Published]:
    try:
        content = read_yaml(file)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BenchError(f"{file} cannot be read: {' '.join(str(error).split())}") from error
    top = _mapping(content, f"{file}")
    tables = _list(top.pop("tables", None), f"{file}: tables")
    for number, table in enumerate(tables, start=1):
        block = {**top, **_mapping(table, f"{file}, table {number}")}
        where = f"{file}, table {number} {block.get('table', '')!r}"
        rows = _list(block.pop("rows", None), f"{where}: rows")
        columns = block.pop("columns", None)
        block["recipe"] = _recipes([top, table], where)
        for place, row in enumerate(rows, start=1):
            at = f"{where}, row {place}"
            for cell in _cells(dict(_mapping(row, at)), columns, at):
                yield _entry([block, *cell], at)


def _cells(row: dict[str, Any], columns: Any, where: str) -> list[tuple[dict[str, Any], ...]]:
    """Return column, row and cell of each number in a row."""
    if columns is None:
        return [(row,)]
    columns, values = _list(columns, f"{where}: columns"), _list(row.pop("values", None), where)
    if len(values) != len(columns):
        raise BenchError(
            f"{where}: {len(values)} values for {len(columns)} columns; write null for an empty one"
        )
    return [
        (_mapping(column, where), row, value if isinstance(value, dict) else {"value": value})
        for column, value in zip(columns, values, strict=True)
        if value is not None
    ]


def _recipes(layers: Sequence[Mapping[str, Any]], where: str) -> dict[str, Any]:
    recipes = [_mapping(layer.get("recipe", {}), f"{where}: recipe") for layer in layers]
    return {key: value for recipe in recipes for key, value in recipe.items()}


def _entry(layers: Sequence[Mapping[str, Any]], where: str) -> Published:
    fields = {key: value for layer in layers for key, value in layer.items()}
    at = f"{where} {fields.get('row', '')!r}"
    _only(fields, Published.model_fields, at)
    try:
        return Published(**{**fields, "recipe": _recipes(layers, at)})
    except ValidationError as error:
        key, value, message = first_mistake(error)
        raise BenchError(f"{at}: {key.partition('.')[0]}{value}: {message}") from error


def _only(fields: Iterable[str], known_fields: Iterable[str], where: str) -> None:
    names = set(known_fields)
    for field in fields:
        if field not in names:
            raise BenchError(f"{where}: unknown field {field!r}; {did_you_mean(str(field), names)}")


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BenchError(f"{where}: {value!r} must be a mapping, key: value")
    return value


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise BenchError(f"{where}: {value!r} must be a list")
    return value
