"""`bench compare`: two cells, or all pairs of methods of many, and what is resolved."""

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from bench.cells.request import experiment_requests
from bench.cells.result import Result
from bench.cells.store import Store
from bench.commands.recipe import differing_rows, flat
from bench.config.experiments import outputs_of
from bench.config.files import options
from bench.console import put
from bench.statistics.intervals import wilson_interval
from bench.statistics.significance import (
    ALPHA,
    Difference,
    compare_cells,
    discordant,
    smallest_paired_difference,
    smallest_unpaired_difference,
)
from bench.tables.cell_rows import cell_rows, recorded_rows
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
    images = [r.recipe.evaluation.fingerprint for r in (first, second)]
    if images[0] != images[1]:
        raise BenchError(
            f"cells {first.id} and {second.id} were measured on different images "
            f"({images[0]!s:.12} and {images[1]!s:.12}), so they cannot be compared"
        )
    a, b = (store.correctness(result.id)["top1"] for result in (first, second))
    return [
        *_recipes(first, second),
        "",
        *(_top1(name, r) for name, r in (("A", first), ("B", second))),
        "",
        *_verdict(compare_cells(a, b), a, b),
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


def _top1(name: str, result: Result) -> str:
    assert result.correct is not None and result.total is not None
    low, high = wilson_interval(result.correct, result.total)
    counts = f"{result.correct:,} of {result.total:,}"
    return f"{name}  {result.top1:.2f} % [{low:.2f}, {high:.2f}]  {counts}  {result.label}"


def _verdict(difference: Difference, a: np.ndarray, b: np.ndarray) -> list[str]:
    p = _p(difference.p)
    only_a, only_b = discordant(a, b)
    images, differ = len(a), 100 * (only_a + only_b) / len(a)
    paired = smallest_paired_difference(images, differ)
    resolves = "no difference" if paired is None else f"{paired:.2f} points"
    unpaired = smallest_unpaired_difference(images, 50 * (a.mean() + b.mean()))
    return [
        f"A - B  {difference.points:+.2f} points [{difference.low:+.2f}, {difference.high:+.2f}], "
        "95 % by paired bootstrap over images",
        f"images that only A has right: {only_a:,}, only B: {only_b:,}; exact McNemar p "
        f"{p if p.startswith('<') else f'= {p}'}",
        _who(difference, only_a + only_b),
        "",
        f"{images:,} images of which {differ:.2f} % tell A and B apart resolve {resolves} "
        f"(unpaired {unpaired:.2f}), at 95 % with a power of 80 %",
        "images are what is random here; other seeds may differ more",
    ]


def _who(difference: Difference, differ: int) -> str:
    if not differ:
        return "equal: A and B are right on the same images"
    leader = "A" if difference.points > 0 else "B"
    if difference.p < ALPHA:
        return f"{leader} wins: resolved at 95 %"
    if difference.points == 0:
        return "a draw"
    return f"{leader} is ahead, but unresolved: these images do not tell A and B apart"


def _many(name: str, arguments: Namespace, store: Store) -> str:
    cells = _rows(name, arguments, store.results())

    def correctness(id: str) -> np.ndarray:
        return store.correctness(id)["top1"]

    what = "methods"
    pairs = compare_methods(cells, correctness)
    if pairs.empty:
        what = "quantizers"
        pairs = compare_methods(cells, correctness, parts=("method", "quant"))
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
    lines = [
        f"{name}: {count}",
        "top-1 and difference (first - second) in %, with a 95 % interval not corrected for the "
        "number of pairs",
        "one seed: exact McNemar test and bootstrap over images, other seeds may differ more; "
        "several: t-test over images and seeds",
        f"p (Holm) is corrected for {len(measured)} pairs, and decides",
    ]
    if arguments.format == "md":
        lines = [f"{line}  " for line in lines]
    body = _shown(measured).to_markdown(**_style(arguments.format))
    return "\n".join([*lines, "", body]) if len(measured) else lines[0]


def _rows(name: str, arguments: Namespace, results: list[Result]) -> pd.DataFrame:
    if name not in options("experiment", arguments.config_dir):
        return recorded_rows(group_of(name, results, arguments.config_dir))
    requests = experiment_requests(name, arguments.overrides, arguments.config_dir)
    return cell_rows(requests, results)


def _style(to: str) -> dict[str, Any]:
    return {"index": False, "tablefmt": _FORMATS[to], "disable_numparse": True}


def _shown(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the table that people read: texts."""
    numbers = pairs.columns[list(pairs.columns).index("first") :]
    conditions = pairs.drop(columns=[*numbers, "w_bits", "a_bits"])
    rows = [_texts(row) for row in pairs.to_dict("records")]
    texts = conditions.astype(object).map(parameter_value).astype(str)
    named = texts.rename(columns=key_title)
    return pd.concat([named, pd.DataFrame(rows, index=pairs.index)], axis=1)


def _texts(row: Mapping[Any, Any]) -> dict[str, str]:
    w_bits, a_bits = row["w_bits"], row["a_bits"]
    return {
        "bits": bits_text(w_bits, a_bits),
        "first": row["first"],
        "second": row["second"],
        "seeds": str(row["seeds"]),
        "top-1": f"{row['top1_first']:.2f}, {row['top1_second']:.2f}",
        "difference": f"{row['points']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}]",
        "p": _p(row["p"]),
        "p (Holm)": _p(row["p_holm"]),
        "winner": row["winner"],
    }


def _p(p: float) -> str:
    return "<0.0001" if p < 0.0001 else f"{p:.4f}"
