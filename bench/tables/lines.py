"""A table with a line for each method and bit-width, sorted by a number."""

from collections.abc import Sequence

import pandas as pd

from bench.tables.best import best_rows
from bench.tables.headline import metrics_of, titles
from bench.tables.numbers import NUMBERS, TOP1, means_of, row_of, written
from bench.tables.summarise import (
    bits_text,
    cell_text,
    key_title,
    parameter_value,
    row_keys,
    summarise,
)


def number_of(sort: str) -> str:
    """Return the number of `-NUMBER`, which is sorted downwards, or `NUMBER`."""
    return sort.removeprefix("-")


def lines(
    cells: pd.DataFrame, names: Sequence[str], sort: str
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return the table as texts, which of them are the best, and its cells in the same order.

    cells: as of `cell_rows`. names: of numbers, as of `with_numbers`. sort: one of them, rising, or
    falling behind a `-`; what does not have it comes last.

    Raises BenchError as `means_of`.
    """
    summary, keys = summarise(cells), row_keys(cells)
    means = means_of(cells, [*names, number_of(sort)])
    values = summary["mean"] if number_of(sort) == TOP1 else means[number_of(sort)]
    falling = sort.startswith("-")
    order = values.astype(float).sort_values(ascending=not falling, kind="stable").index
    texts = {key_title(key): summary[key].astype(object).map(parameter_value) for key in keys}
    texts["quantized to"] = pd.Series(map(bits_text, summary["w_bits"], summary["a_bits"]))
    marks = pd.DataFrame(False, index=summary.index, columns=list(texts))
    headline_texts = [cell_text(row) for row in summary.to_dict("records")]
    for name in names:
        title = titles(metrics_of(cells)) if name == TOP1 else NUMBERS[name].title
        texts[title] = pd.Series(headline_texts if name == TOP1 else written(means, name))
        marks[title] = best_rows(cells) if name == TOP1 else False
    place = row_of(cells).map({row: at for at, row in enumerate(order)})
    rows = cells.loc[place.sort_values(kind="stable").index].reset_index(drop=True)
    table = pd.DataFrame(texts).loc[order].reset_index(drop=True)
    return table, marks.loc[order].reset_index(drop=True), rows
