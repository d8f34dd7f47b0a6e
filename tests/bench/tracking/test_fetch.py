import json
from types import SimpleNamespace
from typing import Any

import pytest

import bench.tracking.fetch
from bench.cells.recipe import Recipe
from bench.cells.result import Result
from bench.tracking.fetch import Run, results_of_runs
from bench.tracking.result_copy import read_copy, summary, to_config
from models.errors import BenchError
from tests.bench.papers.examples import long_results
from tests.spy import lines_of


def run(result: Result, name: str = "run") -> Run:
    """A run as W&B gives it back: what went there went as JSON."""
    parts = to_config(result, "zeroq_release"), summary(result)
    config, numbers = (json.loads(json.dumps(part)) for part in parts)
    return Run(f"me/mine/{name}", config, numbers | {"_runtime": 2, "distill/loss": {"min": 3}})


def read(run: Run) -> Result:
    return read_copy(run.config, run.summary)


def test_a_record_comes_back_without_its_traceback() -> None:
    for result in long_results():
        broken = result.model_copy(update={"traceback": "File '/home/me/secret.py'"})
        assert read(run(broken)) == result
        assert "secret" not in str(run(broken))


def test_a_record_of_detection_comes_back() -> None:
    numbers = {"task": "detection", "top1": None, "correct": None, "map": 61.5, "fp32_map": 63.0}
    result = long_results()[0].model_copy(update=numbers | {"map_small": 40.0, "boxes": 12})
    assert read(run(result)) == result
    assert (summary(result)["map"], "map" in summary(long_results()[0])) == (61.5, False)


def test_each_value_is_there_once() -> None:
    """The config is no text, and has no number that the summary has."""
    result = long_results()[1]
    config = to_config(result, "")
    assert (config["cell_id"], config["bits"], config["recipe_name"]) == (
        result.id,
        result.bits,
        "float",
    )
    assert config["recipe"] == result.recipe.as_dict()
    shared = config.keys() & summary(result).keys()
    axes = {"model", "weights", "method", "variant", "data", "w_bits", "a_bits", "seed"}
    assert shared == {"cell_id", *axes}
    assert not any("{" in value for value in config.values() if isinstance(value, str))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "has no record of a cell"),
        ({"cell_id": "a"}, "has no record of a cell"),
        (
            {"cell_id": "a", "recipe": {}, "schema_version": 99},
            "has a record of another version (1",
        ),
        # As earlier versions wrote it.
        ({"record": None}, "has no record of a cell"),
        ({"record": {"id": "a"}}, "has no record of a cell"),
        ({"record": "{"}, "has a record that is not whole"),
        ({"record": "[]"}, "has a record of another version (1 keys do not fit)"),
        ({"record": '{"schema_version": 99}'}, "has a record of another version (1"),
    ],
)
def test_a_run_without_a_record(config: dict[str, Any], words: str) -> None:
    with pytest.raises(BenchError) as error:
        read_copy(config, {})
    assert str(error.value).startswith(words)


def test_the_newest_run_of_a_cell_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = lines_of(monkeypatch, "bench.tracking.fetch", "warning")
    result = long_results()[1]
    older = result.model_copy(update={"started_at": "2025-01-01T00:00:00+00:00", "correct": 1})
    other = long_results()[2]
    asked = []

    def fetch(project: str) -> list[Run]:
        asked.append(project)
        return [run(older), run(result), run(older), run(other), Run("me/mine/foreign", {}, {})]

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
            found = {"path": ["me", "mine", "abc"], "config": {"a": 1}}
            return [SimpleNamespace(**found, summary_metrics={"b": 2})]

    monkeypatch.setattr("wandb.Api", Api)
    assert bench.tracking.fetch.fetch_runs("me/mine") == [Run("me/mine/abc", {"a": 1}, {"b": 2})]
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
    assert read(run(result)) == result


def record_of_awkward_numbers() -> Result:
    result = long_results()[0]
    awkward = {"tiny": 1e-300, "nested": {"a.b": [1, 2.5, None, True]}}
    recipe = Recipe.model_validate(result.recipe.as_dict() | awkward)
    return result.model_copy(update={"recipe": recipe, "top1": 1 / 3})
