import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.commands import speed
from bench.speed.ratio import Ratio, Side
from bench.speed.workplace import Measure, Workplace
from tests.bench.conftest import Finished

Bench = Callable[..., Finished]


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> list[Workplace]:
    """Where the two ratios were measured that stand for the real ones; neither meets its goal."""
    seen: list[Workplace] = []

    def take(place: Workplace) -> list[Ratio]:
        assert list(place.outputs.iterdir()) == []
        seen.append(place)
        return [Ratio(f"fake {len(seen)}", Side("a", 2.0), Side("b", 1.0), goal=1.5)]

    monkeypatch.setattr(speed, "MEASURES", [Measure("one", take), Measure("two", take)])
    return seen


def test_ratios_are_printed_and_written_and_no_verdict_is_a_failure(
    bench_main: Bench, places: list[Workplace], tmp_path: Path
) -> None:
    out = tmp_path / "new" / "speed"
    done = bench_main("speed", "--out", out, "runtime.workers=3")
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[:2] == ["[1/2] one", "[2/2] two"]
    assert " ".join(lines[4].split()) == "fake 1 2 1 2 <= 1.5 not met"
    assert lines[-1] == f"wrote speed.json, speed_history.csv and their pictures into {out}"
    written = json.loads((out / "speed.json").read_text())
    assert [ratio["name"] for ratio in written["ratios"]] == ["fake 1", "fake 2"]
    pictures = {"speed.png", "speed_history.png"}
    assert {path.name for path in out.iterdir()} == {"speed.json", "speed_history.csv"} | pictures
    assert [place.runtime.workers for place in places] == [3, 3]
    assert not places[0].outputs.exists()


def test_written_to_outputs_when_nothing_is_said(
    bench_main: Bench, places: list[Workplace], workplace: Path
) -> None:
    assert bench_main("speed").status == 0
    assert (workplace / "outputs" / "speed" / "speed.json").exists()


def test_only_the_runtime_can_be_chosen(bench_main: Bench, places: list[Workplace]) -> None:
    done = bench_main("speed", "model=resnet18")
    assert (done.status, done.out) == (2, "")
    assert done.err == "error: bench speed takes no 'model=resnet18'; give runtime.* only\n"
    assert places == []


def test_a_history_that_is_none_is_said_before_anything_is_measured(
    bench_main: Bench, places: list[Workplace], tmp_path: Path
) -> None:
    (tmp_path / "speed_history.csv").write_text("mine\n")
    done = bench_main("speed", "--out", tmp_path)
    assert done.status == 2
    assert "is not a history of bench speed; move it away" in done.err
    assert places == []
