"""Tables of latencies: both files, what is between two entries, and what they lack."""

from pathlib import Path

import numpy as np
import pytest

from models.errors import BenchError
from models.quantize.latency import LatencyTable, read_latency_table

CSV = "layer,w_bits,a_bits,ms\nstem,2,8,1.0\nstem,3,8,2.5\nhead,2,8,0.25\n"


def test_a_csv_has_layers_by_name(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(CSV)
    table = read_latency_table(path).named(["stem", "head"])
    assert table.ms("stem", 3, 8) == 2.5
    assert table.ms("stem", 2.5, 8) == pytest.approx(1.75)  # half the channels at each
    gap = LatencyTable("here", {"stem": {(8, 8): 1.0, (32, 8): 4.0}})
    assert gap.ms("stem", 20.0, 8) == 2.5  # a mean over channels, halfway
    with pytest.raises(BenchError, match="lacks the layer 'stem' at 20 bits of the weight and 8"):
        gap.ms("stem", 20, 8)
    assert table.ms("stem", 1.5, 8) == pytest.approx(0.75)  # a quarter of them pruned
    assert table.ms("head", 0, 8) == 0  # pruned
    for bits in (2.5, 1):
        with pytest.raises(
            BenchError, match=f"lacks the layer 'head' at {bits} bits of the weight"
        ):
            table.ms("head", bits, 8)
    with pytest.raises(BenchError) as caught:
        table.ms("head", 3, 8)
    assert str(caught.value) == (
        f"quant.latency_table={path} lacks the layer 'head' at 3 bits of the weight and 8 of the "
        "input"
    )
    with pytest.raises(BenchError, match=r"table.csv lacks the layer 'body'$"):
        read_latency_table(path).named(["stem", "body"])


def test_haqs_array_has_layers_in_the_order_of_calls(tmp_path: Path) -> None:
    path = tmp_path / "table.npy"
    np.save(path, np.arange(2 * 8 * 8).reshape(2, 8, 8))
    table = read_latency_table(path).named(["stem", "head"])
    assert table.ms("head", 3, 5) == 64 + 2 * 8 + 4
    with pytest.raises(BenchError, match=r"lacks the layer 'tail', number 3 of 3: it has 2$"):
        read_latency_table(path).named(["stem", "head", "tail"])


def test_what_was_not_measured_is_lacking(tmp_path: Path) -> None:
    path, values = tmp_path / "table.npy", np.full((1, 8, 8), np.nan)
    values[0, 7, 7] = 1.5
    np.save(path, values)
    table = read_latency_table(path).named(["stem"])
    assert table.ms("stem", 8, 8) == 1.5
    with pytest.raises(BenchError, match="lacks the layer 'stem' at 4 bits of the weight and 8"):
        table.ms("stem", 4, 8)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("absent.csv", None, "No such file or directory; give a CSV file"),
        ("other.csv", "layer,ms\n", "its first line is 'layer,ms'; give"),
        ("words.csv", "layer,w_bits,a_bits,ms\nstem,two,8,1\n", "invalid literal for int()"),
        (
            "nan.csv",
            "layer,w_bits,a_bits,ms\nstem,2,8,nan\n",
            "layer 'stem' has nan ms at 2 and 8 bi",
        ),
        (
            "less.csv",
            "layer,w_bits,a_bits,ms\nstem,2,8,-1\n",
            "layer 'stem' has -1 ms at 2 and 8 bi",
        ),
        ("less.npy", np.full((1, 8, 8), -2.0), "layer '1' has -2 ms at 1 and 1 bits; give a CSV"),
        ("short.csv", "layer,w_bits,a_bits,ms\nstem,2,8\n", "line 2 has not 4 values; give a CSV"),
        ("long.csv", "layer,w_bits,a_bits,ms\nstem,2,8,1,1\n", "line 2 has not 4 values; give a"),
        ("empty.npy", "", "No data left in file; give a CSV"),
        ("flat.npy", np.zeros((2, 8)), "an array of shape (2, 8), not (layers, w_bits, a_bits)"),
    ],
)
def test_a_file_that_is_no_table(
    tmp_path: Path, name: str, content: str | np.ndarray | None, said: str
) -> None:
    path = tmp_path / name
    if isinstance(content, str):
        path.write_text(content)
    elif content is not None:
        np.save(path, content)
    with pytest.raises(BenchError) as caught:
        read_latency_table(path)
    assert str(caught.value).startswith(f"quant.latency_table={path} cannot be read: {said}")
