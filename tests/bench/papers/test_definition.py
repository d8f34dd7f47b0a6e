"""Every shipped table: what it selects, and that its experiment runs exactly its cells."""

from pathlib import Path

import pytest

import bench.papers.definition
from bench.config.files import options
from bench.papers.cells import table_cells, table_requests
from bench.papers.comparison import NO_METHOD, compare_with_published, printable_numbers
from bench.papers.definition import load_definition, table_names
from bench.papers.published import load_published
from bench.tables.cell_rows import cell_rows
from methods.registry import METHODS
from models.errors import BenchError

ASKED = (
    *("zeroq_w8a8", "zeroq_mixed", "dsg_resnet18", "dsg_squeezenext", "dsg_inceptionv3"),
    *("dsg_resnet50", "dsg_ablation", "dsg_adaround", "dsg_calibrators"),
    *("coquant_cifar10_resnet18", "coquant_cifar10_mobilenetv2", "coquant_imagenet_resnet18"),
    *("coquant_minikinetics_resnet18", "surrogates_efficientnet_lite0", "adarounding"),
    "spread_resnet18_w4a4",
)
PUBLISHED = load_published()


def test_the_tables_of_the_papers_are_there() -> None:
    assert set(ASKED) <= set(table_names())
    # No accelerator has latencies.
    without = {"autoq"}
    assert set(table_names()) - set(options("experiment")) == without


@pytest.mark.parametrize("name", table_names())
def test_a_table_shows_numbers_and_its_experiment_runs_exactly_its_cells(name: str) -> None:
    definition = load_definition(name)
    numbers = printable_numbers(definition, PUBLISHED)
    assert numbers or not definition.select
    assert all(p.kind != "recalled" for p in numbers)
    cells = table_cells(cell_rows(table_requests(name, [], floats=False), []), [])
    compared = compare_with_published(definition, numbers, cells)
    if numbers:
        assert set(compared["cell"].dropna()) == set(cells["cell"])
    # A method that is here has a cell, where its network and data set are here too.
    without = compared[compared["verdict"] == "not here"]
    for p in without["published"]:
        # Of trainings that a table of others' runs prints nobody wrote the schedule down.
        trained_elsewhere = p.paper == "squant" and not p.recipe.get("no_finetuning", True)
        known = p.method in METHODS.builtin and p.method != "float" and not trained_elsewhere
        assert not (known and p.model in options("model") and p.data in options("data")), p.row


@pytest.mark.parametrize("name", table_names())
def test_what_a_definition_says_of_rows_is_of_rows(name: str) -> None:
    definition = load_definition(name)
    numbers = printable_numbers(definition, PUBLISHED)
    known = {p.row for p in numbers} | {p.method for p in numbers}
    assert definition.cells.keys() <= known
    assert definition.same.keys() <= {"weights", *(key for p in numbers for key in p.recipe)}


def test_the_docs_say_why_a_method_is_not_here() -> None:
    page = (Path(__file__).parents[3] / "docs" / "reproducing.md").read_text()
    why = page.partition("\n## Rows that are not here\n")[2].partition("\n## ")[0]
    for name in table_names():
        definition = load_definition(name)
        numbers = printable_numbers(definition, PUBLISHED)
        compared = compare_with_published(definition, numbers, table_cells(cell_rows([], []), []))
        for row in compared.to_dict("records"):
            if row["text"] == NO_METHOD:
                assert row["published"].row.split("+")[0] in why


def test_every_number_of_a_table_has_a_place_of_its_own() -> None:
    for name in table_names():
        definition = load_definition(name)
        if definition.across:
            fields = [field for field in definition.columns.values() if "." not in field]
            places = [
                (*(getattr(p, field) for field in fields), p.model, p.w_bits, p.a_bits, p.metric)
                for p in printable_numbers(definition, PUBLISHED)
            ]
            assert len(set(places)) == len(places), name


def test_an_unknown_table() -> None:
    with pytest.raises(BenchError) as error:
        load_definition("dsg_resnet81")
    assert str(error.value) == "unknown table 'dsg_resnet81'; did you mean 'dsg_resnet18'?"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "title: x\nselect: []\ncolumns: {}\nacros: bits\n",
            "acros: Extra inputs are not permitted",
        ),
        ("title: x\n", "select: Field required"),
        ("title: [\n", "while parsing"),
        ("title: x\nselect: []\ncolumns: {}\nacross: rows\n", "across: Input should be"),
    ],
)
def test_a_file_that_is_none(
    text: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    monkeypatch.setattr(bench.papers.definition, "TABLES", tmp_path)
    monkeypatch.setattr(bench.papers.definition, "table_names", lambda: ("mine",))
    with pytest.raises(BenchError) as error:
        load_definition("mine")
    assert str(error.value).startswith(f"{tmp_path}/mine.yaml is no definition of a table: {words}")
    assert "\n" not in str(error.value)
