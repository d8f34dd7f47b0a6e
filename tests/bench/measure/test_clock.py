import time

import pytest

from bench.measure.clock import Clock


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
