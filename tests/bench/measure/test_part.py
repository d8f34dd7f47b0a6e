"""Cells of a part of their images: continued to the whole, ended by a verdict, found again."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from bench.cells.result import OF_PARTS, Result
from bench.cells.store import Store
from bench.commands.rerun import repeat
from bench.config.schema import Config
from bench.data.listing import random_order
from bench.measure import evaluate as evaluation
from bench.measure.again import recorded_cell
from bench.measure.run import known_result
from bench.statistics.bets import drop_of
from bench.tasks.classification import Correctness
from bench.tasks.parts import sample
from models.errors import BenchError
from tests.bench.cells_of import plan, run_cell

Make = Callable[..., Config]

VOLATILE = {"seconds", "started_at", "peak_memory_bytes", "git_sha", "checksum", "group"}
ALL = 1000


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where cells that several tests begin with are measured."""
    return tmp_path_factory.mktemp("whole") / "outputs"


@pytest.fixture
def make(make_fast: Make, small: dict[str, Any]) -> Make:
    """A cell of two bits on 300 digits, in part where `until` says so."""
    given = small | {"data.limit": 300, "quant.w_bits": 2, "quant.a_bits": 2}
    return lambda changes=None: make_fast(given | (changes or {}))


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images pass through networks that are evaluated, batch by batch."""
    batches: list[int] = []
    original = evaluation._Run.outputs

    def outputs(self: Any, *args: Any) -> Tensor:
        logits = original(self, *args)
        batches.append(len(logits))
        return logits

    monkeypatch.setattr(evaluation._Run, "outputs", outputs)
    return batches


def result_of(config: Config) -> Result:
    result = run_cell(config).result
    assert result is not None
    assert result.status == "done", result.reason
    return result


def facts(result: Result) -> dict[str, Any]:
    return {k: v for k, v in result.model_dump().items() if k not in VOLATILE}


def test_a_part_that_is_continued_is_the_whole_bit_for_bit(
    make: Make, outputs: Path, whole: Path, passed: list[int]
) -> None:
    at_once = result_of(make({"paths.outputs": str(whole)}))
    passed.clear()
    part = result_of(make({"evaluate.until": 100}))
    assert part.id == at_once.id
    assert (part.total, part.part_of) == (100, 300)
    # The float network on all; the first 128 for their logits, in batches as of the whole; a part.
    assert sum(passed) == 300 + 256 + 100
    items = Store(outputs).items(part.id)
    assert np.flatnonzero(items.seen).tolist() == sorted(random_order(300)[:100].tolist())
    everything = Store(whole).items(at_once.id)
    assert np.array_equal(items.top1, everything.top1[items.seen])

    passed.clear()
    more = result_of(make({"evaluate.until": 150}))
    assert (more.total, more.part_of, sum(passed)) == (150, 300, 50)
    passed.clear()
    rest = result_of(make())
    assert sum(passed) == 150
    assert facts(rest) == facts(at_once)
    assert not {*OF_PARTS} & rest.model_dump().keys()
    assert rest.seconds["evaluate"] > more.seconds["evaluate"] > part.seconds["evaluate"]
    file = f"cells/{rest.id}/correct.npz"
    assert (outputs / file).read_bytes() == (whole / file).read_bytes()
    config = f"cells/{rest.id}/config.yaml"
    assert "evaluate" not in (outputs / config).read_text()


def test_lost_and_gained_are_of_the_images_that_both_have_seen(make: Make, outputs: Path) -> None:
    part = result_of(make({"evaluate.until": 100}))
    store = Store(outputs)
    before, now = store.items(str(part.fp32_id)), store.items(part.id)
    assert len(before.top1) == 300
    assert part.fp32_top1 == 100 * before.top1.mean()
    of_seen = before.top1[now.seen]
    assert part.lost == np.count_nonzero(of_seen & ~now.top1)
    assert part.gained == np.count_nonzero(~of_seen & now.top1)
    drop = drop_of(sample(before, now))
    assert (part.drop_low, part.drop_high) == (drop.low, drop.high)


def test_what_is_found_again(make: Make) -> None:
    def known(**asked: Any) -> bool:
        changes = {f"evaluate.{key}": value for key, value in asked.items()}
        return known_result(plan(make(changes))) is not None

    part = result_of(make({"evaluate.until": 100}))
    assert part.drop_low is not None
    assert part.drop_high is not None
    assert known(until=100)
    assert known(until=64)
    assert not known(until=101)
    assert not known(until=None)
    assert not known(until="resolved")
    far, near = part.drop_high + 1, (part.drop_low + part.drop_high) / 2
    assert known(until="resolved", published_drop=far)
    assert not known(until="resolved", published_drop=near)
    assert not known(until="resolved", published_drop=(far, near))
    assert known(until="resolved", published_drop=near, tolerance=100.0)
    result_of(make({"evaluate.until": 1_000_000}))
    assert known()
    assert known(until="resolved")


def test_more_than_all_is_all(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "bench"):
        result = result_of(make({"evaluate.until": 301}))
    assert (result.total, result.part_of) == (300, None)
    assert "evaluate.until=301: all 300 images are evaluated" in caplog.messages


def test_until_the_verdict_is_decided(make: Make, outputs: Path, passed: list[int]) -> None:
    # No network that guesses one of ten loses 90 points: the first look decides.
    far = {
        "data.limit": ALL,
        "evaluate.until": "resolved",
        "evaluate.published_drop": 90.0,
    }
    result = result_of(make(far))
    assert (result.total, result.part_of) == (256, ALL)
    assert sum(passed) == ALL + 256 + 256
    assert result.drop_low is not None
    assert result.drop_high is not None
    assert result.drop_high < 89.5
    # What the first look does not decide takes more, and images that were seen are not seen again.
    store, passed[:] = Store(outputs), []
    near = far | {"evaluate.published_drop": result.drop_high, "evaluate.tolerance": 1.0}
    more = result_of(make(near))
    assert more.total in (512, 768, ALL)
    assert sum(passed) == more.total - 256
    now, before = store.items(more.id), store.items(str(more.fp32_id))
    assert isinstance(now, Correctness)
    assert more.correct == np.count_nonzero(now.top1)
    assert len(before.top1) == ALL


def test_without_a_published_number_it_is_whole_and_says_so(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "bench"):
        result = result_of(make({"evaluate.until": "resolved"}))
    assert (result.total, result.part_of) == (300, None)
    (line,) = [text for text in caplog.messages if "evaluated whole" in text]
    assert line.startswith(
        "small_network:small gaussian: evaluated whole: no published drop is known; take"
    )


def test_float_networks_are_evaluated_whole(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    bits = {"quant.w_bits": 32, "quant.a_bits": 32}
    with caplog.at_level(logging.INFO, "bench"):
        result = result_of(make(bits | {"evaluate.until": 100}))
    assert (result.total, result.part_of) == (300, None)
    assert "small_network:small: evaluated whole, as float networks are" in caplog.messages


def test_force_begins_anew(make: Make, passed: list[int]) -> None:
    result_of(make({"evaluate.until": 100}))
    passed.clear()
    again = result_of(make({"evaluate.until": 120, "force": True}))
    assert again.total == 120
    assert sum(passed) == 256 + 120


def test_a_part_is_repeated_as_it_was(make: Make, outputs: Path, passed: list[int]) -> None:
    part = result_of(make({"evaluate.until": 100}))
    passed.clear()
    recorded, config = recorded_cell(Store(outputs), part.id)
    same, line = repeat(Store(outputs), recorded, config)
    assert (same, line) == (True, f"same: {part.correct}/100 of 300, every image as recorded")
    assert sum(passed) == 256 + 100


@pytest.mark.parametrize("until", [0, -5, "resolve", 2.5, True])
def test_what_is_no_number_of_images(make: Make, until: object) -> None:
    with pytest.raises(BenchError) as caught:
        make({"evaluate.until": until})
    message = "give a number of images above 0, resolved, or null for all"
    assert str(caught.value).startswith("config evaluate.until")
    assert str(caught.value).endswith(message)


def test_detection_has_no_parts(make_config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.tasks.classification.Classification.in_parts", False)
    with pytest.raises(BenchError, match=r"evaluate\.until=9 is for networks that classify"):
        plan(make_config({"evaluate.until": 9}))
