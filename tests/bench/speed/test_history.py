from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from bench.commands.speed import keep
from bench.speed import history
from bench.speed.ratio import Ratio, Side
from bench.speed.report import document, machine
from models.errors import BenchError

RATIOS = [
    Ratio("step / bare: net", Side("step", 0.23), Side("bare", 0.2), goal=1.2),
    Ratio("free: net", Side("x", 2.0), Side("y", 3.0)),
]


def measured(at: str, **where: Any) -> dict[str, Any]:
    return document(RATIOS, machine(torch.device("cpu")) | where) | {"measured_at": at}


def test_a_row_a_ratio() -> None:
    found = history.rows(measured("2026-01-02", cores=4))
    assert list(found.columns) == history.COLUMNS
    assert found["ratio"].tolist() == [1.15, 0.66667]
    assert found["goal"].tolist()[0] == 1.2
    assert np.isnan(found["goal"].tolist()[1])
    assert set(found["cores"]) == {4}


def test_runs_are_added_once_and_read_as_they_were_written(tmp_path: Path) -> None:
    first, second = (history.rows(measured(f"2026-01-0{day}")) for day in (1, 2))
    path = tmp_path / "history.csv"
    assert history.read(path).empty
    one = history.added(history.read(path), first)
    path.write_text(history.text(one))
    both = history.added(history.read(path), second)
    assert len(both) == 4
    assert len(history.added(both, history.rows(measured("2026-01-01")))) == 4
    path.write_text(history.text(both))
    pd.testing.assert_frame_equal(history.read(path), both)


def test_only_the_last_machine_is_compared() -> None:
    days = ["2026-01-01", "2026-01-02", "2026-01-03"]
    threads = [1, 2, 1]
    each = [history.rows(measured(d, threads=t)) for d, t in zip(days, threads, strict=True)]
    known = history.comparable(pd.concat(each, ignore_index=True))
    assert sorted(set(known["measured_at"])) == [days[0], days[2]]


@pytest.mark.parametrize("content", ["a,b\n1,2\n", "", "\x00\xff"])
def test_another_file_is_not_overwritten(content: str, tmp_path: Path) -> None:
    path = tmp_path / "speed_history.csv"
    path.write_text(content)
    with pytest.raises(BenchError, match="move it away"):
        history.read(path)


def test_what_is_kept(tmp_path: Path) -> None:
    for day in (1, 2):
        keep(measured(f"2026-01-0{day}"), RATIOS, tmp_path)
    names = ["speed.json", "speed.png", "speed_history.csv", "speed_history.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert len(history.read(tmp_path / "speed_history.csv")) == 4
    with Image.open(tmp_path / "speed_history.png") as image:
        pixels = np.asarray(image.convert("RGB"))
    line, goal = ((pixels == colour).all(axis=2).any() for colour in ((9, 105, 218), (26, 127, 55)))
    assert line
    assert goal


def test_runs_of_one_day_are_told_apart_by_their_time() -> None:
    one, other = "2026-01-01T08:00:00+00:00", "2026-01-01T21:30:00+00:00"
    assert history.moments([one, other]) == ["2026-01-01\n08:00", "2026-01-01\n21:30"]
    assert history.moments([one, "2026-01-02T08:00:00+00:00"]) == ["2026-01-01", "2026-01-02"]


def test_a_goal_far_from_the_values_does_not_flatten_their_course(tmp_path: Path) -> None:
    goal = np.array((26, 127, 55))
    for value, drawn in ((0.23, True), (0.0001, False)):
        ratio = Ratio("step / bare: net", Side("step", value), Side("bare", 0.2), goal=1.2)
        rows = history.rows(document([ratio], machine(torch.device("cpu"))))
        history.plot(rows, tmp_path / "history.png")
        pixels = np.asarray(Image.open(tmp_path / "history.png").convert("RGB"))
        assert bool((pixels == goal).all(axis=2).any()) is drawn
