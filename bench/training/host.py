"""One training on several machines: the first hands each over to those that have joined it.

They speak through a `torch.distributed.TCPStore`, which the first machine opens at HOST:PORT for
the time of its command. Whoever reaches it can run code on all of them, as with torch.distributed
itself: it belongs on a network that is trusted. Its keys, for training N and machine K:

about          JSON: what the others must agree with, and how many machines there are
machine/K      there once K has joined
next           the number of the next training
task/N         JSON: how it was pickled, or how the command has ended; task/N/I: a piece of it
answer/N/K     whether K can take part: empty, or why not
go/N           whether all of them do
over/N         there once it has ended on the first machine
bye/K          K knows that the command has ended

The processes of a training then meet at PORT + 1.
"""

import json
import logging
import pickle
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from types import TracebackType
from typing import Any, NamedTuple, Self

import torch
from torch.distributed import TCPStore

from bench import __version__
from bench.config.schema import RuntimeConfig
from bench.training.processes import Place, check_processes, launch
from models.errors import BenchError

log = logging.getLogger(__name__)

JOIN_SECONDS = 600.0
"""How long the first machine waits for the others, from its first training on."""
ANSWER_SECONDS = 300.0
"""How long a machine that has joined may take to fetch a training."""
_BYE_SECONDS = 10.0
_POLL_SECONDS = 0.2
_TALK = timedelta(seconds=30)  # one question and its answer
_PIECE_BYTES = 4 * 2**20  # a TCPStore takes 8 MiB at once


class Address(NamedTuple):
    """Where the first machine listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def place(self, machine: int, machines: int) -> Place:
        return Place(machine, machines, self.host, self.port + 1)


def read_address(text: str) -> Address:
    """Read HOST:PORT, an IPv6 address in brackets. Raises BenchError where it is not that."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdigit() or not 0 < int(port) < 2**16 - 1:
        raise BenchError(f"{text!r} is no address; give HOST:PORT, such as node1:29400")
    return Address(host, int(port))


def about(machines: int) -> dict[str, Any]:
    """Return what all machines must agree on, that pickles and processes fit each other."""
    return {
        "machines": machines,
        "quantization-bench": __version__,
        "torch": torch.__version__.partition("+")[0],
        "python": ".".join(map(str, sys.version_info[:2])),
    }


class Host:
    """The first machine's side, for one command."""

    def __init__(self, address: Address, machines: int) -> None:
        """Raises BenchError when it cannot listen at `address`."""
        self.address, self.machines = address, machines
        self._trainings = 0
        self._until: float | None = None  # when the last machine must have joined
        self._lost: str | None = None  # why no more training can begin
        self._store = _listen(address)
        self._store.set("about", json.dumps(about(machines)))
        self._store.set("next", "0")

    def launch(
        self, count: int, device: torch.device, work: Callable[..., None], *arguments: Any
    ) -> None:
        """Run work(fabric, *arguments) in `count` processes of each machine.

        See `bench.training.processes`.

        Raises BenchError, too, when a machine is not there or cannot take part.
        """
        if self._lost is not None:
            raise BenchError(self._lost)
        check_processes(count, device)
        self._wait_for_machines()
        number = self._trainings
        try:
            self._hand_over(number, count, device, (work, arguments))
            launch(count, device, work, *arguments, place=self.address.place(0, self.machines))
        finally:
            self._trainings += 1
            self._store.set("next", str(self._trainings))
            self._store.set(f"over/{number}", "")

    def close(self, finished: bool) -> None:
        """Tell the others that the command has ended, and whether it came to its end."""
        self._store.set(f"task/{self._trainings}", json.dumps({"finished": finished}))
        joined = [k for k in self._others if self._store.check([f"machine/{k}"])]
        _wait(self._store, [f"bye/{k}" for k in joined], time.monotonic() + _BYE_SECONDS)

    @property
    def _others(self) -> range:
        return range(1, self.machines)

    def _wait_for_machines(self) -> None:
        keys = {f"machine/{k}": k for k in self._others}
        if self._until is None:
            self._until = time.monotonic() + JOIN_SECONDS
            if missing := _missing(self._store, list(keys)):
                names = ", ".join(str(keys[key]) for key in missing)
                log.info("waiting for machine %s: bench join HOST:PORT --machine K", names)
        if missing := _wait(self._store, list(keys), self._until):
            names = ", ".join(str(keys[key]) for key in missing)
            self._lost = f"machine {names} has not joined; start `bench join` there and run again"
            raise BenchError(self._lost)

    def _hand_over(self, number: int, count: int, device: torch.device, task: Any) -> None:
        """Give `task` to every other machine. Raises BenchError unless all of them take it."""
        pickled = memoryview(pickle.dumps(task))
        pieces = range(0, len(pickled), _PIECE_BYTES)
        for i, first in enumerate(pieces):
            piece: Any = bytes(pickled[first : first + _PIECE_BYTES])  # declared to be a str
            self._store.set(f"task/{number}/{i}", piece)
        about_task = {"pieces": len(pieces), "count": count, "device": device.type}
        self._store.set(f"task/{number}", json.dumps(about_task))
        answers = [f"answer/{number}/{k}" for k in self._others]
        missing = _wait(self._store, answers, time.monotonic() + ANSWER_SECONDS)
        for i in range(len(pieces)):
            self._store.delete_key(f"task/{number}/{i}")
        refusals = [
            f"machine {key.rpartition('/')[2]}: {self._store.get(key).decode()}"
            for key in answers
            if key not in missing and self._store.get(key)
        ]
        self._store.set(f"go/{number}", json.dumps(not missing and not refusals))
        if missing:
            names = ", ".join(key.rpartition("/")[2] for key in missing)
            self._lost = f"machine {names} has joined and does not answer; run again on all"
            raise BenchError(self._lost)
        if refusals:
            raise BenchError("; ".join(refusals))


class Hosting:
    """Whether the trainings of a command may have a host, and the one they have.

    It may within the context, which is the time of a command in the process of the command; at its
    end the host is closed. A worker of a launcher, which does some of the cells, may have none.
    """

    def __init__(self) -> None:
        self.host: Host | None = None
        """What trainings use; None on one machine."""
        self._allowed = False

    def __enter__(self) -> Self:
        self._allowed = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        host, self.host, self._allowed = self.host, None, False
        if host is not None:
            with suppress(RuntimeError):  # of the store
                host.close(finished=kind is None)

    def open(self, runtime: RuntimeConfig) -> None:
        """Listen for the machines that `runtime` asks for; once in a command.

        Raises BenchError when what it asks for does not fit together, or cannot be had here.
        """
        address = check_machines(runtime)
        if address is None:
            return
        if not self._allowed:
            raise BenchError(
                f"runtime.machines={runtime.machines} needs one process for all cells; leave out "
                "hydra/launcher="
            )
        if self.host is None:
            self.host = Host(address, runtime.machines)
            log.info("machine 0 of %d listens at %s", runtime.machines, address)
        if (self.host.address, self.host.machines) != (address, runtime.machines):
            raise BenchError(
                "runtime.address and runtime.machines are those of the first cell for the whole "
                "command; start another command"
            )


def check_machines(runtime: RuntimeConfig) -> Address | None:
    """Return where `Hosting` would listen, None on one machine.

    Raises BenchError when what `runtime` asks for does not fit together.
    """
    if runtime.machines == 1:
        return None
    if runtime.processes % runtime.machines:
        raise BenchError(
            f"runtime.processes={runtime.processes} in all cannot be shared by runtime.machines="
            f"{runtime.machines} equally"
        )
    if runtime.address is None:
        raise BenchError(
            f"runtime.machines={runtime.machines} needs runtime.address=HOST:PORT, where the "
            "others reach this one"
        )
    address = read_address(runtime.address)
    check_processes(0, torch.device("cpu"))
    return address


def _listen(address: Address) -> TCPStore:
    for port in (address.port, address.port + 1):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", port))
            except OSError as error:
                raise BenchError(
                    f"port {port} cannot be used here: {error.strerror}; runtime.address=HOST:PORT "
                    "takes PORT and the one after it"
                ) from error
    try:
        return TCPStore(*address, is_master=True, wait_for_workers=False, timeout=_TALK)
    except RuntimeError as error:
        raise BenchError(
            f"this machine does not reach itself at {address}; give in runtime.address the name "
            "by which the others know it"
        ) from error


def _missing(store: TCPStore, keys: Sequence[str]) -> list[str]:
    return [key for key in keys if not store.check([key])]


def _wait(store: TCPStore, keys: Sequence[str], until: float) -> list[str]:
    """Return which of `keys` are still not there at a moment of `time.monotonic`."""
    # Configuration again and again: a signal would have to wait for the end of a wait of the store.
    while (missing := _missing(store, keys)) and time.monotonic() < until:
        time.sleep(_POLL_SECONDS)
    return missing
