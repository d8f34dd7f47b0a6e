"""Tools one after the other, each in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.machine.children import child_environment
from bench.peers.rows import Job, Row
from models.errors import BenchError


def rows_of(name: str, jobs: Sequence[Job], overrides: Sequence[str], log: Path) -> Iterator[Row]:
    """Give the row of each job of the tool that goes by `name`, as it is measured.

    log: gets what the tool prints.
    Raises BenchError where nothing can be measured, and where the process ends before its last row.
    """
    orders = {
        "overrides": list(overrides),
        "jobs": [[job.method, list(job.bits)] for job in jobs],
    }
    log.parent.mkdir(parents=True, exist_ok=True)
    given = 0
    with (
        log.open("w", encoding="utf-8") as printed,
        subprocess.Popen(
            [sys.executable, "-m", "bench.peers.worker", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=printed,
            text=True,
            env=os.environ | child_environment(),
        ) as process,
    ):
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps(orders))
            process.stdin.close()
            for line in process.stdout:
                answer = json.loads(line)
                if "error" in answer:
                    raise BenchError(answer["error"])
                given += 1
                yield Row.model_validate(answer["row"])
        finally:
            process.kill()  # it has ended, or nobody waits for more
    if given < len(jobs):
        raise BenchError(
            f"the process of {name} ended with status {process.returncode} before it had measured "
            f"{jobs[given].method} at {jobs[given].bits.label}; what it printed is in {log}"
        )
