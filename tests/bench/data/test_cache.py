"""Decoded once, complete or absent, and never stale."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from bench.data import DamagedImages, ImageCache, cache, decode, decoding, discard, scan
from bench.data.pixels import pixels_of
from bench.files.caches import clean
from bench.files.entry import CacheEntry
from models.errors import BenchError
from models.preprocessing import Preprocessing
from tests.bench.data.images import preprocessing, write_image, write_tree

# Decodes argv[1] into argv[2]; waits for argv[3] to exist; kills itself after argv[4] images.
CHILD = """
import os, signal, sys, time
from pathlib import Path
from bench.data import ImageCache, decode, decoding, scan
from models.preprocessing import Preprocessing

root, cache_dir, go, kill_at = sys.argv[1:]
decoding.CHUNK = 4
config = {"name": "folder", "root": root, "label": None, "limit": None}
listing = scan(config, "eval")
def progress(done, total):
    time.sleep(0.02)
    if done == int(kill_at):
        os.kill(os.getpid(), signal.SIGKILL)
    print(done, total, flush=True)
print("ready", flush=True)
while not Path(go).exists():
    time.sleep(0.001)
ones = (1.0, 1.0, 1.0)
wanted = Preprocessing(8, 10, "bicubic", ones, ones)
images = decode(listing, config, wanted, ImageCache(Path(cache_dir)), progress, 2)
print("sum", images.images.sum())
"""


class Decoder:
    """Decodes the evaluation side of one tiny tree and counts what it decoded."""

    def __init__(self, root: Path, cache_dir: Path) -> None:
        self.config = {"name": "folder", "root": str(root), "label": None, "limit": None}
        self.root, self.cache_dir, self.decoded = root, cache_dir, 0

    def __call__(self, wanted: Preprocessing | None = None, workers: int = 2) -> cache.ImageSet:
        self.decoded = 0

        def count(done: int, total: int) -> None:
            self.decoded = done

        listing = scan(self.config, "eval")
        wanted = wanted or preprocessing()
        return decode(listing, self.config, wanted, ImageCache(self.cache_dir), count, workers)

    def entries(self) -> list[Path]:
        folder = self.cache_dir / "data"
        return sorted(path for path in folder.iterdir() if path.suffix != ".lock")


@pytest.fixture
def decoder(tmp_path: Path) -> Decoder:
    root = write_tree(tmp_path / "set", {"train/a": 1, "test/a": 5, "test/b": 6})
    return Decoder(root, tmp_path / "deep" / "cache")


def start(decoder: Decoder, go: Path, kill_at: int = 0) -> subprocess.Popen[str]:
    arguments = [str(decoder.root), str(decoder.cache_dir), str(go), str(kill_at)]
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, *arguments], stdout=subprocess.PIPE, text=True
    )


def test_images_are_the_decoded_files_in_listing_order(
    decoder: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "CHUNK", 4)
    images = decoder(workers=3)
    assert len(images) == 11
    assert images.labels.tolist() == [0] * 5 + [1] * 6
    assert (images.images.shape, images.images.dtype) == ((11, 3, 8, 8), np.uint8)
    for name, got in zip(images.listing.files, images.images, strict=True):
        expected = pixels_of(Image.open(decoder.root / "test" / name), preprocessing())
        np.testing.assert_array_equal(got.transpose(1, 2, 0), expected)


def test_images_are_mapped_read_only_and_channels_last(decoder: Decoder) -> None:
    images = decoder().images
    assert isinstance(images, np.memmap)
    assert images.strides == (192, 1, 24, 3)
    assert not images.flags.writeable


def test_a_second_call_decodes_nothing(decoder: Decoder) -> None:
    first = decoder().images
    assert decoder.decoded == 11
    second = decoder().images
    assert decoder.decoded == 0
    np.testing.assert_array_equal(first, second)
    assert len(decoder.entries()) == 1


def test_mean_and_std_do_not_matter_to_the_cache(decoder: Decoder) -> None:
    decoder()
    decoder(Preprocessing(8, 10, "bicubic", (0.5, 0.5, 0.5), (0.2, 0.2, 0.2)))
    assert decoder.decoded == 0


@pytest.mark.parametrize(
    "wanted",
    [preprocessing(size=7), preprocessing(resize=11), preprocessing(interpolation="bilinear")],
)
def test_another_size_resize_or_interpolation_is_another_entry(
    decoder: Decoder, wanted: Preprocessing
) -> None:
    decoder()
    decoder(wanted)
    assert decoder.decoded == 11
    assert len(decoder.entries()) == 2


def test_a_changed_file_is_decoded_again(decoder: Decoder) -> None:
    before = decoder().images
    path = decoder.root / "test/b/005.png"
    size, stat = path.stat().st_size, path.stat()
    write_image(path, seed=99)
    assert path.stat().st_size == size, "the point is that only the time tells"
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    after = decoder().images
    assert decoder.decoded == 11
    np.testing.assert_array_equal(before[:10], after[:10])
    assert (before[10] != after[10]).any()


def test_another_pillow_decodes_again(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder()
    monkeypatch.setattr("PIL.__version__", "0.0.0")
    decoder()
    assert decoder.decoded == 11


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "gone"])
def test_a_damaged_image_is_named_in_one_line_and_nothing_is_left(
    decoder: Decoder, damage: str
) -> None:
    path = decoder.root / "test/b/003.jpg"
    write_image(path, 64, 64)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:1500])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "text":
        path.write_text("<html>not found</html>")
    listing = scan(decoder.config, "eval")
    if damage == "gone":
        path.unlink()
    with pytest.raises(BenchError, match=r"cannot decode image 'b/003\.jpg' of the eval") as caught:
        decode(listing, decoder.config, preprocessing(), ImageCache(decoder.cache_dir), workers=2)
    assert "\n" not in str(caught.value)
    assert decoder.entries() == []


def test_an_interrupted_decode_leaves_nothing(decoder: Decoder) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    listing = scan(decoder.config, "eval")
    with pytest.raises(KeyboardInterrupt):
        decode(listing, decoder.config, preprocessing(), ImageCache(decoder.cache_dir), interrupt)
    assert decoder.entries() == []


def test_a_killed_decode_leaves_nothing_half_and_is_cleaned_up(
    decoder: Decoder, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    go.touch()
    child = start(decoder, go, kill_at=8)
    child.communicate(timeout=60)
    assert child.returncode == -signal.SIGKILL
    (left,) = decoder.entries()
    assert left.name.endswith(".partial")
    # Another entry's decode cleans up too: the dead one's key may never come again.
    decoder(preprocessing(size=7))
    assert left not in decoder.entries()
    left.mkdir()
    images = decoder()
    assert decoder.decoded == 11
    assert images.images.shape == (11, 3, 8, 8)
    assert not any(path.name.endswith(".partial") for path in decoder.entries())


def test_the_partial_folder_of_a_live_process_is_left_alone(decoder: Decoder) -> None:
    live = decoder.cache_dir / "data" / f"{'0123' * 16}.partial"
    live.mkdir(parents=True)
    with FileLock(live.with_suffix(".lock")):
        decoder()
    assert live.is_dir()


def test_two_processes_decode_once(decoder: Decoder, tmp_path: Path) -> None:
    go = tmp_path / "go"
    children = [start(decoder, go) for _ in range(2)]
    for child in children:
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
    go.touch()
    outputs = [child.communicate(timeout=60)[0].splitlines() for child in children]
    assert [child.returncode for child in children] == [0, 0]
    assert sorted(map(len, outputs)) == [1, 4]
    assert max(outputs, key=len)[:3] == ["4 11", "8 11", "11 11"]
    assert outputs[0][-1] == outputs[1][-1] == f"sum {decoder().images.sum()}"
    assert decoder.decoded == 0
    assert len(decoder.entries()) == 1


@pytest.mark.parametrize("name", ["images.npy", "checksums.npy", "about.json"])
def test_a_damaged_entry_is_decoded_again(
    decoder: Decoder, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = np.array(decoder().pixels(slice(None)))
    (entry,) = decoder.entries()
    content = (entry / name).read_bytes()
    for damaged in (content[:-1], b"", b"x" * 200, None):
        caplog.clear()
        if damaged is None:
            (entry / name).unlink()
        else:
            (entry / name).write_bytes(damaged)
        np.testing.assert_array_equal(decoder().pixels(slice(None)), before)
        assert decoder.decoded == 11
        assert caplog.messages == [
            f"warning: {entry} is damaged, or has no checksums; decoded again"
        ]
        assert decoder.entries() == [entry]
        assert (entry / name).read_bytes() == content


def test_a_cache_that_cannot_be_written_is_named(decoder: Decoder) -> None:
    decoder.cache_dir.parent.write_text("a file where a folder should be")
    with pytest.raises(BenchError, match="cannot keep decoded images in"):
        decoder()


def test_an_entry_that_is_removed_while_it_is_opened(
    decoder: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`bench cache clean` may come between any two looks at an entry."""
    before = np.array(decoder().pixels(slice(None)))
    real = np.load

    def removed_first(path: Path, **how: object) -> np.ndarray:
        if path.name == name:
            monkeypatch.setattr(cache.np, "load", real)
            assert len(clean(decoder.cache_dir, 0, dry_run=False).removed) == 1
        return real(path, **how)  # type: ignore[call-overload,no-any-return]

    for name in ("images.npy", "checksums.npy"):
        monkeypatch.setattr(cache.np, "load", removed_first)
        if name == "checksums.npy":  # mapped by then, and so held where the system tells
            monkeypatch.setattr(CacheEntry, "is_mapped", lambda entry: False)
        images = decoder()
        assert decoder.decoded == 11
        np.testing.assert_array_equal(images.pixels(slice(None)), before)
        del images


def test_an_entry_that_has_been_decoded_again_is_not_discarded(decoder: Decoder) -> None:
    images = decoder()
    assert images.checks is not None
    error = DamagedImages("damaged", images.checks.entry, images.checks.identity)
    discard(error)
    assert decoder.entries() == []
    again = decoder()
    discard(error)
    assert len(decoder.entries()) == 1
    assert again.checks is not None and again.checks.identity != images.checks.identity
