"""The rows of a frame as mappings."""

from typing import Any

import pandas as pd


def records(frame: pd.DataFrame) -> list[dict[Any, Any]]:
    """Return what `frame.to_dict("records")` returns, faster.

    pandas makes a Series of each column, and the tables of papers have some eighty.
    """
    columns = list(frame.columns)
    rows = frame.to_numpy(dtype=object).tolist()
    return [dict(zip(columns, row, strict=True)) for row in rows]
