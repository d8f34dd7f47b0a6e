from types import SimpleNamespace
from typing import Any

import pytest

import bench.tracking.fetch
from bench.cells.recipe import Recipe
from bench.cells.result import Result
from bench.tracking.fetch import Run, results_of_runs
from bench.tracking.result_copy import RESULT_COPY, copy_text, read_copy
from models.errors import BenchError
from tests.bench.papers.examples import long_results
from tests.spy import lines_of


def run(result: Result, name: str = "run") -> Run:
    return Run(f"me/mine/{name}", {RESULT_COPY: copy_text(result), "recipe": {"other": 1}})


def test_a_record_comes_back_without_its_traceback() -> None:
    for result in long_results():
        broken = result.model_copy(update={"traceback": "File '/home/me/secret.py'"})
        assert read_copy(run(broken).config) == result
        assert "secret" not in copy_text(broken)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "has no record of a cell"),
        ({RESULT_COPY: None}, "has no record of a cell"),
        ({RESULT_COPY: {"id": "a"}}, "has no record of a cell"),
        ({RESULT_COPY: "{"}, "has a record that is not whole"),
        ({RESULT_COPY: "[]"}, "has a record of another version (1 keys do not fit)"),
        ({RESULT_COPY: '{"schema_version": 99}'}, "has a record of another version (1"),
    ],
)
def test_a_run_without_a_record(config: dict[str, Any], words: str) -> None:
    with pytest.raises(BenchError) as error:
        read_copy(config)
    assert str(error.value).startswith(words)


def test_the_newest_run_of_a_cell_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = lines_of(monkeypatch, "bench.tracking.fetch", "warning")
    result = long_results()[1]
    older = result.model_copy(update={"started_at": "2025-01-01T00:00:00+00:00", "correct": 1})
    other = long_results()[2]
    asked = []

    def fetch(project: str) -> list[Run]:
        asked.append(project)
        return [run(older), run(result), run(older), run(other), Run("me/mine/foreign", {})]

    found = results_of_runs("wandb:me/mine", fetch)
    assert asked == ["me/mine"]
    assert found.results == sorted([result, other], key=lambda r: r.id)
    assert found.left_out == ["run me/mine/foreign has no record of a cell"]
    assert lines == ["warning: not counted: run me/mine/foreign has no record of a cell"]


@pytest.mark.parametrize(
    "source", ["wandb:", "wandb:me", "me/mine", "wandb:me/mine/run", "wandb:/"]
)
def test_what_is_no_place_of_runs(source: str) -> None:
    with pytest.raises(BenchError) as error:
        results_of_runs(source, lambda _: [])
    assert str(error.value) == f"--from {source!r} is no place of runs; give wandb:ENTITY/PROJECT"


def test_the_client_is_asked_for_whole_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Api:
        def runs(self, path: str, **how: Any) -> list[SimpleNamespace]:
            asked.append((path, how["lazy"]))
            return [SimpleNamespace(path=["me", "mine", "abc"], config={"a": 1})]

    monkeypatch.setattr("wandb.Api", Api)
    assert bench.tracking.fetch.fetch_runs("me/mine") == [Run("me/mine/abc", {"a": 1})]
    assert asked == [("me/mine", False)]


def test_a_service_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr("wandb.Api", refuse)
    with pytest.raises(BenchError) as error:
        bench.tracking.fetch.fetch_runs("me/mine")
    assert str(error.value) == "W&B gives no runs of me/mine: no route"


def test_records_keep_every_number() -> None:
    result = record_of_awkward_numbers()
    assert read_copy(run(result).config) == result


def record_of_awkward_numbers() -> Result:
    result = long_results()[0]
    awkward = {"tiny": 1e-300, "nested": {"a.b": [1, 2.5, None, True]}}
    recipe = Recipe.model_validate(result.recipe.as_dict() | awkward)
    return result.model_copy(update={"recipe": recipe, "top1": 1 / 3})
