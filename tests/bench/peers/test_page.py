"""The tables that are kept are those of their rows, and the results page shows them."""

from pathlib import Path

import pytest

from bench.peers.page import page
from bench.peers.registry import tool
from bench.peers.rows import read
from tests.bench.peers.examples import row

RESULTS = Path(__file__).parents[3] / "docs" / "results"
OURS = "quantization-bench"
KEPT = sorted(RESULTS.glob("peers_*.csv"))


def test_there_is_one() -> None:
    assert RESULTS / "peers_resnet20.csv" in KEPT


def test_what_was_not_measured_is_said() -> None:
    rows = [row(OURS, way.name, 1) for way in tool("ours").ways]
    rows += [row("nncf", "PTQ, fast bias correction", 1, w_bits=8), row("nncf", "gone", 1)]
    lines = page(rows).splitlines()
    (absent,) = [line for line in lines if line.startswith("- not measured: ")]
    assert "nncf PTQ, fast bias correction at W4A8" in absent
    assert "nncf PTQ, fast bias correction at W8A8" not in absent
    assert f"{OURS} nearest, min-max at W8A8" in absent
    assert f"{OURS} nearest, min-max at W4A8" not in absent
    assert "brevitas PTQ at W4A8; brevitas PTQ at W8A8" in absent
    assert not any("gone" in line for line in lines)


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_kept_tables(path: Path) -> None:
    made = page(read(path))
    assert path.with_suffix(".md").read_text("utf-8") == made
    assert made in (RESULTS.parent / "results.md").read_text("utf-8")
