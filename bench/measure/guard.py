"""The process that outlives another one whose cell has hung, to clean up and record the cell.

`python -m bench.measure.guard STACKS PROCESS UNTIL GRACE`, started by `bench.measure.limit`, which
ends it when the cell has not hung. STACKS: descriptor of a file where the watched PROCESS writes
where its threads are, just before it ends itself. UNTIL: when the time of the cell is up, by
time.monotonic(). Standard input: a line of JSON, what to record; then a line for each phase as it
begins.
"""

import json
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

from bench.cells.result import Result
from bench.cells.result_file import write_result
from bench.cells.store import Busy, Store
from bench.machine.processes import descendants, kill


def main(stacks: int, watched: int, until: float, grace: float) -> None:
    """Wait for the end of the watched process; if that was its time limit, record the cell."""
    heard = _listen(watched, until + grace / 2)
    left_behind = descendants(watched)
    _wait_for_end(watched, until + 2 * grace)
    by_force = os.getppid() == watched  # it was stopped, or the system does not schedule it
    if by_force:
        os.kill(watched, signal.SIGKILL)
        _wait_for_end(watched, time.monotonic() + grace)
    where = os.pread(stacks, 2**20, 0).decode(errors="replace")
    if not where and not by_force:
        return  # it ended for another reason
    for process in left_behind:
        kill(process)
    orders, *phases = heard.decode().splitlines()
    seconds_past = time.monotonic() - until
    _record(json.loads(orders), phases[-1], where, seconds_past)


def _listen(watched: int, until: float) -> bytes:
    """Return what comes on standard input while there is a watched process, or until that moment.

    What has come before is returned in any case.
    """
    heard = b""
    while True:
        left = until - time.monotonic()
        ready, _, _ = select.select([0], [], [], min(1.0, max(0.0, left)))
        if ready:
            piece = os.read(0, 2**16)
            heard += piece
        if (ready and not piece) or (not ready and (left <= 0 or os.getppid() != watched)):
            return heard


def _wait_for_end(process: int, until: float) -> None:
    while os.getppid() == process and time.monotonic() < until:
        time.sleep(0.05)


def reason(limit: float, phase: str) -> str:
    """Return what a cell is recorded with that took more than `limit` seconds."""
    return f"time limit: {limit:g} s passed in phase {phase}"


def _record(orders: dict[str, Any], phase: str, where: str, seconds_past: float) -> None:
    store, record = Store(Path(orders["outputs"])), Result.model_validate(orders["record"])
    why = reason(orders["limit"], phase)
    total = record.seconds.get("total", 0.0) + orders["limit"] + seconds_past
    record = record.model_copy(
        update={
            "reason": why,
            "traceback": where or "the process did not run any more",
            "seconds": record.seconds | {"total": round(total, 4)},
        }
    )
    try:
        log = (Path(orders["folder"]) / "log.txt").read_text("utf-8", "replace")
    except OSError:
        log = ""
    kept = _put(store, record, orders["config"], f"{log}{why}; the process was ended\n")
    sys.stderr.write(
        f"error: {record.label}: {why}, and it could not be interrupted: the process was ended; "
        f"{kept}run the same command again for what remains  {record.id}\n"
    )


def _put(store: Store, record: Result, config: str, log: str) -> str:
    """Put a failure into the store; return what to say if it is not put there."""
    for _ in range(50):  # the lock of a process that has ended is free soon
        try:
            with store.lock(record.id, wait=False):
                if store.finished(record.id) is not None:
                    return "the earlier result is kept; "
                with store.writing(record.id) as folder:
                    (folder / "log.txt").write_text(log, encoding="utf-8")
                    (folder / "config.yaml").write_text(config, encoding="utf-8")
                    write_result(folder, record)
            return ""
        except Busy:
            time.sleep(0.1)
    return "another process measures it now; "


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]))
