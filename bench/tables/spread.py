"""What the picture of a table shows: every seed of every row."""

import pandas as pd

from bench.plots.spread import Row
from bench.tables.headline import float_headlines, headlines
from bench.tables.summarise import bits_text, parameter_value, row_keys


def spread_of(cells: pd.DataFrame) -> tuple[dict[str, list[Row]], list[float]]:
    """Return the rows of a table by bit-width, and the headline of its float networks.

    cells: as of `cell_rows`. A row is called by what tells the rows of the table apart.
    """
    done = cells[cells["status"] == "done"]
    accuracies = headlines(done)
    keys = row_keys(cells)
    varying = [key for key in keys if len(cells[key].unique()) > 1] or keys[:1]
    panels: dict[str, list[Row]] = {}
    places = [*varying, "w_bits", "a_bits"]
    for values, group in done.groupby(places, sort=False, dropna=False):
        *named, w_bits, a_bits = values
        bits = bits_text(w_bits, a_bits)
        texts = [str(parameter_value(value)) for value in named]
        label = ", ".join(text for text in texts if text and text != "none")
        panels.setdefault(bits, []).append(Row(label, list(accuracies[group.index])))
    return panels, list(float_headlines(done).dropna().unique())
