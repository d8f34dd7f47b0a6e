"""What the picture of accuracy against a cost shows: points of records, joined to lines."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from bench.cells.result import COSTS
from bench.plots.costs import Curve, Panel, Point
from bench.tables.headline import float_headlines, metrics_of, titles
from bench.tables.summarise import (
    CANDIDATES,
    bits_text,
    candidates_vary,
    key_title,
    parameter_value,
    row_keys,
    summarise,
)
from models.errors import BenchError
from models.quantize.budget import LATENCY

_FREE = "MP"  # bits that no budget holds


def check_cost(name: str) -> None:
    """Raise BenchError for a name that is no cost which cells record."""
    if name not in COSTS:
        raise BenchError(f"--against {name}: no such cost; cells record {', '.join(COSTS)}")


def without(cells: pd.DataFrame, cost: str) -> tuple[int, int]:
    """Return how many cells are measured and do not record the cost, and how many are measured."""
    done = cells[cells["status"] == "done"]
    return int(done[cost].isna().sum()), len(done)


def why_without(cost: str) -> str:
    """Return in words why a measured cell may not record a cost."""
    if cost == LATENCY:
        return "it is recorded with quant.latency_table=FILE alone"
    return "results from before it was recorded have none; force=true measures them again"


def panels_of(cells: pd.DataFrame, cost: str) -> dict[str, Panel]:
    """Return by data set the lines of accuracy against `cost`, of cells that record both.

    cells: as of `cell_rows`. A line has one method, and one value of whatever else tells its cells
    apart: networks, parameters, whether bits are mixed, bits of activations where weights of the
    same bits have several. Along a line bits change. Where nothing limits mixed bits, the numbers
    among a method's parameters do what a budget does elsewhere, and change along the line too.
    """
    drawn = cells[(cells["status"] == "done") & cells[cost].notna()].reset_index(drop=True)
    if drawn.empty:
        return {}
    keys = row_keys(drawn)
    place = drawn.groupby([*keys, "w_bits", "a_bits"], sort=False, dropna=False).ngroup()
    costs = drawn[cost].astype(float).groupby(place).agg(["mean", "std"]).fillna(0.0)
    data = drawn.loc[~place.duplicated(), "data"].to_numpy()
    points = summarise(drawn).assign(data=data, cost=costs["mean"], cost_spread=costs["std"])
    panels = {}
    for name, of_data in points.groupby("data", sort=False):
        networks = [key for key in ("model", "weights") if key in keys and _varies(of_data[key])]
        others = [key for key in keys if key not in ("method", "data", "model", "weights")]
        curves: list[Curve] = []
        for _, of_method in of_data.groupby("method", sort=False):
            curves += _curves(of_method, networks, others)
        here = drawn[drawn["data"] == name]
        floats = [float(value) for value in float_headlines(here).dropna().unique()]
        panels[str(name)] = Panel(curves, floats, titles(metrics_of(here)))
    return panels


def _curves(points: pd.DataFrame, networks: Sequence[str], others: Sequence[str]) -> list[Curve]:
    """Return the lines of one method; points: as of `summarise`, with costs."""
    varying = [
        key
        for key in others
        if (candidates_vary(points, key) if key in CANDIDATES else _varies(points[key].astype(str)))
    ]
    moving = [key for key in varying if _moves(key, points)]
    names = _names(points, [*networks, *(key for key in varying if key not in moving)])
    if names.assign(**points[["w_bits", *moving]]).duplicated().any():
        names["inputs"] = [f"A{bits}" for bits in points["a_bits"]]
    found: dict[tuple[str, ...], list[Point]] = {}
    for words, row in zip(names.itertuples(index=False), points.to_dict("records"), strict=True):
        found.setdefault(tuple(words), []).append(_point(row, moving))
    method = str(points["method"].iloc[0])
    return [
        Curve(
            method,
            ", ".join([method, *(word for word in words if word)]),
            sorted(of_words, key=lambda point: (point.cost, point.top1)),
        )
        for words, of_words in found.items()
    ]


def _names(points: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Return the words that tell the points of a method apart, a column for each of `keys`.

    A last column says which have mixed bits, where not all do or none does.
    """
    names = pd.DataFrame(index=points.index)
    for key in keys:
        names[key] = [_word(key, parameter_value(value)) for value in points[key]]
    mixed = [
        isinstance(w_bits, str) or isinstance(a_bits, str)
        for w_bits, a_bits in zip(points["w_bits"], points["a_bits"], strict=True)
    ]
    if len(set(mixed)) > 1:
        names["kind"] = ["mixed bits" if each else "equal bits" for each in mixed]
    return names


def _word(key: str, value: Any) -> str:
    if isinstance(value, str):
        return "" if value == "none" else value
    return f"{key_title(key)} {value}"


def _varies(values: pd.Series) -> bool:
    return len(values.unique()) > 1


def _moves(key: str, points: pd.DataFrame) -> bool:
    """Return whether a parameter does what a budget does elsewhere."""
    values = points[key]
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    return key.startswith("method.") and numbers and set(points["w_bits"]) == {_FREE}


def _point(row: Mapping[Any, Any], moving: Sequence[str]) -> Point:
    moved = ", ".join(f"{key_title(key)} {parameter_value(row[key])}" for key in moving)
    low, high = row["ci_low"], row["ci_high"]
    if pd.notna(row["spread"]):
        low, high = row["mean"] - row["spread"], row["mean"] + row["spread"]
    numbers = (row["cost"], row["cost_spread"], row["mean"], low, high)
    return Point(moved or bits_text(row["w_bits"], row["a_bits"]), *map(float, numbers))
