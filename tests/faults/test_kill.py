"""A sweep that is killed again and again loses nothing and does nothing twice."""

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.bench.conftest import (
    assert_nothing_partial,
    assert_runs_agree,
    records,
    start_bench,
)

pytestmark = pytest.mark.faults


def journals(outputs: Path) -> list[Path]:
    return sorted((outputs / "sweeps").glob("*/jobs-*.jsonl"))


def start_and_kill(line: list[str], outputs: Path, workplace: Path, moment: float) -> None:
    """Start a sweep and kill it, and all it has started, `moment` seconds into its cells."""
    before = len(journals(outputs))
    process = start_bench(*line, cwd=workplace)
    while process.poll() is None and len(journals(outputs)) == before:
        time.sleep(0.01)
    time.sleep(moment)
    os.killpg(process.pid, signal.SIGKILL)  # not yet waited for, so the number is still its own
    process.communicate()


def check(
    outputs: Path, workplace: Path, line: list[str], cells: int, moments: list[float]
) -> None:
    line = ["run", "-m", *line, "tracking=wandb_offline", f"paths.outputs={outputs}"]
    for moment in moments:
        start_and_kill(line, outputs, workplace, moment)
    process = start_bench(*line, cwd=workplace)
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, (moments, out, err)

    found = records(outputs)
    assert {record["status"] for record in found.values()} == {"done"}
    entries = [json.loads(text) for text in journals(outputs)[-1].read_text().splitlines()]
    assert {entry["status"] for entry in entries} <= {"done", "found"}
    ids = {entry["id"] for entry in entries}
    assert len(entries) == len(ids) == cells
    assert found.keys() - ids == {record["fp32_id"] for record in found.values()}
    assert len(found) == cells + 1, moments
    assert_runs_agree(outputs)
    assert_nothing_partial(outputs)
    assert list(workplace.iterdir()) == []


def test_two_kills(outputs: Path, workplace: Path, moments: random.Random) -> None:
    line = ["method=gaussian", "quant.w_bits=8,4", "data.limit=50"]
    check(outputs, workplace, line, 2, [moments.uniform(0, 1.5) for _ in range(2)])


@pytest.mark.slow
def test_ten_kills(outputs: Path, workplace: Path, moments: random.Random) -> None:
    line = ["method=gaussian,real", "quant.w_bits=8,4,3", "seed=0,1", "data.limit=200"]
    check(outputs, workplace, line, 12, [moments.uniform(0, 3) for _ in range(10)])


@pytest.mark.slow
def test_kills_while_images_are_distilled(
    outputs: Path, workplace: Path, moments: random.Random
) -> None:
    line = ["method=zeroq", "method.images=4", "method.iterations=20", "quant.w_bits=8,4",
            "seed=0,1", "data.limit=100"]  # fmt: skip
    check(outputs, workplace, line, 4, [moments.uniform(0, 3) for _ in range(6)])
