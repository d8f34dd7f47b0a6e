"""`bench speed`: ratios of times on this machine, against their goals."""

import json
import logging
import tempfile
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.config.compose import compose
from bench.config.schema import read_config
from bench.console import say, show_log
from bench.files.whole import write_whole
from bench.machine.device import prepare_device
from bench.measure.resources import Resources
from bench.speed import (
    cells,
    detection,
    distillation,
    evaluation,
    gates,
    generation,
    gpu,
    history,
    mixed,
    reconstruction,
    rounding,
    search,
    training,
    waiting,
)
from bench.speed.ratio import Ratio
from bench.speed.report import document, machine, plot, table
from bench.speed.workplace import Measure, Workplace
from models.errors import BenchError

log = logging.getLogger(__name__)

_PARTS = (
    *(distillation, cells, evaluation, detection, training, mixed, gates, generation, search),
    *(reconstruction, rounding, waiting),
)

MEASURES: list[Measure] = [measure for part in _PARTS for measure in part.MEASURES]
"""In the order in which they are measured and shown."""


def speed(arguments: Namespace) -> int:
    """Measure all ratios, print them, write them to `--out`; return 0, met or not.

    Raises BenchError for an override of anything but `runtime`, and for a history in `--out` that
    cannot be added to.
    """
    show_log()
    history.read(arguments.out / "speed_history.csv")  # fails now, not after half an hour
    for override in arguments.overrides:
        if not override.startswith("runtime."):
            raise BenchError(f"bench speed takes no {override!r}; give runtime.* only")
    runtime = read_config(compose(arguments.overrides)).runtime
    resources = Resources()
    device = prepare_device(runtime, resources.gpus)
    if arguments.gpu and device.device.type != "cuda":
        raise BenchError(
            "bench speed --gpu needs an NVIDIA GPU, and there is none; leave out --gpu"
        )
    measures = gpu.MEASURES if arguments.gpu else MEASURES
    where = machine(device.device)
    ratios: list[Ratio] = []
    with tempfile.TemporaryDirectory(prefix="bench-speed-") as folder:
        place = Workplace(runtime, device, Path(folder), resources)
        for number, measure in enumerate(measures, 1):
            log.info("[%d/%d] %s", number, len(measures), measure.title)
            ratios += measure.take(place)
    say(table(ratios))
    keep(document(ratios, where), ratios, arguments.out)
    say(f"wrote speed.json, speed_history.csv and their pictures into {arguments.out}")
    return 0


def keep(measured: dict[str, Any], ratios: Sequence[Ratio], out: Path) -> None:
    """Write what was measured into the folder `out`, and add it to the history there."""
    write_whole(out / "speed.json", json.dumps(measured, indent=1) + "\n")
    plot(ratios, out / "speed.png")
    so_far = history.added(history.read(out / "speed_history.csv"), history.rows(measured))
    write_whole(out / "speed_history.csv", history.text(so_far))
    history.plot(so_far, out / "speed_history.png")
