"""A figure is the same whatever the user has set, and costs nothing but itself."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest

from bench.plots.draw import draw
from bench.plots.mixed import plot_mixed
from bench.plots.training import plot_training
from tests.spy import lines_of

ROOT = Path(__file__).parents[3]
EPOCHS = [{"epoch": epoch, "loss": 2.0 / (1 + epoch)} for epoch in range(3)]
CHOICE: dict[str, Any] = {
    "frontier": [(1.0, 9.0), (2.0, 3.0), (3.0, 1.0)],
    "size_mb": 2.0,
    "cost": 3.0,
    "layers": [{"bits": 4, "sensitivity": {2: 3.0, 4: 0.5}}, {"bits": 8, "sensitivity": None}],
}
# Each alone would change a picture, or fail it: there is no TeX here.
OTHERS = {
    "text.usetex": True,
    "axes.facecolor": "black",
    "font.family": "monospace",
    "lines.linewidth": 9.0,
    "savefig.dpi": 20,
    "savefig.bbox": "tight",
    "savefig.format": "pdf",
    "figure.constrained_layout.use": False,
}


def pictures(folder: Path) -> list[bytes]:
    folder.mkdir()
    plot_training(EPOCHS, folder / "training.png")
    plot_mixed(CHOICE, folder / "mixed.png")
    return [path.read_bytes() for path in sorted(folder.iterdir())]


def test_settings_of_the_user_change_no_picture(tmp_path: Path) -> None:
    usual = pictures(tmp_path / "usual")
    assert [content[:4] for content in usual] == [b"\x89PNG"] * 2
    with mpl.rc_context(OTHERS):
        assert pictures(tmp_path / "other") == usual
        assert mpl.rcParams["text.usetex"] is True  # the user's own, afterwards


def test_surroundings_that_fail_the_import_of_matplotlib(tmp_path: Path) -> None:
    """As a process starts that a notebook has started, in a folder with a matplotlibrc."""
    (tmp_path / "matplotlibrc").write_text("axes.facecolor: black\nno such line\nbackend: none\n")
    code = (
        "import os; from pathlib import Path; from bench.plots.training import plot_training; "
        f"plot_training({EPOCHS}, Path('training.png')); print(os.environ['MPLBACKEND'])"
    )
    backend = "module://matplotlib_inline.backend_inline"  # of a package that is not here
    own = {"MPLBACKEND": backend, "MPLCONFIGDIR": "/proc/none", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | own,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == (f"{backend}\n", "")
    plot_training(EPOCHS, tmp_path / "usual.png")
    assert (tmp_path / "training.png").read_bytes() == (tmp_path / "usual.png").read_bytes()


def test_a_picture_that_fails_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warnings = lines_of(monkeypatch, "bench.plots.draw", "warning")
    path = tmp_path / "a.png"
    draw(lambda figure: figure.no_such_thing(), path, (2, 2))  # type: ignore[attr-defined]
    draw(lambda figure: None, tmp_path / "no" / "b.png", (2, 2))
    assert warnings[0] == (
        "warning: a.png is not drawn: 'Figure' object has no attribute 'no_such_thing'"
    )
    assert warnings[1].startswith("warning: b.png is not drawn: [Errno 2]")
    assert list(tmp_path.iterdir()) == []
