"""A sweep through a launcher, as its users start it, and what must be true of it at its end."""

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.bench.conftest import records
from tests.processes import Process
from tests.waiting import wait_until


class Sweep:
    """`bench run -m ...` in a process of its own, as the context's block runs."""

    def __init__(self, outputs: Path, workplace: Path, env: Mapping[str, str], *line: str) -> None:
        self.outputs = outputs
        command = ["-m", "bench", "run", "-m", *line, f"paths.outputs={outputs}"]
        own = {name: value for name, value in env.items() if not name.startswith("WANDB_")}
        self.process = Process(command, workplace, own)

    def __enter__(self) -> "Sweep":
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, 9)
        self.process.communicate()

    def entries(self) -> list[dict[str, str]]:
        return entries(self.outputs)

    def wait_until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for what the sweep does; it fails when the sweep ends before."""
        wait_until(lambda: condition() or self.process.poll() is not None, what)
        assert condition(), f"the sweep ended before {what}"

    def end(self, seconds: float) -> tuple[int, str]:
        """Wait for it; return the exit status and what it printed."""
        out, err = self.process.communicate(seconds)
        return self.process.wait(), err + out


def entries(outputs: Path) -> list[dict[str, str]]:
    """Return the lines of the journal of the last sweep, as far as it is."""
    files = sorted((outputs / "sweeps").glob("*/jobs-*.jsonl"))
    text = files[-1].read_text() if files else ""
    return [json.loads(line) for line in text.splitlines()]


def assert_each_cell_once(outputs: Path, cells: int) -> None:
    """`cells` cells and the float one are done, each with one W&B run, and no half of anything."""
    found = records(outputs)
    assert Counter(record["status"] for record in found.values()) == {"done": cells + 1}
    assert len({record["request_id"] for record in found.values()}) == cells + 1
    runs = [path.name for path in (outputs / "wandb").glob("*run-*")]
    assert sorted(name.split("-")[-2] for name in runs) == sorted(found)
    assert list((outputs / "pending").iterdir()) == []
    kept = [path for room in ("cells", "cache", "wandb") for path in (outputs / room).rglob("*")]
    assert [str(p) for p in kept if "partial" in p.name or p.name.startswith(".")] == []
