from collections.abc import Callable

import pytest

import bench.papers.ledger
from bench.papers.ledger import make_ledger
from bench.papers.published import load_published, printable
from bench.tables.render import render
from bench.tables.table import Table, TableSource
from tests.bench.papers import examples
from tests.bench.papers.examples import LONG, WIDE, published

VERDICTS = ("reproduced", "off", "undecided", "not comparable", "failed", "not run", "not here")


@pytest.fixture
def two_tables(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Table]:
    """The ledger of two made-up papers, and of a third without a table."""
    definitions = {LONG: examples.LONG_DEFINITION, WIDE: examples.WIDE_DEFINITION}
    monkeypatch.setattr(bench.papers.ledger, "table_names", lambda: tuple(definitions))
    monkeypatch.setattr(bench.papers.ledger, "load_definition", definitions.get)
    numbers = [*examples.long_numbers(), *examples.wide_numbers(), published(paper="third")]
    results = [*examples.long_results(), *examples.wide_results()]
    return lambda: make_ledger(numbers, TableSource(results))


def test_counts_by_hand(two_tables: Callable[[], Table]) -> None:
    rows = two_tables().rows.set_index("paper")
    assert list(rows.columns) == ["published", "run", *VERDICTS]
    assert list(rows.loc["a_paper"]) == [8, 6, 3, 1, 0, 2, 1, 0, 1]
    assert list(rows.loc["another"]) == [15, 10, 1, 9, 0, 0, 0, 5, 0]
    assert list(rows.loc["third"]) == [1, 0, 0, 0, 0, 0, 0, 0, 1]
    assert list(rows.loc["all papers"]) == [24, 16, 4, 10, 0, 2, 1, 5, 2]


def test_every_printable_number_is_counted_once() -> None:
    numbers = load_published()
    rows = make_ledger(numbers, TableSource([])).rows.set_index("paper")
    assert rows.loc["all papers", "published"] == sum(map(printable, numbers))
    assert (rows[list(VERDICTS)].sum(axis=1) == rows["published"]).all()
    assert (rows["run"] == 0).all()
    papers = rows.drop("all papers")
    assert (papers.sum() == rows.loc["all papers"]).all()
    assert set(papers.index) == {p.paper for p in numbers if printable(p)}


def test_of_two_tables_that_show_a_number_the_better_verdict_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without_cells = examples.LONG_DEFINITION
    definitions = {"dsg_resnet50": without_cells, LONG: without_cells}
    monkeypatch.setattr(bench.papers.ledger, "table_names", lambda: tuple(definitions))
    monkeypatch.setattr(bench.papers.ledger, "load_definition", definitions.get)
    made = make_ledger(examples.long_numbers(), TableSource(examples.long_results()))
    assert list(made.rows.loc[0])[1:] == [8, 6, 3, 1, 0, 2, 1, 0, 1]
    assert "dsg_resnet50: 8 not here" in made.notes


def test_it_says_why_numbers_are_not_here(two_tables: Callable[[], Table]) -> None:
    said = [note for note in two_tables().notes if note.startswith("not here of")]
    assert said == ["not here of a_paper: 1 no method here", "not here of third: 1 in no table"]


def test_what_is_not_here_of_the_papers_has_a_reason() -> None:
    """Of the surrogates' tables none is left out, and most have a cell."""
    made = make_ledger(load_published(), TableSource([]))
    rows = made.rows.set_index("paper")
    assert (rows.loc["surrogates", "not run"], rows.loc["surrogates", "not here"]) == (83, 23)
    assert "not here of surrogates: 20 no method here, 3 no network here" in made.notes
    assert "not here of autoq: 3 network not said" in made.notes


def test_it_says_what_it_does_not_count(two_tables: Callable[[], Table]) -> None:
    notes = two_tables().notes
    assert "not counted: 1 numbers that are only recalled from memory" in notes
    assert f"{LONG}: 3 reproduced, 1 off, 2 not comparable, 1 failed, 1 not here" in notes


@pytest.mark.parametrize(
    ("to", "line"),
    [
        ("text", "a_paper     8            6"),
        ("md", "| a_paper    | 8           | 6     |"),
        ("html", "<tr><td>a_paper</td><td>8</td><td>6</td>"),
    ],
)
def test_formats(two_tables: Callable[[], Table], to: str, line: str) -> None:
    made = two_tables()
    assert line in render(made, to)


def test_it_counts_what_is_of_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.papers.ledger, "table_names", lambda: (LONG,))
    monkeypatch.setattr(
        bench.papers.ledger, "load_definition", lambda name: examples.LONG_DEFINITION
    )
    part = {"part_of": 60_000, "lost": 9, "gained": 1, "drop_low": 0.0, "drop_high": 1.0}
    results = [
        result.model_copy(update=part if result.method == "zeroq" else {})
        for result in examples.long_results()
    ]
    whole = make_ledger(examples.long_numbers(), TableSource(examples.long_results()))
    assert not any("evaluate.until" in note for note in whole.notes)
    ledger = make_ledger(examples.long_numbers(), TableSource(results))
    assert "on a part of the evaluation set (evaluate.until): 2 numbers" in ledger.notes
