from pathlib import Path

import numpy as np
import pytest

from bench.peers.rows import check_conditions, packed, read, text, with_row
from models.errors import BenchError
from tests.bench.peers.examples import CONDITIONS, failed, row

ROWS = [row("ours", "nearest", 2), failed("other", "PTQ", 'it has "8, 16" only')]


def test_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(text(ROWS))
    assert read(path) == ROWS
    assert read(tmp_path / "none.csv") == []


def test_images_are_a_bit_each() -> None:
    right = np.array([True, False, False, False, True, False, True, True, True])
    assert packed(right) == "8b80"
    bitmap = row("ours", "nearest", 3).bitmap
    assert bitmap is not None
    assert bitmap.tolist() == [False] * 3 + [True] * 17
    assert ROWS[1].bitmap is None


@pytest.mark.parametrize("content", ["mine\n1\n", "network,images\nx,many\n"])
def test_another_file_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(content)
    with pytest.raises(BenchError, match=r"is not a table of bench peers .*; move it away"):
        read(path)


def test_rows_of_other_images_are_refused(tmp_path: Path) -> None:
    check_conditions(ROWS, CONDITIONS, tmp_path)
    other = CONDITIONS.model_copy(update={"calibration_images": 16})
    with pytest.raises(BenchError, match=r"measured at calibration_images=4, and .*=16 is asked"):
        check_conditions(ROWS, other, tmp_path)


def test_a_row_takes_the_place_of_the_one_of_its_job() -> None:
    again = row("other", "PTQ", 5)
    assert with_row(ROWS, again) == [ROWS[0], again]
    more = row("other", "PTQ", 5, w_bits=8)
    assert with_row(ROWS, more) == [*ROWS, more]
