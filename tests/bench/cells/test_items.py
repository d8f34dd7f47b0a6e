"""Bitmaps come back bit by bit, and only as the ones of their records."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.cells.items import read_items
from bench.cells.result import Result
from bench.cells.result_file import Damaged, write_result
from bench.cells.store import Store
from bench.tasks.classification import Classification, Correctness
from models.errors import BenchError

Make = Callable[..., Result]
A = "a" * 16


def kept(folder: Path, make_result: Make, top1: np.ndarray, top5: np.ndarray) -> Result:
    folder.mkdir(parents=True, exist_ok=True)
    Classification().save(folder, Correctness(top1, top5))
    counts = {"correct": int(top1.sum()), "correct_top5": int(top5.sum()), "total": len(top1)}
    return write_result(folder, make_result(A, **counts))


@pytest.mark.parametrize("total", [1, 7, 8, 9, 100, 1003])
def test_they_come_back_bit_by_bit(outputs: Path, make_result: Make, total: int) -> None:
    draws = np.random.default_rng(total).random((2, total))
    top1, top5 = draws[0] < 0.7, draws[1] < 0.9
    store = Store(outputs)
    kept(store.folder(A), make_result, top1, top5)
    found = store.items(A)
    for bits, wanted in zip(found[:2], (top1, top5), strict=True):
        assert bits.dtype == bool
        assert np.array_equal(bits, wanted)


def test_the_same_bits_have_the_same_checksum(tmp_path: Path, make_result: Make) -> None:
    one, other = (
        kept(tmp_path / name, make_result, np.ones(9, bool), np.ones(9, bool)) for name in "ab"
    )
    assert one.correct_sha256 == other.correct_sha256 is not None
    assert one.checksum == other.checksum


@pytest.mark.parametrize("damage", ["missing", "cut", "empty", "other", "swapped"])
@pytest.mark.parametrize("version", [1, 2])
def test_another_bitmap_is_one_clear_line(
    tmp_path: Path, make_result: Make, damage: str, version: int
) -> None:
    result = kept(tmp_path, make_result, np.ones(9, bool), np.ones(9, bool))
    if version == 1:  # nothing is known of the file
        result = result.model_copy(update={"correct_sha256": None})
    path = tmp_path / "correct.npz"
    if damage == "missing":
        path.unlink()
    elif damage == "other":
        np.savez(path, x=np.ones(3))
    elif damage == "swapped":
        Classification().save(tmp_path, Correctness(np.arange(9) > 1, np.ones(9, bool)))
    else:
        path.write_bytes(path.read_bytes()[: 100 if damage == "cut" else 0])
    with pytest.raises(Damaged) as error:
        read_items(tmp_path, result)
    text = str(error.value)
    assert "\n" not in text
    if damage == "missing":
        assert text.startswith(f"cannot read {path}: FileNotFoundError; ")
    elif version == 2:
        assert text.startswith(f"{path} was altered: it is not the one of its record; ")
    elif damage == "swapped":
        assert text.startswith(f"{path} has 7 (top-5: 9) of 9 images right and its record 9 (9) of")
    else:
        assert text.startswith(f"cannot read {path}: ")


def test_bits_that_agree_in_number_are_told_apart(tmp_path: Path, make_result: Make) -> None:
    result = kept(tmp_path, make_result, np.arange(9) > 1, np.ones(9, bool))
    Classification().save(tmp_path, Correctness(np.arange(9) < 7, np.ones(9, bool)))
    with pytest.raises(Damaged, match="was altered"):
        read_items(tmp_path, result)


def test_a_bitmap_without_a_record_means_nothing(outputs: Path) -> None:
    folder = Store(outputs).folder(A)
    folder.mkdir(parents=True)
    Classification().save(folder, Correctness(np.ones(9, bool), np.ones(9, bool)))
    with pytest.raises(BenchError, match=rf"^{folder} holds no result\.json"):
        Store(outputs).items(A)
