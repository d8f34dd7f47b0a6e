from pathlib import Path

import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from bench.plots.colours import PALETTE
from bench.plots.costs import Curve, Panel, Point, frontier, paint_costs, plot_costs


def point(cost: float, top1: float, spread: float = 0.0, half: float = 1.0) -> Point:
    return Point(f"W{cost:g}", cost, spread, top1, top1 - half, top1 + half)


ZEROQ = Curve("zeroq", "zeroq, mixed bits", [point(2, 50), point(4, 80, 0.5), point(8, 70)])
REAL = Curve("real", "real", [point(2, 50), point(3, 55, half=2)])
PANELS = {"mnist5k": Panel([ZEROQ, REAL], [95.0])}


def painted(panels: dict[str, Panel]) -> Figure:
    figure = Figure(layout="constrained")
    paint_costs(figure, panels, "size of the weights in MiB")
    return figure


def test_the_frontier_is_what_nothing_beats_at_its_cost_or_less() -> None:
    points = [*ZEROQ.points, *REAL.points, point(4, 79), point(8, 80)]
    assert [(p.cost, p.top1) for p in frontier(points)] == [(2, 50), (3, 55), (4, 80)]
    assert frontier([]) == []


def test_points_intervals_and_frontier_are_drawn() -> None:
    (ax,) = painted(PANELS).axes
    drawn = [list(zip(*line.get_data(), strict=True)) for line in ax.lines]
    assert [(2, 50), (4, 80), (8, 70)] in drawn
    assert [(2, 50), (3, 55)] in drawn
    (front,) = [line for line in ax.lines if line.get_gid() == "frontier"]
    assert list(zip(*front.get_data(), strict=True)) == [(2, 50), (3, 55), (4, 80)]
    assert front.get_drawstyle() == "steps-post"
    assert [text.get_text() for text in ax.texts] == ["W2", "W3", "W4"]
    bars = [segment.tolist() for each in ax.collections for segment in each.get_segments()]
    assert [[3, 53], [3, 57]] in bars  # an interval
    assert [[3.5, 80], [4.5, 80]] in bars  # a spread of the cost
    assert [[0, 95], [1, 95]] in [line.get_xydata().tolist() for line in ax.lines]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("size of the weights in MiB", "top-1, %")


def test_a_colour_is_a_method_and_a_marker_a_line() -> None:
    other = Curve("zeroq", "zeroq, equal bits", [point(3, 60)])
    figure = painted({"mnist5k": Panel([ZEROQ, other, REAL], [])})
    lines = [line for line in figure.axes[0].lines if line.get_gid() != "frontier"]
    looks = [(to_hex(line.get_color()), line.get_marker()) for line in lines]
    assert looks == [(PALETTE[2], "o"), (PALETTE[2], "s"), (PALETTE[1], "^")]
    (legend,) = figure.legends
    named = [text.get_text() for text in legend.get_texts()]
    assert named == ["zeroq, mixed bits", "zeroq, equal bits", "real", "Pareto frontier"]


@pytest.mark.parametrize(("most", "scale"), [(20, "linear"), (20.1, "log")])
def test_more_than_a_decade_is_logarithmic(most: float, scale: str) -> None:
    wide = {"a": Panel([Curve("real", "real", [point(2, 50), point(most, 60)])], [])}
    assert [ax.get_xscale() for ax in painted(wide | PANELS).axes] == [scale, "linear"]


def test_a_cost_of_nothing_has_no_logarithm(tmp_path: Path) -> None:
    free = {"a": Panel([Curve("real", "real", [point(0, 50, half=-1e-14), point(9, 60)])], [])}
    assert painted(free).axes[0].get_xscale() == "linear"
    plot_costs(free, "bit operations", tmp_path / "costs.png")
    assert (tmp_path / "costs.png").stat().st_size > 5_000


def test_errors_of_more_than_a_decade_are_logarithmic() -> None:
    wide = Curve("real", "real", [point(2, 44.0), point(3, 98.0, half=0.5), point(4, 99.2)])
    (ax,) = painted({"mnist5k": Panel([wide], [])}).axes
    place = ax.transData.transform
    at = {top1: place((2, top1))[1] for top1 in (0.0, 90.0, 99.0, 99.9)}
    # A tenth of the error is as far up wherever it starts.
    assert at[99.0] - at[90.0] == pytest.approx(at[90.0] - at[0.0])
    assert at[99.9] - at[99.0] == pytest.approx(at[90.0] - at[0.0])
    low, high = ax.get_ylim()
    assert 30 < low < 43 and 99.2 < high < 99.9
    labels = [text.get_text() for text in ax.get_yticklabels()]
    assert {"60", "90", "98", "99"} <= set(labels) and "0" not in labels


def test_errors_within_a_decade_are_not() -> None:
    near = Curve("real", "real", [point(2, 93.0), point(3, 99.2, half=0.5)])
    (ax,) = painted({"mnist5k": Panel([near], [])}).axes
    assert ax.get_yscale() == "linear"
