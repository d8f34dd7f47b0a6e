"""Tables of latencies: both files, what is between two entries, and what they lack."""

from pathlib import Path

import numpy as np
import pytest

from models.errors import BenchError
from models.quantize.latency import read_latency_table

CSV = "layer,w_bits,a_bits,ms\nstem,2,8,1.0\nstem,3,8,2.5\nhead,2,8,0.25\n"


def test_a_csv_has_layers_by_name(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(CSV)
    table = read_latency_table(path).named(["stem", "head"])
    assert table.ms("stem", 3, 8) == 2.5
    assert table.ms("stem", 2.5, 8) == pytest.approx(1.75)  # half the channels at each
    assert table.ms("head", 0, 8) == 0  # pruned
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
    with pytest.raises(BenchError, match=r"lacks the layer 'tail', the 3th of 3: it has 2$"):
        read_latency_table(path).named(["stem", "head", "tail"])


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("absent.csv", None, "No such file or directory; give a CSV file"),
        ("other.csv", "layer,ms\n", "its first line is 'layer,ms'; give"),
        ("words.csv", "layer,w_bits,a_bits,ms\nstem,two,8,1\n", "invalid literal for int()"),
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
