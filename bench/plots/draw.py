"""How every figure is drawn: alike wherever it is made, and at the cost of nothing else."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from models.errors import first_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)


def draw(
    paint: "Callable[[Figure], None]",
    path: Path,
    size: tuple[float, float],
    dpi: int = 100,
    layout: Literal["constrained"] | None = "constrained",
) -> None:
    """Write what `paint` puts into an empty figure as a PNG.

    size: width and height in inches. layout: None for a figure that places its axes itself.

    The user's settings (matplotlibrc, styles, MPLBACKEND) have no part in it. Where it cannot be
    drawn, a warning says so: the numbers that it shows are kept.
    """
    try:
        with _own_settings():
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure

            figure = Figure(figsize=size, layout=layout)
            FigureCanvasAgg(figure)
            paint(figure)
            figure.savefig(path, format="png", dpi=dpi, metadata={"Software": None})
    except Exception as error:  # whatever a library makes of its surroundings
        path.unlink(missing_ok=True)
        reason = first_line(error) or type(error).__name__
        log.warning("warning: %s is not drawn: %s", path.name, reason)
        log.debug("drawing failed", exc_info=True)


@contextmanager
def _own_settings() -> Iterator[None]:
    """Have matplotlib as it is installed for the time of the block."""
    # A notebook hands MPLBACKEND down to what is started from it, and importing matplotlib fails
    # where the backend of that name is not installed.
    backend = os.environ.pop("MPLBACKEND", None)
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.ERROR)  # of lines of a matplotlibrc, and of a home without a cache
    try:
        import matplotlib as mpl

        with mpl.rc_context():
            mpl.rcdefaults()
            yield
    finally:
        logger.setLevel(level)
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
