"""A file of a release: fetched once, resumed when cut short, checked before it gets its name."""

import hashlib
import logging
import os
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from filelock import FileLock, Timeout

from models.checksum import sha256_of
from models.errors import BenchError
from models.paths import expanded

# Under "bench", so that the terminal and a cell's log show it.
log = logging.getLogger("bench.fetch")

FOLDER_VARIABLE = "QUANTIZATION_BENCH_WEIGHTS"
ATTEMPTS = 5
PAUSE_SECONDS = 1.0
TIMEOUT_SECONDS = 30.0
CHUNK_BYTES = 2**20


def cache_folder() -> Path:
    """Return the folder of fetched weights, which need not exist.

    Raises BenchError where it would be in a home directory and there is none.
    """
    folder = os.environ.get(FOLDER_VARIABLE)
    try:
        return expanded(folder or "~/.cache/quantization-bench/weights")
    except BenchError as error:
        raise BenchError(
            f"there is no home directory to keep weights in; set {FOLDER_VARIABLE} to a folder"
        ) from error


def fetch(url: str, file: str, sha1: str) -> Path:
    """Return the path of `file` in the cache folder, after fetching it when it is not there.

    url: of a zip that holds `file` and nothing else. sha1: of `file`, checked in either case.
    Of several processes one fetches, and the others wait for it.

    Raises BenchError when it cannot be fetched or kept, or is another file than expected.
    """
    path = cache_folder() / file
    if _fetched_now(path, lambda: _fetch(url, path, sha1)):
        return path
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha1").hexdigest()
    if digest != sha1:
        raise BenchError(
            f"{path} has SHA-1 {digest}, expected {sha1}; remove it, and the next run fetches it"
        )
    return path


def fetch_plain(url: str, sha256: str) -> Path:
    """Return the path of the file at `url` in the cache folder, fetched when it is not there.

    sha256: how the hash of the file begins, as PyTorch's file names say it; checked in either case.
    Of several processes one fetches, and the others wait for it.

    Raises BenchError as `fetch`.
    """
    path = cache_folder() / url.rpartition("/")[2]
    if _fetched_now(path, lambda: _fetch_plain(url, path, sha256)):
        return path
    if not (digest := sha256_of(path)).startswith(sha256):
        raise BenchError(
            f"{path} has SHA-256 {digest}, which should begin with {sha256}; remove it, and the "
            "next run fetches it"
        )
    return path


def _fetched_now(path: Path, bring: Callable[[], None]) -> bool:
    """Let `bring` make `path`, which it checks, where it is not there; return whether it did."""
    if path.is_file():
        return False
    with _disk(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    with _turn(path):
        if path.is_file():
            return False
        bring()
        return True


def _fetch_plain(url: str, path: Path, sha256: str) -> None:
    start, part = time.monotonic(), path.with_name(f"{path.name}.part")
    _download(url, part, path)
    if not (digest := sha256_of(part)).startswith(sha256):
        part.unlink()
        raise BenchError(
            f"{path.name} from {url} has SHA-256 {digest}, which should begin with {sha256}; what "
            "was fetched is removed: run again, and if that does not help the release has changed"
        )
    with _disk(path.parent):
        part.replace(path)
    log.info("fetched %s in %.0f s", path, time.monotonic() - start)


def _fetch(url: str, path: Path, sha1: str) -> None:
    start, archive = time.monotonic(), path.with_name(f"{path.name}.zip.part")
    _download(url, archive, path)
    unpacked = path.with_name(f"{path.name}.part")
    try:
        digest = _unpack(archive, path.name, unpacked, url)
        if digest != sha1:
            raise BenchError(
                f"{path.name} from {url} has SHA-1 {digest}, expected {sha1}; what was fetched is "
                "removed: run again, and if that does not help the release has changed"
            )
        with _disk(path.parent):
            unpacked.replace(path)
    finally:
        archive.unlink(missing_ok=True)
        unpacked.unlink(missing_ok=True)
    log.info("fetched %s in %.0f s", path, time.monotonic() - start)


def _download(url: str, archive: Path, path: Path) -> None:
    """Make `archive` whole; what there is of it already is kept, and the rest asked for."""
    reason = ""
    for attempt in range(ATTEMPTS):
        time.sleep(PAUSE_SECONDS * attempt)
        try:
            return _continue(url, archive)
        except HTTPError as error:
            reason = f"the server answered {error.code} {error.reason}"
            if error.code < 500:
                break
        except (OSError, HTTPException) as error:  # no network, a timeout, a lost connection
            reason = str(getattr(error, "reason", error)) or type(error).__name__
        log.debug("attempt %d at %s: %s", attempt + 1, url, reason)
    raise BenchError(
        f"cannot fetch {url}: {reason}; check the network and run again to go on, or put "
        f"{path.name} into {path.parent} (set {FOLDER_VARIABLE} to use another folder)"
    )


def _continue(url: str, archive: Path) -> None:
    """Append what `archive` lacks. Raises OSError or HTTPException when the connection fails."""
    have = archive.stat().st_size if archive.exists() else 0
    request = Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response: HTTPResponse = urlopen(request, timeout=TIMEOUT_SECONDS)
    except HTTPError as error:
        if error.code != 416:  # 416: there is nothing from `have` on
            raise
        if error.headers.get("Content-Range") == f"bytes */{have}":
            return
        archive.unlink()
        raise ConnectionError("what was fetched before is no part of the file") from error
    with response:
        where, _, size = response.headers.get("Content-Range", "").partition("/")
        resumed = response.status == 206 and where.startswith(f"bytes {have}-")
        if not resumed:  # the whole file, from a server that knows no ranges
            have, size = 0, response.headers.get("Content-Length", "")
        total = int(size) if size.isdigit() else None
        megabytes = f"{total / 1e6:.1f} MB" if total else "of unknown size"
        log.info("fetching %s, %s%s", url, megabytes, f", from byte {have}" if have else "")
        with _disk(archive.parent):
            file = archive.open("ab" if resumed else "wb")
        with file:
            while chunk := response.read(CHUNK_BYTES):
                with _disk(archive.parent):
                    file.write(chunk)
                    file.flush()
                have += len(chunk)
    if total is not None and have != total:
        raise ConnectionError(f"the connection ended after {have} of {total} bytes")


def _unpack(archive: Path, name: str, target: Path, url: str) -> str:
    """Write the only member of `archive`, called `name`, to `target`; return its SHA-1."""
    digest = hashlib.sha1()
    try:
        with zipfile.ZipFile(archive) as packed:
            names = packed.namelist()
            if names != [name]:
                raise BenchError(f"{url} holds {names[:3]}, not {name!r} alone; nothing is kept")
            with packed.open(name) as member, _disk(target.parent), target.open("wb") as file:
                while chunk := member.read(CHUNK_BYTES):
                    digest.update(chunk)
                    file.write(chunk)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
        raise BenchError(
            f"{url} is no readable zip: {error}; what was fetched is removed, run again"
        ) from error
    return digest.hexdigest()


@contextmanager
def _turn(path: Path) -> Iterator[None]:
    lock = FileLock(path.with_name(f"{path.name}.lock"))
    with _disk(path.parent):
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("another process fetches %s, waiting for it", path.name)
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _disk(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BenchError(
            f"cannot write to {folder}: {error.strerror or error}; make room there, or set "
            f"{FOLDER_VARIABLE} to another folder"
        ) from error
