"""How the training of a cell went, beside its result."""

import json
from pathlib import Path
from typing import Any

from bench.files.kinds import GENERATED
from bench.files.whole import write_whole
from bench.plots.training import TRAINING_PLOT, plot_training


def save_course(folder: Path, training: dict[str, Any], generated: bytes | None = None) -> None:
    """Write `training.json` and its plot to the folder of a cell.

    training: `key` of its cache entry, and `epochs` as of `plot_training`. generated: a picture, as
    PNG, of the images that it has made.
    """
    write_whole(folder / "training.json", json.dumps(training, indent=1))
    if generated is not None:
        (folder / GENERATED).write_bytes(generated)
    plot_training(training["epochs"], folder / TRAINING_PLOT)
