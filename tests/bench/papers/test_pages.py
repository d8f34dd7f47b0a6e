"""Pages with tables made of kept results, and `bench docs`."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.papers.pages import Shown, fill, table_from_files, tables_in
from models.errors import BenchError
from tests.bench.conftest import Finished

Bench = Callable[..., Finished]
KEPT = Path(__file__).parents[3] / "docs" / "results"
PAGE = """Before.

<!-- one -->
old
<!-- /one -->

Between: <!-- a remark -->

<!-- two top1,size_mb -->
<!-- /two -->
After.
"""


def test_fill_replaces_tables_and_leaves_prose() -> None:
    assert tables_in(PAGE) == [Shown("one", ("top1",)), Shown("two", ("top1", "size_mb"))]
    filled = fill(PAGE, lambda table: f"| {table.name} |\n")
    assert filled == PAGE.replace("old\n", "| one |\n").replace(
        "size_mb -->\n", "size_mb -->\n| two |\n"
    )
    assert fill(filled, lambda table: f"| {table.name} |\n") == filled
    assert fill("no table", lambda table: table.name) == "no table"


@pytest.mark.parametrize("name", ["demo", "mixed_precision_resnet20"])
def test_a_kept_table_is_made_of_its_cells(tmp_path: Path, name: str) -> None:
    for ending in ("csv", "md"):
        shutil.copy(KEPT / f"{name}.{ending}", tmp_path)
    text = (KEPT / f"{name}.md").read_text()
    assert table_from_files(tmp_path, name) == text
    notes = [line for line in text.splitlines() if line.startswith("- ")]
    (tmp_path / f"{name}.md").write_text("a table of other cells\n" + "\n".join(notes))
    assert table_from_files(tmp_path, name) == text


def test_a_number_that_changes_changes_the_table(tmp_path: Path) -> None:
    lines = (KEPT / "demo.csv").read_text().splitlines()
    places = {name: place for place, name in enumerate(lines[0].split(","))}
    first = lines[1].split(",")
    assert first[places["method"]] == "gaussian"
    first[places["top1"]] = str(float(first[places["top1"]]) - 3)
    (tmp_path / "demo.csv").write_text("\n".join([lines[0], ",".join(first), *lines[2:]]) + "\n")
    shutil.copy(KEPT / "demo.md", tmp_path)
    before, after = (KEPT / "demo.md").read_text(), table_from_files(tmp_path, "demo")
    changed = [a for a, b in zip(after.splitlines(), before.splitlines(), strict=True) if a != b]
    # Seeds 0, 1 and 2 had 99.10 each: 3 less in one of them is 1 less, and spreads by 3 / sqrt 3.
    assert len(changed) == 1
    assert "98.10 ± 1.73" in changed[0]


def test_what_is_missing_or_no_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"table 'demo' is shown and .*demo\.csv is missing"):
        table_from_files(tmp_path, "demo")
    shutil.copy(KEPT / "demo.md", tmp_path)
    (tmp_path / "demo.csv").write_text("a,b\n1,2\n")
    with pytest.raises(BenchError, match=r"demo\.csv is not the CSV file of a table"):
        table_from_files(tmp_path, "demo")


def test_docs_writes_what_is_stale_and_check_only_names_it(
    bench_main: Bench, workplace: Path
) -> None:
    results = workplace / "docs" / "results"
    results.mkdir(parents=True)
    for ending in ("csv", "md"):
        shutil.copy(KEPT / f"demo.{ending}", results)
    page = "read me\n\n<!-- demo -->\nstale\n<!-- /demo -->\n"
    (workplace / "README.md").write_text(page)
    (workplace / "docs" / "results.md").write_text("nothing yet\n")
    assert bench_main("docs", "--check") == Finished(
        1, "README.md is stale; `bench docs` writes it\n", ""
    )
    assert (workplace / "README.md").read_text() == page
    assert bench_main("docs") == Finished(0, "wrote README.md\n", "")
    assert (workplace / "README.md").read_text() == page.replace(
        "stale\n", (KEPT / "demo.md").read_text()
    )
    assert bench_main("docs", "--check") == Finished(0, "1 tables are those of docs/results\n", "")


def test_docs_is_for_a_checkout(bench_main: Bench) -> None:
    done = bench_main("docs")
    assert done.status == 2
    assert done.err == (
        "error: there is no docs/results here; `bench docs` is for a checkout of the code\n"
    )


@pytest.mark.parametrize("file", sorted(KEPT.glob("*.csv")), ids=lambda file: file.stem)
def test_commands_of_kept_cells_name_no_folder_of_a_machine(file: Path) -> None:
    assert "paths.outputs=" not in file.read_text("utf-8")
    assert "=/" not in file.read_text("utf-8")
