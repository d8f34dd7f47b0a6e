"""A training is handed to the machines that have joined, and each of them ends when it should."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.distributed import TCPStore

from bench.cli import main
from bench.config.compose import compose
from bench.config.schema import RuntimeConfig, read_config
from bench.training import guest, processes
from bench.training import host as host_module
from bench.training.guest import Lost, take_part
from bench.training.host import Address, Host, Hosting, read_address
from bench.training.processes import Place
from models.errors import BenchError
from tests.bench.cells_of import plan
from tests.processes import Process
from tests.waiting import wait_until

CPU = torch.device("cpu")


def free_port() -> int:
    """A port that is free, and the one after it."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("", 0))
            try:
                second.bind(("", first.getsockname()[1] + 1))
            except OSError:
                continue
            return int(first.getsockname()[1])


@pytest.fixture
def address() -> Address:
    return Address("127.0.0.1", free_port())


def runtime(at: Address, **changes: Any) -> RuntimeConfig:
    given = {"processes": 2, "machines": 2, "address": str(at)}
    return RuntimeConfig(**(given | changes))


class Joining:
    """`take_part` in a thread: what it returned or raised."""

    def __init__(self, address: Address, machine: int = 1) -> None:
        self.done: int | None = None
        self.error: BenchError | None = None
        self._thread = threading.Thread(target=self._run, args=(address, machine), daemon=True)
        self._thread.start()

    def _run(self, address: Address, machine: int) -> None:
        try:
            self.done = take_part(address, machine, 20)
        except BenchError as error:
            self.error = error

    def wait(self) -> "Joining":
        self._thread.join(30)
        assert not self._thread.is_alive()
        return self


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, list[Any]]]:
    """What was launched on the first machine and on the others, where nothing is started."""
    seen: dict[str, list[Any]] = {"first": [], "others": []}
    for module, name in ((host_module, "first"), (guest, "others")):
        monkeypatch.setattr(module, "launch", recording(seen[name]))
    yield seen


def recording(into: list[Any]) -> Callable[..., None]:
    def launch(count: int, device: torch.device, work: Any, *arguments: Any, place: Place) -> None:
        into.append((count, device, work, arguments, place))

    return launch


def test_every_training_reaches_every_machine(
    address: Address, launched: dict[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_module, "_PIECE_BYTES", 1000)  # some eighty pieces
    values = torch.arange(10_000)
    with Hosting() as hosting:
        hosting.open(runtime(address, processes=6, machines=3))
        others = [Joining(address, 1), Joining(address, 2)]
        first = hosting.host
        assert first is not None
        first.launch(2, CPU, sorted, values, "one")
        first.launch(2, CPU, sorted, values, "two")
    assert [other.wait().done for other in others] == [2, 2]
    assert hosting.host is None
    places = [Place(machine, 3, "127.0.0.1", address.port + 1) for machine in (0, 1, 2)]
    assert [each[4] for each in launched["first"]] == [places[0]] * 2
    assert sorted(each[4] for each in launched["others"]) == [places[1]] * 2 + [places[2]] * 2
    for count, device, work, arguments, _ in launched["others"]:
        assert (count, device, work) == (2, CPU, sorted)
        assert torch.equal(arguments[0], values)
    assert sorted(each[3][1] for each in launched["others"]) == ["one", "one", "two", "two"]


def test_a_machine_that_cannot_take_part_is_named_and_asked_again(
    address: Address, launched: dict[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([BenchError("2 GPUs, but 1 is there"), ImportError("no module own"), None])

    def check(count: int, device: torch.device) -> None:
        answer = next(answers)
        if answer:
            raise answer

    monkeypatch.setattr(guest, "check_processes", check)
    with Hosting() as hosting:
        hosting.open(runtime(address))
        other = Joining(address)
        first = hosting.host
        assert first is not None
        for refusal in ("machine 1: 2 GPUs, but 1 is there", "machine 1: ImportError: no module"):
            with pytest.raises(BenchError, match=refusal):
                first.launch(1, CPU, sorted)
        first.launch(1, CPU, sorted)
    assert other.wait().done == 1
    assert len(launched["first"]) == len(launched["others"]) == 1


def test_a_training_that_failed_elsewhere_is_not_the_last(
    address: Address, launched: dict[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    record, failed = recording(launched["others"]), []

    def fail_once(*arguments: Any, place: Place) -> None:
        if not failed:
            failed.append(place)
            raise BenchError("training diverged")
        record(*arguments, place=place)

    monkeypatch.setattr(guest, "launch", fail_once)
    with Hosting() as hosting:
        hosting.open(runtime(address))
        other = Joining(address)
        first = hosting.host
        assert first is not None
        first.launch(1, CPU, sorted, "one")
        first.launch(1, CPU, sorted, "two")
    assert other.wait().done == 1
    assert [each[3] for each in launched["others"]] == [("two",)]


def test_who_may_join(address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    with Hosting() as hosting:
        hosting.open(runtime(address))
        for machine in (0, 2, -1):
            with pytest.raises(BenchError, match=f"--machine {machine} is not one .* give 1..1"):
                take_part(address, machine, 5)
        client = TCPStore(*address, is_master=False)
        client.add("machine/1", 1)
        with pytest.raises(BenchError, match="machine 1 has joined already; give each its own"):
            take_part(address, 1, 5)
        client.set("bye/1", "")
        about = host_module.about(2)
        older = about | {"quantization-bench": "0.0.1"}
        monkeypatch.setattr(guest, "about", lambda count: older)
        there = about["quantization-bench"]
        message = f"quantization-bench is 0.0.1 on this machine and {there} on the first"
        with pytest.raises(BenchError, match=message):
            take_part(address, 1, 5)


def test_who_has_left_may_come_again(
    address: Address, launched: dict[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = iter([True, False])

    def check(count: int, device: torch.device) -> None:
        if next(stopped):
            raise KeyboardInterrupt

    monkeypatch.setattr(guest, "check_processes", check)
    monkeypatch.setattr(host_module, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(threading, "excepthook", lambda arguments: None)
    with Hosting() as hosting:
        hosting.open(runtime(address))
        first = hosting.host
        assert first is not None
        Joining(address)
        with pytest.raises(BenchError, match="machine 1 has joined and does not answer"):
            first.launch(1, CPU, sorted)
        assert json.loads(first._store.get("go/0")) is False
        first._lost = None
        again = Joining(address)
        first.launch(1, CPU, sorted)
    assert again.wait().done == 1
    assert len(launched["others"]) == 1


def test_a_machine_that_does_not_come_is_waited_for_once(
    address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_module, "JOIN_SECONDS", 0.3)
    with Hosting() as hosting:
        hosting.open(runtime(address, processes=3, machines=3))
        first = hosting.host
        assert first is not None
        client = TCPStore(*address, is_master=False)
        client.add("machine/1", 1)
        client.set("bye/1", "")
        for _ in range(2):
            with pytest.raises(BenchError, match="machine 2 has not joined; start `bench join`"):
                first.launch(1, CPU, sorted)
        # One that has joined and is gone does not keep the command from its end.
        monkeypatch.setattr(host_module, "_BYE_SECONDS", 0.1)
        client.delete_key("bye/1")


def test_a_command_that_is_broken_off_says_so(address: Address) -> None:
    with pytest.raises(KeyboardInterrupt), Hosting() as hosting:
        hosting.open(runtime(address))
        other = Joining(address)
        first = hosting.host
        assert first is not None
        first._wait_for_machines()
        raise KeyboardInterrupt
    assert str(other.wait().error) == "the first machine has broken off its command"
    assert isinstance(other.error, Lost)


def test_the_end_of_the_first_machine_ends_the_others(address: Address) -> None:
    code = (
        "from bench.training.host import Address, Host; import time; "
        f"kept = Host(Address('127.0.0.1', {address.port}), 2); "
        "print('listens', flush=True); time.sleep(60)"
    )
    process = Process(["-c", code])
    wait_until(lambda: process.said == "listens\n", "the first machine listens")
    other = Joining(address)
    client = TCPStore(*address, is_master=False)
    client.wait(["machine/1"])
    process.kill()
    assert isinstance(other.wait().error, Lost)
    assert "the first machine has ended, or cannot be reached any more" in str(other.error)


def test_nobody_there(
    address: Address, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["join", str(address), "--machine", "1", "--wait", "0"]) == 1
    assert capsys.readouterr().err == (
        f"error: cannot reach {address}: Connection refused; start there: bench run "
        f"runtime.machines=N runtime.address={address} ...\n"
    )
    monkeypatch.setattr(guest, "_TALK", guest.timedelta(seconds=0.5))
    with socket.socket() as other:
        other.bind(address)
        other.listen()
        with pytest.raises(Lost, match="is no `bench run` with machines; check the port"):
            take_part(address, 1, 0)
    assert main(["join", str(address), "--machine", "1", "seed=1"]) == 2
    assert "bench join takes no 'seed=1'" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["node1", "node1:", ":29400", "node1:x", "node1:0", "node1:65535"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(BenchError, match=f"'{text}' is no address; give HOST:PORT"):
        read_address(text)


def test_addresses() -> None:
    assert read_address("node1:29400") == ("node1", 29400)
    assert read_address("[::1]:29400") == ("::1", 29400)
    assert str(read_address("[::1]:29400")) == "[::1]:29400"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"processes": 3}, "processes=3 in all cannot be shared by runtime.machines=2 equally"),
        ({"processes": 1}, "processes=1 in all cannot be shared by runtime.machines=2 equally"),
        ({"address": None}, "machines=2 needs runtime.address=HOST:PORT, where the others reach"),
        ({"address": "node1"}, "'node1' is no address"),
    ],
)
def test_what_the_first_machine_refuses(
    address: Address, changes: dict[str, Any], message: str
) -> None:
    with Hosting() as hosting, pytest.raises(BenchError) as caught:
        hosting.open(runtime(address, **changes))
    assert message in str(caught.value)


def test_ports_that_are_in_use(address: Address) -> None:
    for port in (address.port, address.port + 1):
        with socket.socket() as other, Hosting() as hosting:
            other.bind(("", port))
            other.listen()
            with pytest.raises(BenchError, match=f"port {port} cannot be used here: Address alr"):
                hosting.open(runtime(address))


def test_the_first_machine_is_asked_once_a_command(
    address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosting = Hosting()
    hosting.open(RuntimeConfig())  # one machine: nothing to do
    with pytest.raises(
        BenchError, match="needs one process for all cells; leave out hydra/launcher="
    ):
        hosting.open(runtime(address))
    with Hosting() as hosting:
        hosting.open(runtime(address))
        one = hosting.host
        hosting.open(runtime(address))
        assert hosting.host is one
        with pytest.raises(BenchError, match="are those of the first cell for the whole command"):
            hosting.open(runtime(address, processes=3, machines=3))
    monkeypatch.setattr(processes, "find_spec", lambda name: None)
    missing = r"quantization-bench\[distributed\]"
    with Hosting() as hosting, pytest.raises(BenchError, match=missing):
        hosting.open(runtime(address))


def test_an_address_is_not_recorded_and_machines_change_no_id() -> None:
    given = ["method=dq", "quant=w8a8"]
    one = read_config(compose(given))
    machines = ["runtime.processes=2", "runtime.machines=2", "runtime.address=secret.host:29400"]
    two = read_config(compose([*given, *machines]))
    assert two.runtime.address == "secret.host:29400"
    assert two.runtime.model_dump()["machines"] == 2
    assert "secret.host" not in two.model_dump_json()
    assert plan(one).id == plan(two).id


def test_the_end_does_not_wait_for_who_has_never_come(address: Address) -> None:
    Host(address, 2).close(finished=True)
