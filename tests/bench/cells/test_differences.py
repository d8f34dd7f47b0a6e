from collections.abc import Callable
from typing import Any

import pytest

from bench.cells.differences import (
    beside_label,
    differences,
    recorded_values,
    typed_values,
    varying,
)
from bench.cells.result import Result
from bench.config.schema import Config
from tests.bench.cells_of import run_cell


def test_what_is_typed_alike_everywhere_is_not_said() -> None:
    jobs = [
        ["method=real", f"quant.a_range={range}", "recipe=all_inputs", f"+seed={seed}"]
        for range in ("minmax", "mse")
        for seed in (0, 1)
    ]
    assert differences([typed_values(job) for job in jobs]) == [
        ["quant.a_range=minmax", "seed=0"],
        ["quant.a_range=minmax", "seed=1"],
        ["quant.a_range=mse", "seed=0"],
        ["quant.a_range=mse", "seed=1"],
    ]
    assert differences([typed_values(jobs[0])]) == [[]]
    assert differences([]) == []


def test_a_parameter_counts_within_its_method() -> None:
    gaussian = {"method": "gaussian", "method.images": 64}
    zeroq = {"method": "zeroq", "method.images": 16, "method.variant": "paper"}
    assert varying([gaussian, zeroq]) == ["method"]
    release = zeroq | {"method.variant": "release"}
    assert differences([gaussian, zeroq, release]) == [
        ["method=gaussian"],
        ["method=zeroq", "method.variant=paper"],
        ["method=zeroq", "method.variant=release"],
    ]


def test_a_key_that_an_older_record_lacks_does_not_differ() -> None:
    assert varying([{"seed": 0}, {"seed": 0, "quant.fold": False}]) == []


def test_values_are_written_as_they_are_typed() -> None:
    cells = [
        {"quant.fold": True, "method.bits": (8, 4), "quant.first_bits": None, "method.rate": 1.0},
        {"quant.fold": False, "method.bits": (8, 2), "quant.first_bits": 8, "method.rate": 0.5},
    ]
    assert differences(cells)[0] == [
        *("quant.fold=true", "method.bits=[8,4]", "quant.first_bits=null", "method.rate=1")
    ]


@pytest.mark.thorough
def test_records_differ_in_the_words_that_measured_them(
    make_fast: Callable[..., Config], make_result: Callable[..., Result]
) -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"quant.a_range": "mse"},
        {"data.limit": 30},
        {"method": {"name": "gaussian", "images": 3}},
    ]
    results = [run_cell(make_fast(each)).result for each in changes]
    assert None not in results
    cells = [recorded_values(result) for result in results if result is not None]
    # One record that lacks most of its recipe changes nothing.
    words = differences([*cells, recorded_values(make_result(recipe={}))])
    assert [word for word in words[1] if "range" in word] == ["quant.a_range=mse"]
    assert [word for word in words[2] if "limit" in word] == ["data.limit=30"]
    assert [word for word in words[3] if "images" in word] == ["method.images=3"]
    assert results[1] is not None
    same = ["method=gaussian", "quant=w8a8", "quant.w_bits=8", "seed=0", "model=resnet20"]
    assert beside_label(results[1], [*same, "quant.a_range=mse", "method=real"]) == [
        *("quant.a_range=mse", "method=real")
    ]
    assert differences(cells[:2]) == [["quant.a_range=minmax"], ["quant.a_range=mse"]]
