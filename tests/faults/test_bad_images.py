"""An image that cannot be decoded ends the cell, or is left out, named and counted."""

import errno
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.cells.result import Result
from bench.cells.store import Store
from bench.config.schema import Config
from bench.data import ImageCache, decode, decoding, scan
from models.errors import BenchError
from tests.bench.cells_of import plan, request_id, run_cell
from tests.bench.conftest import Finished
from tests.bench.data.images import preprocessing, write_image, write_tree

pytestmark = pytest.mark.faults

Make = Callable[..., Config]
BAD = ("b/001.png", "b/003.png")


def tree(root: Path) -> Path:
    """Ten classes; the network has as many outputs."""
    counts = {f"{side}/{name}": 4 for side in ("train", "test") for name in "abcdefghij"}
    return write_tree(root, counts)


def spoil(root: Path, side: str = "test") -> None:
    """Cut one image of class b off, and make another one text of the same length."""
    one, other = (root / side / name for name in BAD)
    one.write_bytes(one.read_bytes()[:60].ljust(one.stat().st_size, b"\0"))
    other.write_bytes(b"not an image".ljust(other.stat().st_size))


def configured(make: Make, root: Path, **changes: object) -> Config:
    data = {"name": "folder", "root": str(root), "label": "toy", "limit": None, "subset": None}
    data |= {"skip_bad": changes.pop("skip_bad", False)}
    return make({"data": data, "gate": "warn"} | changes)


def run(config: Config) -> Result:
    """Run a cell as a command of its own."""
    result = run_cell(config).result
    assert result is not None
    return result


def test_ids_are_the_same_whether_bad_images_may_be_left_out_or_not(
    make_fast: Make, tmp_path: Path
) -> None:
    root = tree(tmp_path / "toy")
    asked = [configured(make_fast, root, skip_bad=skip) for skip in (False, True)]
    assert len({plan(config).id for config in asked}) == 1
    assert len({request_id(config) for config in asked}) == 1
    first, second = run(asked[0]), run_cell(asked[1])
    assert second.kind == "found", "the number is one of all images"
    assert (first.total, first.left_out) == (40, 0)
    assert "left_out" not in first.recipe.as_dict()["evaluation"]


def test_a_bad_image_ends_the_cell_and_is_named(make_fast: Make, tmp_path: Path) -> None:
    root = tree(tmp_path / "toy")
    spoil(root)
    result = run(configured(make_fast, root))
    assert result.status == "failed"
    assert result.reason is not None
    assert f"cannot decode image '{BAD[0]}' of the eval side of 'toy': " in result.reason
    assert result.reason.endswith("or leave such images out with data.skip_bad=true")


def test_bad_images_are_left_out_named_and_counted(
    make_fast: Make, tmp_path: Path, outputs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tree(tmp_path / "toy")
    spoil(root)
    strict, lenient = (configured(make_fast, root, skip_bad=skip) for skip in (False, True))
    assert run(strict).status == "failed"
    with caplog.at_level("WARNING", "bench"):
        result = run(lenient)
    assert [m for m in caplog.messages if "cannot be decoded" in m] == [
        "warning: 2 of the 40 images of the eval side of 'toy' cannot be decoded and are left out: "
        "b/001.png, b/003.png"
    ]
    assert (result.status, result.total, result.left_out) == ("done", 38, 2)
    assert result.classes == 10
    evaluation = result.recipe.evaluation
    assert (evaluation.images, evaluation.left_out) == (38, list(BAD))
    assert evaluation.fingerprint != scan(lenient.data, "eval").fingerprint
    store = Store(outputs)
    right = store.items(result.id).top1
    assert len(right) == 38

    assert run_cell(lenient).kind == "found"
    # A number without some of the images is none for who has not asked for that.
    refused = run(strict)
    assert refused.status == "failed"
    assert refused.reason is not None and BAD[0] in refused.reason
    assert store.find(result.id).total == 38, "and it is kept"


def test_bitmaps_of_two_cells_stay_aligned(make_fast: Make, tmp_path: Path, outputs: Path) -> None:
    """With and without bad images each image has its own place, as the listing says."""
    root = tree(tmp_path / "toy")
    config = {"name": "folder", "root": str(root), "skip_bad": True}
    whole = decode(scan(config, "eval"), config, preprocessing(), ImageCache(tmp_path / "one"))
    spoil(root)
    rest = decode(scan(config, "eval"), config, preprocessing(), ImageCache(tmp_path / "two"))
    assert rest.listing.left_out == BAD
    places = [whole.listing.files.index(name) for name in rest.listing.files]
    np.testing.assert_array_equal(rest.pixels(slice(None)), whole.pixels(np.array(places)))
    np.testing.assert_array_equal(rest.labels, whole.labels[places])
    assert len(rest) == 38
    again = decode(scan(config, "eval"), config, preprocessing(), ImageCache(tmp_path / "two"))
    assert again.listing.files == rest.listing.files

    cells = [
        run(configured(make_fast, root, skip_bad=True, **{"quant.w_bits": bits})) for bits in (8, 2)
    ]
    fingerprints = {cell.recipe.evaluation.fingerprint for cell in cells}
    assert len(fingerprints) == 1
    bitmaps = [Store(outputs).items(cell.id).top1 for cell in cells]
    assert [len(bitmap) for bitmap in bitmaps] == [38, 38]


def test_cells_with_and_without_an_image_are_not_compared(
    bench_main: Callable[..., Finished], make_fast: Make, tmp_path: Path, outputs: Path
) -> None:
    root = tree(tmp_path / "toy")
    first = run(configured(make_fast, root))
    spoil(root)  # of the same size: only the times tell, and these are not part of an id
    second = run(configured(make_fast, root, skip_bad=True, seed=1))
    done = bench_main("compare", first.id, second.id, f"paths.outputs={outputs}")
    assert done.status == 2
    assert "were measured on different images" in done.err


def test_bad_training_images_are_no_calibration_images(make_fast: Make, tmp_path: Path) -> None:
    root = tree(tmp_path / "toy")
    spoil(root, "train")
    real = {"method": {"name": "real", "images": 38}}
    strict = run(configured(make_fast, root, **real))
    assert strict.status == "failed"
    result = run(configured(make_fast, root, skip_bad=True, **real))
    assert (result.status, result.total, result.left_out) == ("done", 40, 0)
    calibration = result.recipe.calibration
    assert calibration.left_out == list(BAD)
    assert calibration.set == "toy, training side, 38 images"
    assert sorted(calibration.indices or ()) == list(range(38))
    assert run_cell(configured(make_fast, root, **real)).kind == "measured"


def test_the_table_says_so(
    bench_main: Callable[..., Finished], tmp_path: Path, outputs: Path
) -> None:
    root = tree(tmp_path / "toy")
    spoil(root)
    words = ("data=folder", f"data.root={root}", "data.skip_bad=true", "gate=warn", "tracking=none")
    words += ("method=gaussian", "quant.w_bits=8", "seed=0", f"paths.outputs={outputs}")
    assert bench_main("run", "experiment=demo", *words).status == 0
    done = bench_main("table", "demo", *words[:4], *words[5:])
    assert "toy: 2 images cannot be decoded and are left out" in done.out, done


def test_a_disk_that_does_not_answer_is_no_bad_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tree(tmp_path / "toy")
    config = {"name": "folder", "root": str(root), "skip_bad": True}

    def unreachable(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("PIL.Image.open", unreachable)
    with pytest.raises(BenchError, match=r"cannot decode image 'a/000\.png'.*Input/output error"):
        decode(scan(config, "eval"), config, preprocessing(), ImageCache(tmp_path / "cache"))


def test_nothing_but_bad_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "CHUNK", 3)
    root = tmp_path / "toy"
    for side in ("train", "test"):
        for name in ("a/1.png", "a/2.png", "a/3.png", "b/1.png"):
            write_image(root / side / name)
            (root / side / name).write_text("text")
    config = {"name": "folder", "root": str(root), "skip_bad": True}
    with pytest.raises(BenchError, match="none of the 4 images of the eval side of 'toy' can be"):
        decode(scan(config, "eval"), config, preprocessing(), ImageCache(tmp_path / "cache"))
    assert [p for p in (tmp_path / "cache" / "data").iterdir() if p.suffix != ".lock"] == []
