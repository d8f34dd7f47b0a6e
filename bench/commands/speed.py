"""`bench speed`: ratios of times on this machine, against their goals."""

import json
import logging
import tempfile
from argparse import Namespace
from pathlib import Path

from bench.config import read_config
from bench.console import say, show_log
from bench.experiments import compose_raw
from bench.machine import prepare_device
from bench.speed import cells, distillation, evaluation, training
from bench.speed.ratio import Ratio
from bench.speed.report import document, machine, plot, table
from bench.speed.workplace import Measure, Workplace
from bench.store import write_whole
from models.errors import BenchError

log = logging.getLogger(__name__)

_PARTS = (distillation, cells, evaluation, training)

MEASURES: list[Measure] = [measure for part in _PARTS for measure in part.MEASURES]
"""In the order in which they are measured and shown."""


def speed(arguments: Namespace) -> int:
    """Measure all ratios, print them, write them to `--out`; return 0, met or not.

    Raises BenchError for an override of anything but `runtime`.
    """
    show_log()
    for override in arguments.overrides:
        if not override.startswith("runtime."):
            raise BenchError(f"bench speed takes no {override!r}; give runtime.* only")
    runtime = read_config(compose_raw(arguments.overrides)).runtime
    device = prepare_device(runtime)
    where = machine(device)
    ratios: list[Ratio] = []
    with tempfile.TemporaryDirectory(prefix="bench-speed-") as folder:
        place = Workplace(runtime, device, Path(folder))
        for number, measure in enumerate(MEASURES, 1):
            log.info("[%d/%d] %s", number, len(MEASURES), measure.title)
            ratios += measure.take(place)
    say(table(ratios))
    out: Path = arguments.out
    write_whole(out / "speed.json", json.dumps(document(ratios, where), indent=1) + "\n")
    plot(ratios, out / "speed.png")
    say(f"wrote {out / 'speed.json'} and {out / 'speed.png'}")
    return 0
