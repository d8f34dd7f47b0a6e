"""A machine that takes part in the trainings of another's command: see `bench.training.host`."""

import json
import logging
import multiprocessing
import os
import pickle
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import torch
from torch.distributed import TCPStore

from bench.machine.share import cpu_threads
from bench.training.host import Address, about
from bench.training.processes import Place, check_processes, launch
from models.errors import BenchError, first_line

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.2
_GRACE_SECONDS = 5.0  # for processes whose training has ended on the first machine
_TALK = timedelta(seconds=30)  # one question and its answer

Call = tuple[Callable[..., None], tuple[Any, ...]]
"""What each process of a training calls, and with what."""


class Lost(BenchError):
    """The first machine cannot be reached, or has ended before its command."""


def take_part(address: Address, machine: int, wait_seconds: float) -> int:
    """Take part in every training until the first machine's command has ended; return how many.

    wait_seconds: how long it may take until the first machine is there.
    Raises Lost, and BenchError when this machine does not fit to the first.
    """
    threads = cpu_threads(os.environ)
    if threads is not None:
        torch.set_num_threads(threads)
    store = _reach(address, wait_seconds)
    with _no_word_is_loss():
        first = json.loads(store.get("about"))
        _check(first, machine)
        if store.add(f"machine/{machine}", 1) > 1:
            raise BenchError(f"machine {machine} has joined already; give each its own number")
        number = int(store.get("next"))
    log.info("machine %d of %d has joined; waiting for trainings", machine, first["machines"])
    done, place = 0, address.place(machine, first["machines"])
    try:
        while (task := _next(store, number, machine)) is not None:
            done += _train(store, number, task, place)
            number += 1
    finally:
        with suppress(RuntimeError):
            store.delete_key(f"machine/{machine}")  # it may come again
    return done


def _reach(address: Address, wait_seconds: float) -> TCPStore:
    until = time.monotonic() + wait_seconds
    while True:
        try:
            socket.create_connection(address, timeout=5).close()
            break
        except OSError as error:
            if time.monotonic() >= until:
                raise Lost(
                    f"cannot reach {address}: {error.strerror or error}; start there: bench run "
                    f"runtime.machines=N runtime.address={address} ..."
                ) from error
        time.sleep(min(1.0, max(0.0, until - time.monotonic())))
    return _connected(address)


def _connected(address: Address) -> TCPStore:
    stores: list[TCPStore] = []

    def connect() -> None:
        with suppress(RuntimeError):
            stores.append(TCPStore(*address, is_master=False, timeout=_TALK))

    # PyTorch would wait for ever for an answer of something that speaks another language.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(_TALK.total_seconds())
    if not stores:
        raise Lost(f"what listens at {address} is no `bench run` with machines; check the port")
    return stores[0]


def _check(first: dict[str, Any], machine: int) -> None:
    """Refuse to be a machine that there is not, or one that differs from the first.

    first: what the first machine is, as `about` has it.
    """
    for what, there in first.items():
        here = about(first["machines"]).get(what)
        if here != there:
            raise BenchError(
                f"{what} is {here} on this machine and {there} on the first; install the same"
            )
    if not 0 < machine < first["machines"]:
        last = first["machines"] - 1
        raise BenchError(f"--machine {machine} is not one of those that join; give 1..{last}")


def _next(store: TCPStore, number: int, machine: int) -> dict[str, Any] | None:
    """Return how the next training is handed over, None when the command has ended."""
    with _no_word_is_loss():
        while not store.check([f"task/{number}"]):
            time.sleep(_POLL_SECONDS)
        task: dict[str, Any] = json.loads(store.get(f"task/{number}"))
        if "finished" not in task:
            return task
        store.set(f"bye/{machine}", "")
    if not task["finished"]:
        raise Lost("the first machine has broken off its command")
    return None


def _train(store: TCPStore, number: int, task: dict[str, Any], place: Place) -> bool:
    """Take part in one training; return whether it came to its end here.

    task: how many processes it has here, on which device, and how many pieces its pickle has.
    """
    count, device = task["count"], torch.device(task["device"])
    call: Call | None = None
    with _no_word_is_loss():
        pieces = [store.get(f"task/{number}/{i}") for i in range(task["pieces"])]
        try:
            check_processes(count, device)
            call = pickle.loads(b"".join(pieces))
            refusal = ""
        except Exception as error:  # whatever an import on this machine may raise
            line = first_line(error)
            refusal = line if isinstance(error, BenchError) else f"{type(error).__name__}: {line}"
        store.set(f"answer/{number}/{place.machine}", refusal)
        while not store.check([f"go/{number}"]):
            time.sleep(_POLL_SECONDS)
        go = json.loads(store.get(f"go/{number}"))
    if not go or call is None:
        log.warning("training %d does not begin%s", number + 1, refusal and f": {refusal}")
        return False
    start = time.monotonic()
    log.info("training %d begins", number + 1)
    cut_off = threading.Event()
    try:
        work, arguments = call
        with _not_beyond(store, number, cut_off):
            launch(count, device, work, *arguments, place=place)
    except BenchError as error:
        why = "it ended on the first machine" if cut_off.is_set() else error
        log.warning("training %d has failed: %s", number + 1, why)
        return False
    log.info("training %d is done, %.0f s", number + 1, time.monotonic() - start)
    return True


@contextmanager
def _not_beyond(store: TCPStore, number: int, cut_off: threading.Event) -> Iterator[None]:
    """End the processes that the block has started some time after the first machine's.

    cut_off: set where that had to be done.
    """
    ended = threading.Event()

    def watch() -> None:
        over = False
        while not over and not ended.wait(_POLL_SECONDS):
            try:
                over = store.check([f"over/{number}"])
            except RuntimeError:  # the first machine is gone
                over = True
        if over and not ended.wait(_GRACE_SECONDS):
            cut_off.set()
            for child in multiprocessing.active_children():
                child.kill()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


@contextmanager
def _no_word_is_loss() -> Iterator[None]:
    try:
        yield
    except torch.distributed.DistError as error:
        raise Lost("the first machine has ended, or cannot be reached any more") from error
