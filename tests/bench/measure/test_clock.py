import re
import time

import pytest

import bench.measure.clock
from bench.measure.clock import Clock, known_as
from tests.spy import lines_of
from tests.waiting import wait_until


def test_phases_add_up_and_total_covers_them(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    for _ in range(2):
        with clock.phase("decode") as progress:
            time.sleep(0.02)
            progress(1, 2)
            progress(2, 2, 0.5)
    with clock.phase("evaluate"):
        pass
    seconds = clock.rounded()
    assert list(seconds) == ["decode", "evaluate", "total"]
    assert 0.04 <= seconds["decode"] <= seconds["total"]
    assert seconds["total"] >= seconds["decode"] + seconds["evaluate"] - 2e-4  # rounded
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_the_current_phase_is_said() -> None:
    clock, said = Clock(), []
    assert clock.current == "start"
    clock.on_phase = said.append
    with clock.phase("decode"):
        assert (clock.current, said) == ("decode", ["decode"])
    with clock.phase("evaluate"):
        pass
    clock.on_phase = None
    assert (clock.current, said) == ("evaluate", ["decode", "evaluate"])


def test_a_phase_that_fails_is_timed_too() -> None:
    clock = Clock()
    with pytest.raises(ValueError, match="broken"), clock.phase("quantize"):
        raise ValueError("broken")
    assert clock.seconds["quantize"] > 0


def test_a_long_phase_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.measure.clock, "_SILENCE", 0.01)
    lines = lines_of(monkeypatch, "bench.measure.clock", "info")
    said = re.compile(r"  quant\.a_range=mse: synthesise( 120 of 500, loss 0\.25)?, \d+ s")
    with known_as("quant.a_range=mse"), Clock().phase("float"), Clock().phase("synthesise") as say:
        lines.clear()  # until here the outer phase may have spoken
        say(120, 500, 0.25)
        wait_until(lambda: sum("120 of 500" in line for line in lines) > 1, "two lines")
        assert all(said.fullmatch(line) for line in lines)


def test_a_long_phase_that_says_nothing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.measure.clock, "_SILENCE", 0.01)
    lines = lines_of(monkeypatch, "bench.measure.clock", "info")
    with Clock().phase("quantize"):
        wait_until(lambda: len(lines) > 0, "a line is there")
    assert re.fullmatch(r"  quantize, \d+ s", lines[0])


def test_a_short_phase_says_nothing_and_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = lines_of(monkeypatch, "bench.measure.clock", "info")
    clock = Clock()
    with clock.phase("evaluate"):
        pass
    assert lines == []
    assert clock.seconds["evaluate"] < bench.measure.clock._SILENCE


def test_a_terminal_has_a_bar_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.measure.clock, "_SILENCE", 0.001)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    lines = lines_of(monkeypatch, "bench.measure.clock", "info")
    with Clock().phase("synthesise"):
        time.sleep(0.02)
    assert lines == []
