"""`bench compare`: two cells, or all pairs of methods of many, and what is resolved."""

from argparse import Namespace
from collections.abc import Mapping
from functools import cache
from typing import Any

import pandas as pd

from bench.cells.request import experiment_requests
from bench.cells.result import Result
from bench.cells.store import Store
from bench.commands.recipe import differing_rows, flat
from bench.commands.verdicts import cell_line, common_line, p_text, verdict
from bench.config.experiments import outputs_of
from bench.config.files import options
from bench.console import put
from bench.tables.cell_rows import cell_rows, recorded_rows
from bench.tables.headline import metrics_of, titles
from bench.tables.pairs import EQUAL, UNRESOLVED, compare_methods
from bench.tables.summarise import bits_text, key_title, parameter_value
from bench.tables.table import group_of
from models.errors import BenchError

_FORMATS = {"text": "simple", "md": "github"}
_WIDEST = 44


def compare(arguments: Namespace) -> int:
    """Print the comparison of two cells, or of every pair of an experiment or a group; return 0.

    Raises BenchError for an unknown name, a cell without a number, cells of different images, or a
    file that cannot be written.
    """
    store = Store(outputs_of(arguments.overrides))
    match arguments.names:
        case [name]:
            text = _many(name, arguments, store)
        case [first, second]:
            text = "\n".join(_cells(*_two(first, second, arguments, store), store))
        case names:
            raise BenchError(
                f"compare takes one experiment or group, or two cells; not {len(names)}"
            )
    put(text + "\n", arguments.out)
    return 0


def _two(first: str, second: str, arguments: Namespace, store: Store) -> tuple[Result, Result]:
    for name in (first, second):
        if name in options("experiment", arguments.config_dir):
            raise BenchError(
                f"{name!r} is an experiment; `bench compare {name}` compares its methods, and two "
                "ids of `bench status` two cells"
            )
    return _measured(store, first), _measured(store, second)


def _measured(store: Store, prefix: str) -> Result:
    result = store.find(prefix)
    if result.status != "done":
        raise BenchError(f"cell {result.id} has no number: it {result.status}, {result.reason}")
    return result


def _cells(first: Result, second: Result, store: Store) -> list[str]:
    if first.task != second.task:
        raise BenchError(
            f"cell {first.id} is of {first.task} and {second.id} of {second.task}, so they cannot "
            "be compared"
        )
    images = [r.recipe.evaluation.fingerprint for r in (first, second)]
    if images[0] != images[1]:
        raise BenchError(
            f"cells {first.id} and {second.id} were measured on different images "
            f"({images[0]!s:.12} and {images[1]!s:.12}), so they cannot be compared"
        )
    a, b = (store.items(result.id) for result in (first, second))
    seen, (a, b) = (a, b), first.of_task.common([a, b])
    return [
        *_recipes(first, second),
        "",
        cell_line("A", first, seen[0]),
        cell_line("B", second, seen[1]),
        *common_line(first, second, a),
        "",
        *verdict(first, a, b),
    ]


def _recipes(first: Result, second: Result) -> list[str]:
    rows = differing_rows(flat(first.recipe.as_dict()), flat(second.recipe.as_dict()))
    if not rows:
        return ["the same recipe"]
    table = [(key, _short(a), _short(b)) for key, a, b in rows]
    columns = ["recipe differs in", f"A {first.id[:8]}", f"B {second.id[:8]}"]
    return pd.DataFrame(table, columns=columns).to_markdown(**_style("text")).splitlines()


def _short(text: str) -> str:
    return text if len(text) <= _WIDEST else text[: _WIDEST - 4] + " ..."


def _many(name: str, arguments: Namespace, store: Store) -> str:
    cells = _rows(name, arguments, store.results())
    items_of = cache(store.items)
    what = "methods"
    pairs = compare_methods(cells, items_of)
    if pairs.empty:
        what = "quantizers"
        pairs = compare_methods(cells, items_of, parts=("method", "quant"))
    if pairs.empty:
        raise BenchError(
            f"{name!r} has no two methods or quantizers on the same condition; compare two of its "
            "cells by their ids"
        )
    measured = pairs[pairs["seeds"] > 0]
    decided = int((~measured["winner"].isin([UNRESOLVED, EQUAL])).sum())
    count = f"{len(measured)} of {len(pairs)} pairs of {what} are measured, {decided} are resolved"
    if len(measured) < len(pairs) and name in options("experiment", arguments.config_dir):
        count += f"; `bench status --experiment {name}` lists what is missing"
    metrics = metrics_of(cells)
    tests = {metric.key: metric.test for metric in metrics}
    lines = [
        f"{name}: {count}",
        f"{titles(metrics)} and difference (first - second) in %, with a 95 % interval not "
        "corrected for the number of pairs",
        f"one seed: {' or '.join(tests.values())}, other seeds may differ more; "
        "several: t-test over images and seeds",
        f"p (Holm) is corrected for {len(measured)} pairs, and decides",
    ]
    if arguments.format == "md":
        lines = [f"{line}  " for line in lines]
    body = _shown(measured, titles(metrics)).to_markdown(**_style(arguments.format))
    return "\n".join([*lines, "", body]) if len(measured) else lines[0]


def _rows(name: str, arguments: Namespace, results: list[Result]) -> pd.DataFrame:
    if name not in options("experiment", arguments.config_dir):
        return recorded_rows(group_of(name, results, arguments.config_dir))
    requests = experiment_requests(name, arguments.overrides, arguments.config_dir)
    return cell_rows(requests, results)


def _style(to: str) -> dict[str, Any]:
    return {"index": False, "tablefmt": _FORMATS[to], "disable_numparse": True}


def _shown(pairs: pd.DataFrame, title: str) -> pd.DataFrame:
    """Return the table that people read: texts. title: of the number that is compared."""
    numbers = pairs.columns[list(pairs.columns).index("first") :]
    conditions = pairs.drop(columns=[*numbers, "w_bits", "a_bits"])
    rows = [_texts(row, title) for row in pairs.to_dict("records")]
    texts = conditions.astype(object).map(parameter_value).astype(str)
    named = texts.rename(columns=key_title)
    return pd.concat([named, pd.DataFrame(rows, index=pairs.index)], axis=1)


def _texts(row: Mapping[Any, Any], title: str) -> dict[str, str]:
    w_bits, a_bits = row["w_bits"], row["a_bits"]
    return {
        "bits": bits_text(w_bits, a_bits),
        "first": row["first"],
        "second": row["second"],
        "seeds": str(row["seeds"]),
        title: f"{row['mean_first']:.2f}, {row['mean_second']:.2f}",
        "difference": f"{row['points']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}]",
        "p": p_text(row["p"]),
        "p (Holm)": p_text(row["p_holm"]),
        "winner": row["winner"],
    }
