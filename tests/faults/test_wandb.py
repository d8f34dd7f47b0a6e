"""A server of W&B that refuses, is silent or dies costs no result, no run, no secret and no end."""

import base64
import json
import re
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from tests.bench.conftest import Finished, assert_nothing_partial, assert_runs_agree, records
from tests.waiting import wait_until

pytestmark = pytest.mark.faults

KEY = "feedface" * 5
IN_A_HEADER = base64.b64encode(f"api:{KEY}".encode())


class Server:
    """On 127.0.0.1. fault: a status for every request, silent, dies, or refuses the files.

    With the last two the first requests of an upload are answered as W&B does.
    """

    def __init__(self, fault: str) -> None:
        self.fault = fault
        self.keys: set[str] = set()
        self.asked: list[str] = []
        self._ended = Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                server.keys.add(str(self.headers.get("Authorization")))
                operation = re.search(rb'"operationName":"(\w+)"', body)
                server.asked.append(operation[1].decode() if operation else self.path)
                status, content = server.answer(server.asked[-1], body)
                if status is None:
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = answer

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        Thread(target=self._http.serve_forever, daemon=True).start()

    def answer(self, asked: str, body: bytes) -> tuple[int | None, bytes]:
        """Return the status and the content; no status where the connection ends."""
        if self.fault == "silent":
            self._ended.wait()
            return None, b""
        if self.fault.isdigit():
            return int(self.fault), b"{}"
        if asked == "UpsertBucket":
            project = {"id": "p", "name": "q", "entity": {"id": "e", "name": "team"}}
            name = json.loads(body)["variables"]["name"]
            bucket = {"id": "b", "name": name, "displayName": name, "project": project}
            made = {"upsertBucket": {"inserted": True, "bucket": bucket}}
            return 200, json.dumps({"data": made}).encode()
        return (None, b"") if self.fault == "dies" else (403, b"{}")

    def close(self) -> None:
        self._ended.set()
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Server]]:
    """Start a server that W&B's client talks to, with a key."""
    started: list[Server] = []

    def start(fault: str) -> Server:
        server = Server(fault)
        started.append(server)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        return server

    yield start
    for server in started:
        server.close()


def uploading(outputs: Path) -> list[str]:
    """Return the living processes of uploads from `outputs`, W&B's own service included."""
    wanted, found = f"WANDB_DIR={outputs}".encode(), []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:  # ended meanwhile, or another user's
            continue
    return [command for command in found if command]  # that of a dead process is empty


def assert_nothing_lost(done: Finished, outputs: Path, workplace: Path, runs: int) -> None:
    """The results and the runs are whole; one line says what to do; no key, nothing goes on."""
    assert done.status == 0, done
    warnings = [line for line in done.out.splitlines() if line.startswith("warning")]
    assert warnings == [
        f"warning: {runs} W&B runs are not uploaded, no result is lost; when the network is back: "
        f"wandb sync {outputs}/wandb/*offline-run*"
    ]
    assert all(
        line.startswith("wandb: ") for line in done.err.splitlines()
    )  # where the key is from
    found = records(outputs)
    assert [record["status"] for record in found.values()] == ["done"] * runs
    assert_runs_agree(outputs)
    assert_nothing_partial(outputs)
    # `wandb sync` passes over what is marked.
    assert list((outputs / "wandb").glob("*/*.synced")) == []

    written = [path for folder in (outputs, workplace) for path in folder.rglob("*")]
    for secret in (KEY.encode(), IN_A_HEADER):
        assert [p for p in written if p.is_file() and secret in p.read_bytes()] == []
        assert secret.decode() not in done.out + done.err
    wait_until(lambda: not uploading(outputs), "no upload goes on")


def run_one(bench_main: Callable[..., Finished], outputs: Path, patience: float) -> Finished:
    """Measure one float cell and upload its run; within a minute whatever the server does."""
    start = time.monotonic()
    line = ("run", "data.limit=50", "quant=fp32", "tracking=wandb", f"paths.outputs={outputs}")
    done = bench_main(*line, f"tracking.patience_s={patience}")
    assert time.monotonic() - start < 60
    return done


@pytest.mark.parametrize(
    ("fault", "patience"),
    [
        ("refuses the files", 30),  # ends at once, and W&B's client is content
        ("silent", 8),  # a busy machine starts the upload in five seconds
        pytest.param("401", 30, marks=pytest.mark.slow),
        pytest.param("403", 30, marks=pytest.mark.slow),
        pytest.param("503", 8, marks=pytest.mark.slow),
        pytest.param("dies", 8, marks=pytest.mark.slow),
    ],
)
def test_a_server_that_fails(
    fault: str,
    patience: float,
    serve: Callable[[str], Server],
    bench_main: Callable[..., Finished],
    outputs: Path,
    workplace: Path,
) -> None:
    server = serve(fault)
    done = run_one(bench_main, outputs, patience)
    assert f"Basic {IN_A_HEADER.decode()}" in server.keys  # it was asked
    assert "UpsertBucket" in server.asked
    if fault in ("dies", "refuses the files"):
        assert len({*server.asked}) > 1  # and went on after the first answer
    assert_nothing_lost(done, outputs, workplace, 1)


@pytest.mark.slow
def test_no_server_at_all(
    serve: Callable[[str], Server],
    bench_main: Callable[..., Finished],
    outputs: Path,
    workplace: Path,
) -> None:
    serve("absent").close()
    assert_nothing_lost(run_one(bench_main, outputs, 5), outputs, workplace, 1)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["silent", "503"])
def test_a_sweep_on_a_server_that_fails(
    fault: str,
    serve: Callable[[str], Server],
    bench_process: Callable[..., Finished],
    outputs: Path,
    workplace: Path,
) -> None:
    """In a process of its own, with uploads in the background of the next cells."""
    server = serve(fault)
    start = time.monotonic()
    done = bench_process(
        *("run", "-m", "data.limit=50", "method=gaussian", "quant.w_bits=8,4,3", "tracking=wandb"),
        *("tracking.patience_s=5", f"paths.outputs={outputs}"),
    )
    assert time.monotonic() - start < 120
    assert server.asked
    assert_nothing_lost(done, outputs, workplace, 4)
