"""A damaged cache file of any kind is found, named in one line and made again: no cell fails."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest

from bench.cells.store import Store
from bench.config.compose import compose
from bench.config.schema import Config, read_config
from bench.data import scan
from tests.bench.cells_of import run_cell
from tests.bench.conftest import Finished, records
from tests.bench.training.test_cache import SMALL
from tests.faults.damage import EVERY, Damage, flip

pytestmark = pytest.mark.faults

Make = Callable[..., Config]
ZEROQ = {"name": "zeroq", "images": 4, "iterations": 2}
MIXED = {"w_bits": "mixed", "a_bits": 8, "w_candidates": [2, 8], "mean_bits": 4}


def measured(config: Config) -> tuple[int | None, bytes]:
    """The number of a cell, and its bitmap."""
    result = run_cell(config.model_copy(update={"force": True})).result
    assert result is not None
    assert result.status == "done", result.reason
    bitmap = Store(config.paths.outputs).folder(result.id) / "correct.npz"
    return result.correct, bitmap.read_bytes()


def heals(
    config: Config,
    pattern: str,
    caplog: pytest.LogCaptureFixture,
    damages: Sequence[Damage] = EVERY,
) -> list[str]:
    """Damage a file of a cache in each way, measure each time; return a warning for each."""
    before = measured(config)
    file = only(config.paths.outputs / "cache", pattern)
    whole, lines = file.read_bytes(), []
    for damage in damages:
        damage(file)
        assert file.read_bytes() != whole
        caplog.clear()
        assert measured(config) == before
        assert file.read_bytes() == whole, "the same was made again"
        (line,) = caplog.messages
        assert line.startswith("warning: ")
        assert "\n" not in line
        lines.append(line)
    caplog.clear()
    assert measured(config) == before
    assert caplog.messages == [], "it is whole again"
    return lines


def only(folder: Path, pattern: str) -> Path:
    (path,) = folder.glob(pattern)
    return path


@pytest.mark.parametrize("name", ["images.npy", "checksums.npy", "about.json"])
def test_decoded_images(
    make_fast: Make, outputs: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = make_fast({"data.limit": 60, "quant.w_bits": 32, "quant.a_bits": 32})
    for line in heals(config, f"data/*/{name}", caplog):
        assert "decoded" in line and str(outputs / "cache" / "data") in line


def test_a_bit_of_a_decoded_image_wherever_it_is(
    make_fast: Make, outputs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    places = (0.01, 0.5, 0.9999)
    damages = [partial(flip, place=place) for place in places]
    lines = heals(make_fast({"data.limit": 60}), "data/*/images.npy", caplog, damages)
    names = scan({"name": "mnist5k", "limit": 60}, "eval").files
    folder = only(outputs / "cache" / "data", "*/images.npy").parent
    # 128 bytes of header, then 60 images of 3,072: these places are in images 0, 29 and 59.
    assert lines == [
        f"warning: decoded image {names[index]!r} in {folder} is damaged; decoded and measured "
        "again"
        for index in (0, 29, 59)
    ]


def test_decoded_images_of_a_repetition_and_of_a_training(
    bench_main: Callable[..., Finished], outputs: Path
) -> None:
    place, limits = f"paths.outputs={outputs}", ("data.limit=60", "data.subset=200")
    training = ("train", "train.epochs=1", *limits, place)
    first = bench_main(*training)
    assert first.status == 0
    line = ("quant=fp32", "data.limit=60", "data.subset=200", "tracking=none", place)
    assert bench_main("run", *line).status == 0
    (id,) = records(outputs)
    for again, sets in ((training, 2), (("rerun", id), 1)):
        for file in (outputs / "cache" / "data").glob("*/images.npy"):
            flip(file, place=0.5)
        done = bench_main(*again, place)
        assert done.status == 0
        assert done.out.count("is damaged; decoded and measured again") == sets
        if again[0] == "train":  # all but the seconds
            assert [x for x in done.out.splitlines() if x.startswith(("top-1", "sha256"))] == [
                x for x in first.out.splitlines() if x.startswith(("top-1", "sha256"))
            ]


@pytest.mark.parametrize("name", ["images.safetensors", "curve.json", "checksums.json"])
def test_distilled_images(
    make_fast: Make, outputs: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = make_fast({"data.limit": 20, "method": ZEROQ})
    lines = heals(config, f"calibration/*/{name}", caplog)
    folder = only(outputs / "cache" / "calibration", "*")
    assert set(lines) == {f"warning: the calibration images in {folder} are damaged; made again"}


def test_sensitivities(make_fast: Make, outputs: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = make_fast({"data.limit": 20, "quant": MIXED, "method.images": 1})
    lines = heals(config, "sensitivity/*.json", caplog)
    file = only(outputs / "cache" / "sensitivity", "*.json")
    assert set(lines) == {f"warning: the sensitivities in {file} are damaged; measured again"}


@pytest.mark.parametrize("name", ["trained.safetensors", "history.json"])
def test_trained_networks(outputs: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    short = (*SMALL, "method.schedule.epochs=1", "data.subset=20", "data.limit=20")
    line = (*short, "method=individual", "quant=w4a4", f"paths.outputs={outputs}")
    lines = heals(read_config(compose(line)), f"training/*/{name}", caplog)
    folder = only(outputs / "cache" / "training", "*")
    assert set(lines) == {f"warning: the trained network in {folder} is damaged; trained again"}


def test_caches_of_an_earlier_version_are_used(
    make_fast: Make, outputs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What is dear to make is believed without a checksum; decoded images are decoded again."""
    config = make_fast({"data.limit": 20, "method": ZEROQ})
    before = measured(config)
    (only(outputs / "cache" / "calibration", "*/checksums.json")).unlink()
    made = only(outputs / "cache" / "calibration", "*/images.safetensors").stat().st_mtime_ns
    caplog.clear()
    assert measured(config) == before
    assert caplog.messages == []
    assert only(outputs / "cache" / "calibration", "*/*.safetensors").stat().st_mtime_ns == made
    data = only(outputs / "cache" / "data", "*/checksums.npy")
    data.unlink()
    assert measured(config) == before
    assert caplog.messages == [
        f"warning: {data.parent} is damaged, or has no checksums; decoded again"
    ]
    assert data.exists()
