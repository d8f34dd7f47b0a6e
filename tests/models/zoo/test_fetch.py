import hashlib
import io
import logging
import random
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import models.zoo.fetch
from models.errors import BenchError
from models.zoo.fetch import CHUNK_BYTES, FOLDER_VARIABLE, cache_folder, fetch, fetch_plain

FILE = "net-0982-0126861b.pth"
CONTENT = random.Random(0).randbytes(3 * CHUNK_BYTES + 17)
SHA1 = hashlib.sha1(CONTENT).hexdigest()


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


GOOD = zipped({FILE: CONTENT})


class Release(ThreadingHTTPServer):
    """Serves `body` for every path.

    ranges: whether a Range is honoured. cut: bytes of the body after which each answer ends, though
    its length was announced. failures: answers of 503 before the first good one.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.body = GOOD
        self.ranges, self.cut, self.failures = True, len(GOOD), 0
        self.asked: list[str | None] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}/{FILE}.zip"


class Handler(BaseHTTPRequestHandler):
    server: Release

    def do_GET(self) -> None:
        asked, body = self.headers["Range"], self.server.body
        self.server.asked.append(asked)
        if self.server.failures:
            self.server.failures -= 1
            self.send_error(503)
            return
        if not body:
            self.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if asked and self.server.ranges and start >= len(body):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(body)}")
        elif asked and self.server.ranges:
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            body = body[start:]
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.cut])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def release() -> Iterator[Release]:
    with Release() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "a" / "weights"
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    monkeypatch.setattr(models.zoo.fetch, "PAUSE_SECONDS", 0.0)
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    return folder


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder() == folder
    monkeypatch.delenv(FOLDER_VARIABLE)
    assert cache_folder() == Path.home() / ".cache" / "quantization-bench" / "weights"


def test_fetched_once(release: Release, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "bench.fetch"):
        path = fetch(release.url, FILE, SHA1)
        assert fetch(release.url, FILE, SHA1) == path
    assert path == folder / FILE
    assert path.read_bytes() == CONTENT
    assert release.asked == [None]
    assert files(folder) == [FILE]
    first, last = (record.message for record in caplog.records)
    assert first == f"fetching {release.url}, 3.1 MB"
    assert last.startswith(f"fetched {path} in ")


def test_a_file_that_is_there_needs_no_network(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / FILE).write_bytes(CONTENT)
    folder.chmod(0o500)
    assert fetch("http://127.0.0.1:9/never.zip", FILE, SHA1) == folder / FILE
    folder.chmod(0o700)


def test_another_file_of_that_name_is_refused_and_kept(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / FILE).write_bytes(b"another")
    with pytest.raises(BenchError, match=f"has SHA-1 {hashlib.sha1(b'another').hexdigest()}, exp"):
        fetch("http://127.0.0.1:9/never.zip", FILE, SHA1)
    assert files(folder) == [FILE]


def test_lost_connections_are_resumed(release: Release) -> None:
    release.cut = len(GOOD) // 2
    assert fetch(release.url, FILE, SHA1).read_bytes() == CONTENT
    assert release.asked[0] is None
    assert release.asked[1] == f"bytes={release.cut}-"


def test_the_next_run_goes_on(release: Release, folder: Path) -> None:
    release.cut, release.ranges = 1000, False
    with pytest.raises(BenchError, match=f"ended after 1000 of {len(GOOD)} bytes; check the netw"):
        fetch(release.url, FILE, SHA1)
    assert len(release.asked) == models.zoo.fetch.ATTEMPTS
    assert files(folder) == [f"{FILE}.zip.part"]
    release.cut, release.ranges = len(GOOD), True
    assert fetch(release.url, FILE, SHA1).read_bytes() == CONTENT
    assert release.asked[-1] == "bytes=1000-"
    assert files(folder) == [FILE]


def test_a_server_without_ranges_starts_again(release: Release, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / f"{FILE}.zip.part").write_bytes(GOOD[:5000])
    release.ranges = False
    assert fetch(release.url, FILE, SHA1).read_bytes() == CONTENT
    assert release.asked == ["bytes=5000-"]


@pytest.mark.parametrize(("left", "answers"), [(GOOD, 1), (GOOD + b"more", 2)])
def test_nothing_left_to_ask_for(left: bytes, answers: int, release: Release, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / f"{FILE}.zip.part").write_bytes(left)
    assert fetch(release.url, FILE, SHA1).read_bytes() == CONTENT
    assert release.asked == [f"bytes={len(left)}-", None][:answers]


def test_a_busy_server_is_asked_again(release: Release) -> None:
    release.failures = 2
    assert fetch(release.url, FILE, SHA1).read_bytes() == CONTENT
    assert len(release.asked) == 3


def test_wrong_hash_leaves_nothing(release: Release, folder: Path) -> None:
    release.body = zipped({FILE: b"other weights"})
    found = hashlib.sha1(b"other weights").hexdigest()
    with pytest.raises(BenchError, match=f"has SHA-1 {found}, expected {SHA1}; what was fetched"):
        fetch(release.url, FILE, SHA1)
    assert files(folder) == []


@pytest.mark.parametrize(
    "members",
    [
        {FILE: CONTENT, "more.py": b""},
        {f"../{FILE}": CONTENT},
        {f"/tmp/{FILE}": CONTENT},
        {"other.pth": CONTENT},
        {},
    ],
    ids=lambda members: ",".join(members),
)
def test_foreign_members(members: dict[str, bytes], release: Release, folder: Path) -> None:
    release.body = zipped(members)
    with pytest.raises(BenchError, match=f"not '{FILE}' alone; nothing is kept"):
        fetch(release.url, FILE, SHA1)
    assert files(folder) == []
    assert files(folder.parent) == ["weights"]


@pytest.mark.parametrize("body", [b"<html>sign in</html>", GOOD[:-100], GOOD[:9999] + GOOD[10010:]])
def test_no_zip(body: bytes, release: Release, folder: Path) -> None:
    release.body = body
    with pytest.raises(BenchError, match=r"is no readable zip: .*; what was fetched is removed"):
        fetch(release.url, FILE, SHA1)
    assert files(folder) == []


def test_not_found_is_not_asked_for_again(release: Release, folder: Path) -> None:
    release.body = b""
    with pytest.raises(BenchError) as caught:
        fetch(release.url, FILE, SHA1)
    assert f"cannot fetch {release.url}: the server answered 404 Not Found; " in str(caught.value)
    assert f"or put {FILE} into {folder} (set {FOLDER_VARIABLE}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(release.asked) == 1


def test_no_server(release: Release) -> None:
    release.server_close()
    with pytest.raises(BenchError, match=r"cannot fetch .*: \[Errno \d+\] Connection refused; che"):
        fetch(release.url, FILE, SHA1)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_no_room(release: Release, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / f"{FILE}.zip.part").symlink_to("/dev/full")
    with pytest.raises(BenchError, match=f"cannot write to {folder}: No space left on device; mak"):
        fetch(release.url, FILE, SHA1)
    assert len(release.asked) == 1


def test_the_folder_is_a_file(release: Release, folder: Path) -> None:
    folder.parent.mkdir()
    folder.write_text("", encoding="utf-8")
    with pytest.raises(BenchError, match=f"cannot write to {folder}: File exists; make room"):
        fetch(release.url, FILE, SHA1)


def test_two_processes_fetch_once(release: Release, folder: Path) -> None:
    code = f"from models.zoo.fetch import fetch; print(fetch({release.url!r}, {FILE!r}, {SHA1!r}))"
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [process.communicate()[0].strip() for process in processes] == [str(folder / FILE)] * 2
    assert release.asked == [None]


SHA256 = hashlib.sha256(CONTENT).hexdigest()


def test_a_plain_file_is_fetched_once(release: Release, folder: Path) -> None:
    release.body, release.cut = CONTENT, 2**20
    url = release.url.removesuffix(".zip")
    path = fetch_plain(url, SHA256[:8])
    assert path == folder / FILE and path.read_bytes() == CONTENT and files(folder) == [FILE]
    asked = len(release.asked)
    assert asked == 4, "it went on where the connection was lost"
    assert fetch_plain(url, SHA256[:8]) == path and len(release.asked) == asked


def test_another_plain_file_is_refused(release: Release, folder: Path) -> None:
    release.body, release.cut = CONTENT, len(CONTENT)
    url = release.url.removesuffix(".zip")
    with pytest.raises(BenchError, match=rf"has SHA-256 {SHA256}, which should begin with 00ff;"):
        fetch_plain(url, "00ff")
    assert files(folder) == []
    (folder / FILE).write_bytes(b"another")
    with pytest.raises(BenchError, match=rf"^{folder / FILE} has SHA-256 .* remove it, and the"):
        fetch_plain(url, SHA256[:8])
    assert (folder / FILE).read_bytes() == b"another"
