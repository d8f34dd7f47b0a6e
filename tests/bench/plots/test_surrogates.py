"""The figure of docs/training.md is that of the code, and shows its numbers."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from bench.plots.surrogates import main, plot_surrogates
from models.qat.spec import SURROGATES

DOCS = Path(__file__).parents[3] / "docs"


def curves() -> dict[tuple[str, str], list[tuple[float, float]]]:
    """Return the points of each curve, in units of its panel (0..1 across and down)."""
    frame = r'<rect class="frame" x="(\d+)" y="(\d+)" width="(\d+)" height="(\d+)"'
    panel = rf'class="name"[^>]*>(\w+)<.*?{frame}(.*?)<text'
    found = {}
    for name, *numbers, rest in re.findall(panel, plot_surrogates(), re.S):
        left, top, width, height = map(int, numbers)
        for kind, path in re.findall(r'class="(up|down)" d="M([^"]+)"', rest):
            points = [tuple(map(float, p.split())) for p in path.split("L")]
            found[name, kind] = [((x - left) / width, (y - top) / height) for x, y in points]
    return found


def test_the_committed_figure_is_current() -> None:
    assert (DOCS / "surrogates.svg").read_text(encoding="utf-8") == plot_surrogates()


def test_it_is_well_formed_and_has_every_surrogate_for_both_signs() -> None:
    ET.fromstring(plot_surrogates())
    assert list(dict.fromkeys(name for name, _ in curves())) == list(SURROGATES)
    assert len(curves()) == 2 * len(SURROGATES)


@pytest.mark.parametrize(
    ("name", "kind", "left", "right"),
    [
        ("ste", "up", 0.5, 0.5),
        ("pbgs", "down", 0.0, 0.0),
        ("ewgs", "up", 1.0, 0.0),
        ("ewgs", "down", 0.0, 1.0),
        ("acos", "down", 1.0, 0.0),
        ("tanh", "up", 0.5 + 0.9640 / 2, 0.5 - 0.9640 / 2),
        ("invtanh", "down", 0.0, 1.0),
    ],
)
def test_curves_end_where_the_formulas_do(name: str, kind: str, left: float, right: float) -> None:
    points = curves()[name, kind]
    assert points[0] == pytest.approx((0.0, left), abs=1e-3)
    assert points[-1] == pytest.approx((1.0, right), abs=1e-3)


def test_it_is_written_where_asked(tmp_path: Path) -> None:
    main([str(tmp_path / "figure.svg")])
    assert (tmp_path / "figure.svg").read_text(encoding="utf-8") == plot_surrogates()


def test_the_page_shows_the_figure() -> None:
    assert "](surrogates.svg)" in (DOCS / "training.md").read_text()
