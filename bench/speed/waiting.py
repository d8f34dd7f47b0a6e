"""What bounded spinning costs on idle cores and brings on busy ones (`bench.machine.openmp`).

A runtime reads how its threads shall wait when PyTorch is imported, so each way has a process of
its own, which runs a network when it is told to.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import NamedTuple

import torch
from joblib import cpu_count
from torch import Tensor, nn

from bench.config.schema import RuntimeConfig
from bench.machine.children import child_environment
from bench.machine.device import prepare_device
from bench.machine.openmp import SPIN
from bench.machine.share import GpuClaim
from bench.speed.ratio import Ratio, Side
from bench.speed.timing import alternate
from bench.speed.workplace import Measure, Workplace
from models.zoo import entry

WAYS = {"unbounded": {"KMP_BLOCKTIME": "200"}, "bounded": SPIN}
"""Variables that say how threads wait: Intel's own default, by which GNU's keeps its own; ours."""

_BUSY = 4
"""Processes that want a core each."""

_SECONDS = 20.0
_IDLE_AT_MOST = 1.05
_FAIR_AT_MOST = 2.0
_VARIABLES = {name for way in WAYS.values() for name in way} | {"OMP_WAIT_POLICY"}


class Work(NamedTuple):
    """A network, how many images it takes at once, and whether gradients are computed."""

    network: str
    images: int
    backward: bool

    @property
    def title(self) -> str:
        passes = "forward and backward" if self.backward else "forward"
        return f"{self.network}, {passes}, {self.images} images"


WORK = (Work("efficientnet_lite0", 5, backward=False), Work("resnet20", 16, backward=True))


def serve(work: Work, threads: int) -> None:
    """Run `work` once for each line of stdin, and answer each with a line when it is done."""
    runtime = RuntimeConfig.model_validate({"device": "cpu", "threads": threads})
    device = prepare_device(runtime, GpuClaim())
    network = entry(work.network).network().eval().to(memory_format=device.memory_format)
    size = entry(work.network).preprocessing.size
    images = torch.randn(work.images, 3, size, size, generator=torch.Generator().manual_seed(0))
    run = partial(_pass, network, images.to(memory_format=device.memory_format), work.backward)
    for _ in sys.stdin:
        run()
        sys.stdout.write("done\n")
        sys.stdout.flush()


def _pass(network: nn.Module, images: Tensor, backward: bool) -> None:
    with torch.set_grad_enabled(backward):
        outputs: Tensor = network(images)
        if backward:
            outputs.sum().backward()


@contextmanager
def _served(work: Work, way: str, threads: int) -> Iterator[Callable[[], None]]:
    """Yield what runs `work` once in a process whose threads wait in that way."""
    inherited = {name: value for name, value in os.environ.items() if name not in _VARIABLES}
    program = f"from bench.speed.waiting import Work, serve; serve({work!r}, {threads})"
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env=inherited | child_environment() | WAYS[way],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    stdin, stdout = process.stdin, process.stdout
    assert stdin is not None and stdout is not None

    def run() -> None:
        stdin.write("run\n")
        stdin.flush()
        if not stdout.readline():
            raise RuntimeError(f"the process that runs {work.title} ended; its error is above")

    try:
        yield run
    finally:
        process.kill()
        process.communicate()


@contextmanager
def _busy(count: int) -> Iterator[None]:
    """Keep `count` processes busy for the time of the block."""
    with ExitStack() as stack:
        for _ in range(count):
            process = subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"])
            stack.callback(process.wait)
            stack.callback(process.kill)
        yield


def waiting(work: Work, place: Workplace) -> list[Ratio]:
    """Return the ratios of one piece of work: idle, and beside processes that keep cores busy.

    None on a GPU or with one thread, where no thread waits. Beside `b` busy processes the fair
    share of `t` threads on `c` cores takes (t + b) / c times as long as alone.
    """
    threads = torch.get_num_threads()
    if place.device.device.type != "cpu" or threads == 1:
        return []
    with ExitStack() as stack:
        sides = {way: stack.enter_context(_served(work, way, threads)) for way in WAYS}
        idle = alternate(sides, _SECONDS, place.device.device)
        with _busy(_BUSY):
            busy = alternate(sides, _SECONDS, place.device.device)
    fair = max(1.0, (threads + _BUSY) / cpu_count())
    details = {"threads": threads, "busy_processes": _BUSY, **SPIN}
    beside = f"beside {_BUSY} busy processes"
    return [
        Ratio(
            f"bounded spin / the runtime's own, idle: {work.title}",
            Side("bounded", idle["bounded"]),
            Side("the runtime's own", idle["unbounded"]),
            goal=_IDLE_AT_MOST,
            details=details,
        ),
        Ratio(
            f"bounded spin {beside} / fair share: {work.title}",
            Side("bounded, busy", busy["bounded"]),
            Side(f"bounded, idle, {fair:.3g} times", fair * idle["bounded"]),
            goal=_FAIR_AT_MOST,
            details=details,
        ),
        Ratio(
            f"the runtime's own {beside} / bounded: {work.title}",
            Side("the runtime's own, busy", busy["unbounded"]),
            Side("bounded, busy", busy["bounded"]),
            details=details,
        ),
    ]


MEASURES = [Measure(f"threads that wait: {work.title}", partial(waiting, work)) for work in WORK]
