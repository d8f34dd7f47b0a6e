"""A paper's table from made-up numbers and results to every format."""

from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest

from bench.papers.by_name import make_table
from bench.tables.render import render
from bench.tables.table import Table, TableSource
from models.errors import BenchError
from tests.bench.papers.examples import long_table, wide_table

GOLDEN = Path(__file__).parent / "golden"
FORMATS = ("text", "md", "csv", "latex", "html")


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("make", [long_table, wide_table])
def test_formats_are_as_recorded(make: Callable[[], Table], to: str) -> None:
    file = GOLDEN / f"{make.__name__.removesuffix('_table')}.{to}"
    assert render(make(), to) == file.read_text()


def test_a_line_a_number() -> None:
    table = long_table().texts
    assert list(table.columns[-5:]) == [
        "Top-1",
        "measured",
        "95 % interval",
        "difference",
        "verdict",
    ]
    assert list(table.iloc[2]) == [
        *("ZeroQ", "✓", "4", "4", "26.04"),
        *("24.40", "[23.41, 25.39]", "-1.64", "off by -1.64"),
    ]
    assert list(table.iloc[7][-4:]) == [
        "89.00 (1/3 seeds)",
        "[86.91, 90.79]",
        "+17.57",
        "not comparable [3]",
    ]


def test_a_column_a_bit_width() -> None:
    table = wide_table().texts
    assert list(table.columns) == ["Methods", "", "8-bit", "6-bit", "4-bit", "2-bit", "Δ_B"]
    assert list(table[""]) == [
        *("published", "measured", "difference", "verdict") * 2,
        *("published", "verdict"),  # what has no text has no line
    ]
    assert list(table["Methods"]) == ["Individual", "", "", "", "Joint", "", "", "", "Coquant", ""]
    assert list(table.iloc[0][2:]) == ["95.1", "95.4", "95.0", "94.1", "100.0"]
    assert table["Δ_B"][5] == "50.00 (1/3 seeds)"


def test_csv_has_a_line_a_number_and_keeps_integers() -> None:
    frame = pd.read_csv(StringIO(render(long_table(), "csv")))
    assert len(frame) == 8
    assert list(frame["w_bits"]) == [32, 4, 4, 4, 6, 8, 8, 8]
    assert frame["published"][2] == 26.04
    assert frame["measured_mean"][2] == pytest.approx(24.4)
    assert frame["command"][3].endswith("method=dsg quant=w4a4 seed=2")
    assert "\n8,\n" not in render(wide_table(), "csv")


def test_notes_say_what_a_reader_must_know() -> None:
    notes = "\n".join(long_table().notes)
    assert "[1] not fine-tuned here, there it is" in notes
    assert (
        "8 published numbers: 3 reproduced, 1 off, 2 not comparable, 1 failed, 1 not here" in notes
    )
    assert "ZeroQ W4A4: perhaps mixed precision_" in notes
    assert "no method here: RVQuant; docs/reproducing.md says why" in notes
    assert "1 more, only recalled from memory, are not shown" in notes
    assert notes.endswith(
        "bench run -m experiment=dsg_resnet18 runs what is not run; "
        "bench table dsg_resnet18 --missing prints the command of each"
    )
    assert "published: A paper, Table 1 (quoted by others)" in notes
    assert "not said of Individual, Joint: weight_quantizer" in "\n".join(wide_table().notes)


def test_missing_are_the_commands_of_shown_cells() -> None:
    run, zeroq = "bench run experiment=dsg_resnet18", "recipe=zeroq_release"
    assert long_table().missing == [
        f"{run} {zeroq} method=dsg quant=w4a4 seed=2",
        *(f"{run} recipe=dfq method=dfq quant=w8a8 seed={seed}" for seed in range(3)),
        *(f"{run} {zeroq} method=zeroq quant=w8a8 seed={seed}" for seed in (1, 2)),
    ]


def test_a_table_without_any_result_has_only_its_title_above() -> None:
    made = make_table("dsg_resnet18", TableSource([]))
    assert made.heading == ["DSG (CVPR 2021): comparison on ImageNet, ResNet-18"]
    assert len(made.texts) == 15
    assert len(made.missing) == 1 + 39


def test_the_data_of_a_table_can_be_limited(tmp_path: Path) -> None:
    missing = make_table("dsg_resnet50", TableSource([], ["data.limit=100", "seed=0"])).missing
    assert len(missing) == 5
    assert all("data.limit=100" in command for command in missing)


def test_an_unknown_table() -> None:
    with pytest.raises(BenchError) as error:
        make_table("dsg_resnet8", TableSource([]))
    assert str(error.value) == "unknown table 'dsg_resnet8'; did you mean 'dsg_resnet18'?"


def test_markdown_escapes_what_would_end_a_cell() -> None:
    text = render(long_table(), "md")
    assert r"| Integer\|Only |" in text
    assert "DSG &lt;ours>" in text


def test_html_is_a_page_that_escapes_and_colours() -> None:
    text = render(long_table(), "html")
    assert text.startswith("<!doctype html>")
    assert "<title>A paper &amp; its 50 % table</title>" in text
    assert "<td>DSG &lt;ours&gt;</td>" in text
    assert '<td class="off">off by -1.64</td>' in text
    assert '<td class="not">not comparable [1]</td>' in text
