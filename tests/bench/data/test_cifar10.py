"""torchvision's files, checked before they are opened. The files here are tiny stand-ins."""

import hashlib
import pickle
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from torchvision.datasets import CIFAR10

from bench.data import ImageCache, decode, scan
from models.errors import BenchError
from tests.bench.data.images import preprocessing


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two files of 4 training images and one of 3 test images, known to torchvision by md5."""
    folder = tmp_path / "root" / "cifar-10-batches-py"
    folder.mkdir(parents=True)

    def write(name: str, content: dict[str, object]) -> list[str]:
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    def batch(labels: list[int], seed: int) -> dict[str, object]:
        shape = (len(labels), 3072)
        data = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
        return {"data": data, "labels": labels}

    train = [write("data_batch_1", batch([3, 1], 0)), write("data_batch_2", batch([0, 9], 1))]
    test = [write("test_batch", batch([8, 8, 2], 2))]
    name, md5 = write("batches.meta", {"label_names": [str(i) for i in range(10)]})
    monkeypatch.setattr(CIFAR10, "train_list", train)
    monkeypatch.setattr(CIFAR10, "test_list", test)
    monkeypatch.setattr(CIFAR10, "meta", {"filename": name, "key": "label_names", "md5": md5})
    return folder.parent


def config(root: Path | None, download: bool = False) -> dict[str, object]:
    path = None if root is None else str(root)
    return {"name": "cifar10", "root": path, "download": download, "limit": None}


def test_order_labels_and_pixels_are_those_of_the_files(root: Path, tmp_path: Path) -> None:
    train, test = scan(config(root), "train"), scan(config(root), "eval")
    assert train.labels.tolist() == [3, 1, 0, 9]
    assert test.labels.tolist() == [8, 8, 2]
    assert (test.name, test.classes, test.files[2]) == ("cifar10", 2, "cifar10/test/00002")
    images = decode(
        test, config(root), preprocessing(32, 32), ImageCache(tmp_path / "cache")
    ).images
    expected = np.random.default_rng(2).integers(0, 256, (3, 3072), dtype=np.uint8)
    np.testing.assert_array_equal(images, expected.reshape(3, 3, 32, 32))


def test_limit_decodes_the_images_it_lists(root: Path, tmp_path: Path) -> None:
    limited = {**config(root), "limit": 1}
    listing = scan(limited, "eval")
    whole = np.asarray(CIFAR10(root, train=False).data).transpose(0, 3, 1, 2)
    images = decode(listing, limited, preprocessing(32, 32), ImageCache(tmp_path / "cache")).images
    np.testing.assert_array_equal(images[0], whole[int(listing.files[0][-5:])])


def test_missing_files_are_named_with_both_ways_out(root: Path, tmp_path: Path) -> None:
    for wrong in (None, tmp_path):
        with pytest.raises(BenchError, match=r"set.*cifar-10-batches-py.*data\.download=true"):
            scan(config(wrong), "eval")


def test_an_altered_file_is_not_opened(root: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (pytest.fail, ("the pickle was opened",))

    (root / "cifar-10-batches-py" / "test_batch").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(BenchError, match=r"is altered or incomplete \(md5\)"):
        scan(config(root), "eval")


def test_a_failed_download_says_what_to_do(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: CIFAR10) -> None:
        raise OSError("no\nnetwork")

    monkeypatch.setattr(CIFAR10, "download", refuse)
    with pytest.raises(BenchError, match=r"cannot fetch CIFAR-10 into .*: no network; fetch http"):
        scan(config(tmp_path / "new", download=True), "eval")
    # What is there and intact is not fetched.
    assert len(scan(config(root, download=True), "eval")) == 3


class Archive(ThreadingHTTPServer):
    """Serves `body` for every path and counts how often it was asked for."""

    def __init__(self, body: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.body, self.asked = body, 0
        self.url = f"http://127.0.0.1:{self.server_address[1]}/archive.tar.gz"


class Handler(BaseHTTPRequestHandler):
    server: Archive

    def do_GET(self) -> None:
        self.server.asked += 1
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def archive(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    """A server that torchvision takes for the one that has CIFAR-10."""
    with tarfile.open(tmp_path / "made.tar.gz", "w:gz") as tar:
        tar.add(root / "cifar-10-batches-py", "cifar-10-batches-py")
    body = (tmp_path / "made.tar.gz").read_bytes()
    with Archive(body) as server:
        monkeypatch.setattr(CIFAR10, "url", server.url)
        monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(body).hexdigest())
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_what_is_missing_is_fetched_once_when_asked(
    root: Path, tmp_path: Path, archive: Archive
) -> None:
    new = tmp_path / "new" / "folder"
    with pytest.raises(BenchError, match=r"is not there; set .* data\.download=true to fetch it"):
        scan(config(new), "train")
    assert (archive.asked, new.exists()) == (0, False)
    fetched = scan(config(new, download=True), "train")
    asked = archive.asked
    assert asked > 0
    assert fetched.fingerprint == scan(config(root), "train").fingerprint
    images = decode(
        fetched, config(new), preprocessing(32, 32), ImageCache(tmp_path / "cache")
    ).images
    expected = np.asarray(CIFAR10(root, train=True).data).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(images, expected)
    scan(config(new, download=True), "eval")
    assert archive.asked == asked


def test_two_that_miss_the_files_fetch_them_once(tmp_path: Path, archive: Archive) -> None:
    scan(config(tmp_path / "alone", download=True), "eval")
    alone, archive.asked = archive.asked, 0
    new = config(tmp_path / "together", download=True)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda side: scan(new, side), ["train", "eval"] * 2))
    assert [len(listing) for listing in found] == [4, 3, 4, 3]
    assert archive.asked == alone


def test_a_wrong_archive_is_not_unpacked(tmp_path: Path, archive: Archive) -> None:
    archive.body += b"more"
    with pytest.raises(BenchError, match=r"cannot fetch CIFAR-10 into .*new': File not found or"):
        scan(config(tmp_path / "new", download=True), "eval")
    assert not (tmp_path / "new" / "cifar-10-batches-py").exists()


def test_an_archive_that_writes_elsewhere_is_not_unpacked(tmp_path: Path, archive: Archive) -> None:
    with tarfile.open(tmp_path / "hostile.tar.gz", "w:gz") as tar:
        tar.add(__file__, "../outside")
    archive.body = (tmp_path / "hostile.tar.gz").read_bytes()
    with pytest.raises(BenchError, match="cannot fetch CIFAR-10"):
        scan(config(tmp_path / "new", download=True), "eval")
    assert not (tmp_path / "outside").exists()


def test_subset_and_outputs(root: Path) -> None:
    whole = scan(config(root), "train")
    two = scan({**config(root), "subset": 2}, "train")
    assert (len(two), two.classes, two.outputs, whole.outputs) == (2, 2, 10, 10)
    assert set(two.files) < set(whole.files)
