"""The one number of a cell, by what its task calls it."""

from collections.abc import Iterable

import pandas as pd

from bench.tasks.base import Metric
from bench.tasks.registry import CLASSIFICATION, task_named

TASK = "task"
"""Column of `cell_rows`, where one of the cells is of another task than classification."""


def tasks_of(cells: pd.DataFrame) -> pd.Series:
    """Return the name of the task of each cell (of `cell_rows`)."""
    if TASK not in cells:
        return pd.Series(CLASSIFICATION, index=cells.index, dtype=object)
    return cells[TASK].fillna(CLASSIFICATION)


def metrics_of(cells: pd.DataFrame) -> list[Metric]:
    """Return the headline of each task that there is among `cells`, in order of appearance."""
    return [task_named(name).headline for name in tasks_of(cells).unique()]


def headlines(cells: pd.DataFrame) -> pd.Series:
    """Return the headline of each cell, in percent; NaN where it is not measured."""
    return _by_task(cells, of_float=False)


def float_headlines(cells: pd.DataFrame) -> pd.Series:
    """Return that of the float network, on the same images."""
    return _by_task(cells, of_float=True)


def titles(metrics: Iterable[Metric]) -> str:
    """Return what headlines are called where there is one title for all: `top-1`, `top-1 or mAP`.

    A table of no cell is one of top-1.
    """
    return " or ".join(dict.fromkeys(metric.title for metric in metrics)) or "top-1"


def _by_task(cells: pd.DataFrame, of_float: bool) -> pd.Series:
    tasks = tasks_of(cells)
    columns = {}
    for name in tasks.unique():
        metric = task_named(name).headline
        columns[name] = metric.of_float if of_float else metric.key
    if len(columns) == 1:
        return cells[next(iter(columns.values()))]
    values = pd.Series(float("nan"), index=cells.index)
    for name, column in columns.items():
        of_task = tasks == name
        values[of_task] = cells.loc[of_task, column].astype(float)
    return values
