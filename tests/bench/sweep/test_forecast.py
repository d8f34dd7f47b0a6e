"""Times and memory judged by hand-made results with known seconds."""

from collections.abc import Callable
from typing import Any

import pytest

from bench.cells.recipe import Recipe
from bench.cells.result import Result
from bench.sweep.forecast import Estimate, Planned, forecast, kind_of

GB = 10**9


def recipe(**changes: Any) -> Recipe:
    """As a result has it; `changes` by topic are merged into it."""
    known: dict[str, Any] = {
        "quantizer": {"w_bits": 4, "a_bits": 4, "rounding": "nearest"},
        "method": {"name": "zeroq", "version": 1, "iterations": 500},
        "calibration": {"images": 16},
        "evaluation": {"fingerprint": "f" * 64},
        "seed": 0,
    }
    return Recipe.model_validate(
        {
            topic: value | changes.get(topic, {}) if isinstance(value, dict) else value
            for topic, value in known.items()
        }
    )


KIND = kind_of("resnet20", recipe())


@pytest.fixture
def earlier(make_result: Callable[..., Result]) -> Callable[..., Result]:
    """Make a measured cell of `KIND` at given bits, with given seconds of its phases."""

    def make(bits: int, seconds: dict[str, float], **changes: Any) -> Result:
        known = {
            "w_bits": bits,
            "a_bits": bits,
            "seconds": seconds,
            "recipe": recipe(),
            "peak_memory_bytes": GB,
            "started_at": "2025-01-02T03:04:05+00:00",
        }
        return make_result(**(known | changes))

    return make


def planned(id: str, bits: int = 4, **shared: str | None) -> Planned:
    return Planned(id, "resnet20 digits zeroq", KIND, (bits, bits), shared)


def test_the_shared_phase_is_paid_once(earlier: Callable[..., Result]) -> None:
    results = [
        earlier(8, {"float": 5.0, "synthesise": 60.0, "evaluate": 3.0, "total": 69.0}),
        earlier(4, {"float": 0.1, "synthesise": 0.1, "evaluate": 2.0, "total": 2.4}),
        earlier(4, {"float": 0.0, "synthesise": 0.2, "evaluate": 4.0, "total": 4.4}),
        earlier(4, {"float": 0.0, "synthesise": 0.2, "evaluate": 9.0, "total": 9.4}),
    ]
    cells = [
        planned("a", 4, synthesise="seed 0"),  # 4.2, the median of 2.2, 4.2 and 9.2
        planned("b", 8, synthesise="seed 0"),  # 4.0
        planned("c", 3, synthesise="seed 1"),  # none at 3 bits: 4.1, the median of all four
        planned("d", 8, synthesise=None),  # its images are kept: 4.0
        planned("a", 4, synthesise="seed 0"),  # the same cell again
    ]
    (found,) = forecast(cells, results)
    assert found.cells == 4
    assert found.shared == {"synthesise": 2}
    assert found.cells_seconds == pytest.approx(4.2 + 4.0 + 4.1 + 4.0)
    assert found.shared_seconds == pytest.approx(2 * 60.0)
    assert found.basis == "4 earlier cells on a processor"


def test_of_a_part_of_the_images_the_evaluation_is_scaled(earlier: Callable[..., Result]) -> None:
    seconds = {"float": 1.0, "quantize": 2.0, "evaluate": 3.0, "total": 6.5}
    (found,) = forecast([planned("a")], [earlier(4, seconds, total=100, part_of=400)])
    assert found.cells_seconds == pytest.approx(5.5 + 3 * 3.0)


def test_a_method_that_keeps_nothing_pays_each_time(earlier: Callable[..., Result]) -> None:
    results = [earlier(4, {"synthesise": 2.0, "evaluate": 1.0, "total": 3.5})]
    (found,) = forecast([planned("a"), planned("b")], results)
    assert (found.shared, found.cells_seconds, found.shared_seconds) == ({}, 7.0, 0)
    assert found.basis == "1 earlier cell on a processor"


def test_memory_is_the_most_that_one_took(earlier: Callable[..., Result]) -> None:
    seconds = {"total": 1.0}
    results = [
        earlier(4, seconds, peak_memory_bytes=2 * GB),
        earlier(8, seconds, peak_memory_bytes=3 * GB),
        earlier(8, seconds, peak_memory_bytes=None),
    ]
    assert forecast([planned("a")], results)[0].peak_memory_bytes == 3 * GB
    assert forecast([planned("a")], results[2:])[0].peak_memory_bytes is None


def test_the_device_that_measured_last_counts(earlier: Callable[..., Result]) -> None:
    results = [
        earlier(4, {"total": 1.0}, runtime={"device_name": "old"}),
        earlier(
            4,
            {"total": 8.0},
            runtime={"device_name": "new"},
            started_at="2026-01-02T03:04:05+00:00",
        ),
    ]
    (found,) = forecast([planned("a")], results)
    assert (found.cells_seconds, found.basis) == (8.0, "1 earlier cell on new")


def test_nothing_is_made_up(earlier: Callable[..., Result]) -> None:
    results = [
        earlier(4, {"total": 1.0}, status="failed"),
        earlier(4, {"total": 1.0}, model="resnet18"),
        earlier(4, {"total": 1.0}, recipe=recipe(method={"iterations": 5})),
    ]
    assert forecast([planned("a", synthesise="x")], results) == [
        Estimate(
            name="resnet20 digits zeroq",
            cells=1,
            shared={"synthesise": 1},
            cells_seconds=None,
            shared_seconds=None,
            peak_memory_bytes=None,
            basis="no earlier cell of this kind",
        )
    ]
    assert forecast([], results) == []


@pytest.mark.parametrize(
    ("changes", "alike"),
    [
        ({"quantizer": {"w_bits": 8, "a_range": "mse"}}, True),
        ({"calibration": {"indices": [1, 2]}}, True),
        ({"quantizer": {"rounding": "adaround"}}, False),
        ({"quantizer": {"w_bits": "mixed"}}, False),
        ({"method": {"iterations": 10}}, False),
        ({"method": {"version": 2}}, False),
        ({"evaluation": {"fingerprint": "0" * 64}}, False),
        ({"calibration": {"synthesis_precision": "bf16"}}, False),
    ],
)
def test_what_takes_equally_long(changes: dict[str, Any], alike: bool) -> None:
    assert (kind_of("resnet20", recipe(**changes)) == KIND) is alike


def test_kinds_come_in_the_order_of_the_cells() -> None:
    other = Planned("z", "other", "another kind", (8, 8), {})
    assert [one.name for one in forecast([other, planned("a")], [])] == [
        "other",
        "resnet20 digits zeroq",
    ]
