"""All pairs of methods: which are made, over which seeds, and what is corrected."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.statistics.significance import compare_cells, compare_seeds
from bench.tables.pairs import EQUAL, UNRESOLVED, compare_methods, split_keys
from bench.tasks.classification import Correctness
from models.errors import BenchError

IMAGES = 500


def cell(method: str, seed: int = 0, bits: int = 4, **changes: Any) -> dict[str, Any]:
    known = {
        "model": "resnet20",
        "weights": "default",
        "data": "mnist5k",
        "method": method,
        "w_bits": bits,
        "a_bits": bits,
        "seed": seed,
        "method.images": 16,
        "quant.sites": "relu",
        "status": "done",
        "images": "f" * 64,
    }
    return {**known, "id": f"{method}-{bits}-{seed}", **changes}


def correctness(id: str) -> Correctness:
    """Right on every image above a rank that depends on the method, moved a little by the seed."""
    method, _, seed = id.split("-")
    right = {"bad": 100, "good": 400, "twin": 400, "close": 395}[method]
    return _right(np.roll(np.arange(IMAGES) < right, 3 * int(seed)))


def _right(top1: np.ndarray) -> Correctness:
    return Correctness(top1, np.ones_like(top1))


def test_one_seed_is_compared_by_mcnemar() -> None:
    pairs = compare_methods(pd.DataFrame([cell("bad"), cell("good"), cell("twin")]), correctness)
    assert list(zip(pairs["first"], pairs["second"], strict=True)) == [
        ("bad", "good"),
        ("bad", "twin"),
        ("good", "twin"),
    ]
    assert list(pairs["winner"]) == ["good", "twin", EQUAL]
    assert list(pairs["mean_first"]) == [20.0, 20.0, 80.0]
    assert list(pairs["points"]) == [-60.0, -60.0, 0.0]
    by_hand = compare_cells(correctness("bad-4-0").top1, correctness("good-4-0").top1)
    assert pairs["p"][0] == by_hand.p
    assert (pairs["low"][0], pairs["high"][0]) == (by_hand.low, by_hand.high)
    assert list(pairs["p_holm"]) == pytest.approx([3 * by_hand.p, 3 * by_hand.p, 1.0])


def test_correction_is_across_the_table() -> None:
    # 400 against 392 nested images: p = 2 / 2^8 = 0.0078; two pairs make 0.0156, seven 0.055.
    def nested(id: str) -> Correctness:
        return _right(np.arange(IMAGES) < (392 if id.startswith("close") else 400))

    def winner(widths: int) -> str:
        cells = [cell(m, bits=b) for b in range(2, 2 + widths) for m in ("good", "twin")]
        cells = [cell("good", bits=16), cell("close", bits=16), *cells]
        return compare_methods(pd.DataFrame(cells), nested)["winner"][0]

    assert winner(1) == "good"
    assert winner(6) == UNRESOLVED


def test_only_seeds_that_both_have_count() -> None:
    cells = [cell("bad", s) for s in (0, 1, 2)] + [cell("good", s) for s in (1, 2, 3)]
    (row,) = compare_methods(pd.DataFrame(cells), correctness).to_dict("records")
    assert row["seeds"] == 2
    sides = [np.stack([correctness(f"{m}-4-{s}").top1 for s in (1, 2)]) for m in ("bad", "good")]
    assert row["p"] == compare_seeds(*sides).p
    assert row["winner"] == "good"


def test_what_is_not_measured_has_no_numbers_and_is_not_counted() -> None:
    cells = [cell("bad"), cell("good"), cell("twin", status="missing", id=None, images=None)]
    pairs = compare_methods(pd.DataFrame(cells), correctness)
    assert list(pairs["seeds"]) == [1, 0, 0]
    assert pairs["p_holm"][0] == pairs["p"][0]
    assert pairs["p"].isna().tolist() == [False, True, True]
    assert pairs["winner"].isna().tolist() == [False, True, True]
    nothing = pd.DataFrame([cell(m, status="failed") for m in ("bad", "good")])
    assert list(compare_methods(nothing, correctness)["seeds"]) == [0]


def test_only_methods_asked_the_same_are_paired() -> None:
    cells = pd.DataFrame(
        cell(m, bits=b, **{"quant.sites": s})
        for m in ("bad", "good")
        for b in (4, 8)
        for s in ("relu", "all")
    )
    assert split_keys(cells) == (["method"], ["quant.sites", "w_bits", "a_bits"])
    pairs = compare_methods(cells, correctness)
    assert len(pairs) == 4
    assert set(zip(pairs["quant.sites"], pairs["w_bits"], strict=True)) == {
        ("relu", 4),
        ("relu", 8),
        ("all", 4),
        ("all", 8),
    }
    alone = compare_methods(pd.DataFrame([cell("bad", bits=b) for b in (4, 8)]), correctness)
    assert alone.empty


def test_parameters_of_a_method_name_it() -> None:
    cells = [cell("bad", **{"method.slack": s}) for s in (True, False)]
    cells = [*cells, cell("good", **{"method.slack": np.nan})]
    pairs = compare_methods(pd.DataFrame(cells), correctness)
    assert list(pairs["first"]) == ["bad slack=True", "bad slack=True", "bad slack=False"]
    assert list(pairs["second"]) == ["bad slack=False", "good", "good"]


def test_other_images_are_refused() -> None:
    cells = [cell("bad"), cell("good", images="0" * 64)]
    with pytest.raises(BenchError, match="bad-4-0, good-4-0 were measured on different images"):
        compare_methods(pd.DataFrame(cells), correctness)


def test_parameters_are_named_as_they_were_given() -> None:
    """Beside a method without such a value, pandas makes 32 a 32.0."""
    cells = [cell("bad", **{"method.source_bits": bits}) for bits in (32, 8)]
    pairs = compare_methods(pd.DataFrame([*cells, cell("good")]), correctness)
    assert list(pairs["first"]) == ["bad source_bits=32", "bad source_bits=32", "bad source_bits=8"]
    assert list(pairs["winner"]) == [EQUAL, "good", "good"]


def test_one_image_resolves_nothing() -> None:
    def only(id: str) -> Correctness:
        return _right(np.array([id in ("good-4-0", "good-4-1", "twin-4-0", "twin-4-1")]))

    methods = ("bad", "good", "twin")
    three = [cell(m, seed) for m in methods for seed in (0, 1)]
    pairs = compare_methods(pd.DataFrame(three), only)
    assert list(pairs["points"]) == [-100.0, -100.0, 0.0]
    assert (list(pairs["low"]), list(pairs["high"])) == ([-100.0] * 3, [100.0] * 3)
    assert list(pairs["p_holm"]) == [1.0, 1.0, 1.0]
    assert list(pairs["winner"]) == [UNRESOLVED, UNRESOLVED, EQUAL]
