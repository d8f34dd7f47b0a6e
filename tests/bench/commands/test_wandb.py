"""`bench wandb`: what would be sent is written without network; what is sent is the same."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import wandb

from bench.cells.request import experiment_requests
from bench.cells.result import Result
from tests.bench.conftest import Finished
from tests.bench.offline import read_run

Bench = Callable[..., Finished]
METHODS = ("gaussian", "zeroq", "real")

# wandb-workspaces is written for the first Pydantic, and imported here only where it is used.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def demo(outputs: Path, keep: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keep six cells of the demo, at 8 and 4 bits; return the overrides. No network is reached."""
    overrides = ["quant.w_bits=8,4", "seed=0", f"paths.outputs={outputs}"]
    for job in experiment_requests("demo", overrides):
        method, bits = job.config.method["name"], job.config.quant.w_bits
        right = np.arange(100) < 90
        given = {"method": method, "w_bits": bits, "a_bits": bits, "seed": 0}
        keep(f"{method}{bits}", right, request_id=job.id, **given)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    return overrides


def panels(block: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    found = block["metadata"]["panelBankSectionConfig"]["panels"]
    return [(panel["viewType"], panel["config"]) for panel in found]


def ids(runs: dict[str, Any]) -> list[str]:
    (only,) = runs["filters"]["filters"]
    assert only["key"] == {"section": "summary", "name": "cell_id"}
    assert only["op"] == "IN"
    return sorted(only["value"])


def test_a_dry_report(bench_main: Bench, demo: list[str], tmp_path: Path) -> None:
    file = tmp_path / "demo.json"
    done = bench_main("wandb", "report", "demo", "--dry-run", "--out", file, *demo)
    assert done == Finished(0, f"wrote {file}\n", "")
    report = json.loads(file.read_text())["report"]
    assert (report["displayName"], report["project"]["name"]) == ("demo", "quantization-bench")
    blocks = report["spec"]["blocks"]
    headings = [b["children"][0]["text"] for b in blocks if b["type"] == "heading"]
    assert headings == [
        "Accuracy against bits",
        "Methods compared",
        "Calibration images",
        "Recipes",
    ]
    scatter, eight, four, images, recipes = [b for b in blocks if b["type"] == "panel-grid"]

    everything = sorted(f"{method}{bits}" for method in METHODS for bits in (4, 8))
    assert ids(scatter["metadata"]["runSets"][0]) == everything
    axes = [(kind, config["xAxis"], config["yAxis"]) for kind, config in panels(scatter)]
    assert axes == [
        ("Scatter Plot", f"summary:{x}", "summary:top1") for x in ("w_bits", "a_bits", "size_mb")
    ]
    for grid, bits in ((eight, 8), (four, 4)):
        (runs,) = grid["metadata"]["runSets"]
        assert runs["name"] == f"W{bits}A{bits}"
        assert ids(runs) == sorted(f"{method}{bits}" for method in METHODS)
        assert [key["name"] for key in runs["grouping"]] == ["method.value"]
        ((kind, config),) = panels(grid)
        assert (kind, config["metrics"]) == ("Bar Chart", ["top1"])
    assert ("Media Browser", ["calibration/images"]) in [
        (kind, config.get("mediaKeys")) for kind, config in panels(images)
    ]
    assert [kind for kind, _ in panels(recipes)] == ["Parallel Coordinates Plot", "Run Comparer"]
    columns = recipes["metadata"]["runSets"][0]["runFeed"]["columnOrder"]
    assert {
        "summary:top1",
        "config:recipe.value.quantizer.a_range",
        "config:recipe.value.batchnorm",
    } <= {*columns}


def test_a_dry_workspace(bench_main: Bench, demo: list[str], outputs: Path) -> None:
    assert bench_main("wandb", "report", "demo", "--dry-run", *demo).status == 0
    file = outputs / "reports" / "demo.report.json"
    section = json.loads(file.read_text())["workspace"]["spec"]["section"]
    (runs,) = section["runSets"]
    assert len(ids(runs)) == 6
    shown = {s["name"]: len(s["panels"]) for s in section["panelBankConfig"]["sections"]}
    assert shown == {"Accuracy": 4, "Calibration images": 2, "Recipes": 2}


@pytest.fixture
def budgets(
    outputs: Path, keep: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """Keep four cells of the demo, at 3 and 6 bits on average; return the overrides."""
    overrides = ["quant=mixed", "quant.mean_bits=3,6", "quant.w_bits=mixed", "quant.a_bits=8"]
    overrides += ["method=gaussian,zeroq", "seed=0", f"paths.outputs={outputs}"]
    for job in experiment_requests("demo", overrides):
        method, bits = job.config.method["name"], job.config.quant.mean_bits
        given = {"method": method, "w_bits": "mixed", "a_bits": 8, "seed": 0}
        right = np.arange(100) < (30 if bits == 3 else 98)
        keep(f"{method}{bits}", right, request_id=job.id, **given)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    return overrides


def test_budgets_are_not_averaged(bench_main: Bench, budgets: list[str], outputs: Path) -> None:
    assert bench_main("wandb", "report", "demo", "--dry-run", *budgets).status == 0
    sent = json.loads((outputs / "reports" / "demo.report.json").read_text())
    grids = [b for b in sent["report"]["spec"]["blocks"] if b["type"] == "panel-grid"]
    (everything,) = grids[0]["metadata"]["runSets"]
    (workspace,) = sent["workspace"]["spec"]["section"]["runSets"]
    budget = "recipe.value.quantizer"
    names = ["method.value", "w_bits.value", f"{budget}.mean_bits", f"{budget}.size_mb"]
    names += ["a_bits.value"]
    for runs in (everything, workspace):
        assert [key["name"] for key in runs["grouping"]] == names
    titles = [grid["metadata"]["runSets"][0]["name"] for grid in grids[1:3]]
    assert titles == ["MP3/A8", "MP6/A8"]


@pytest.mark.parametrize("what", ["report", "artifacts"])
def test_a_cell_that_failed_is_not_measured(
    bench_main: Bench,
    demo: list[str],
    outputs: Path,
    keep: Callable[..., Result],
    what: str,
) -> None:
    (job,) = experiment_requests("demo", ["method=real", "quant.w_bits=4", "seed=0"])
    given = {"method": "real", "w_bits": 4, "a_bits": 4, "seed": 0}
    right, request = np.arange(100) < 90, job.id
    keep("real4", right, request_id=request, status="failed", reason="out of memory", **given)
    assert bench_main("wandb", what, "demo", "--dry-run", *demo).status == 0
    text = (outputs / "reports" / f"demo.{what}.json").read_text()
    assert "real8" in text and "real4" not in text


def test_a_file_that_cannot_be_written(bench_main: Bench, demo: list[str], tmp_path: Path) -> None:
    done = bench_main("wandb", "report", "demo", "--dry-run", "--out", tmp_path, *demo)
    assert done == Finished(2, "", f"error: cannot write {tmp_path}: it is a folder; name a file\n")


def test_columns_are_keys_of_the_runs(
    bench_main: Bench, demo: list[str], outputs: Path, make_config: Callable[..., Any]
) -> None:
    """A column with a mistyped key would be an empty one."""
    from bench.tracking.result_copy import summary, to_config
    from tests.bench.cells_of import run_cell

    config = make_config({"data.limit": 50, "method": {"name": "zeroq", "variant": "release"}})
    config = config.model_copy(update={"method": config.method | {"iterations": 1, "images": 2}})
    result = run_cell(config).result
    assert result is not None and result.status == "done"
    known = to_config(result, "zeroq_release")
    assert bench_main("wandb", "report", "demo", "--dry-run", *demo).status == 0
    text = (outputs / "reports" / "demo.report.json").read_text()
    for first, rest in re.findall(r'"config:(\w+)\.value([\w.]*)"', text):
        value = known[first]
        for key in rest.split(".")[1:]:
            assert key in value, f"{first}{rest}"
            value = value[key]
    numbers = set(re.findall(r'"summary:([\w/]+)"', text))
    assert {"top1", "w_bits", "size_mb"} <= numbers <= summary(result).keys()


def test_a_saved_report(
    bench_main: Bench, demo: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[dict[str, Any]] = []

    def answer(api: Any, query: Any, variables: dict[str, Any]) -> dict[str, Any]:
        sent.append(variables)
        if "spec" not in variables:
            return {"project": {"internalId": "42"}}
        project = {"name": variables["projectName"], "entityName": variables["entityName"]}
        view = {"id": "Vmlldzox", "name": "n", "displayName": "demo", "description": ""}
        view |= {"type": "runs", "project": project, "spec": variables["spec"]}
        return {"upsertView": {"view": view, "inserted": True}}

    api = SimpleNamespace(
        default_entity="me", projects=lambda entity: [SimpleNamespace(name="quantization-bench")]
    )
    monkeypatch.setattr(wandb, "Api", lambda: api)
    interfaces = ("reports.v2.interface", "workspaces.interface")
    for module in (interfaces[0], "workspaces.internal"):
        monkeypatch.setattr(f"wandb_workspaces.{module}.execute_graphql", answer)
    for module in interfaces:
        monkeypatch.setattr(
            f"wandb_workspaces.{module}.get_app_url", lambda api: "https://wandb.example"
        )
    done = bench_main("wandb", "report", "demo", *demo)
    assert done.status == 0
    report, workspace = done.out.splitlines()[-2:]
    assert report.startswith(
        "report     https://wandb.example/me/quantization-bench/reports/demo--"
    )
    assert workspace.startswith("workspace  https://wandb.example/me/quantization-bench?nw=")
    saved = [variables for variables in sent if "spec" in variables]
    assert [variables["type"] for variables in saved] == ["runs", "project-view"]
    assert {variables["entityName"] for variables in saved} == {"me"}
    grids = [b for b in json.loads(saved[0]["spec"])["blocks"] if b["type"] == "panel-grid"]
    assert {g["metadata"]["runSets"][0]["project"]["id"] for g in grids} == {"42"}


def test_without_an_account_one_line_says_what_to_do(
    bench_main: Bench, demo: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise wandb.errors.UsageError("No API key configured. Use `wandb login`.\nMore.")

    monkeypatch.setattr(wandb, "Api", refuse)
    assert bench_main("wandb", "report", "demo", *demo) == Finished(
        2,
        "",
        "error: W&B took no report: No API key configured. Use `wandb login`; --dry-run writes "
        "what would be sent\n",
    )


@pytest.mark.parametrize("what", ["report", "artifacts"])
def test_nothing_measured(bench_main: Bench, outputs: Path, what: str) -> None:
    overrides = ("quant.w_bits=4", "seed=0", "method=real", f"paths.outputs={outputs}")
    done = bench_main("wandb", what, "demo", "--dry-run", *overrides)
    assert (done.status, done.err) == (
        2,
        "error: no cell of demo is measured; bench run -m experiment=demo\n",
    )
    assert bench_main("wandb", what, "deno").err == (
        "error: unknown experiment 'deno'; did you mean 'demo'?\n"
    )


def test_without_the_package_one_line_says_what_to_install(
    bench_main: Bench, demo: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "bench.tracking.report", raising=False)
    monkeypatch.setitem(sys.modules, "wandb_workspaces.reports.v2", None)
    done = bench_main("wandb", "report", "demo", "--dry-run", *demo)
    assert (done.status, done.err) == (
        2,
        "error: reports need wandb-workspaces: pip install 'quantization-bench[report]'\n",
    )


def test_dry_artifacts(bench_main: Bench, demo: list[str], outputs: Path) -> None:
    assert bench_main("wandb", "artifacts", "demo", "--dry-run", *demo).status == 0
    runs = json.loads((outputs / "reports" / "demo.artifacts.json").read_text())["runs"]
    assert len(runs) == 7
    assert runs[-1]["uses"] == [artifact for run in runs[:-1] for artifact in run["makes"]]
    assert runs[0]["makes"] == ["correct-gaussian8"]
    assert not (outputs / "wandb").exists()


def test_artifacts_are_kept_offline(bench_main: Bench, demo: list[str], outputs: Path) -> None:
    done = bench_main("wandb", "artifacts", "demo", *demo, "tracking=wandb_offline")
    assert (done.status, done.err) == (0, "")
    (run,) = (outputs / "wandb").iterdir()
    assert done.out.splitlines() == [f"wrote {run}", f"upload it with: wandb sync {run}"]
    assert '"name":"table-demo"' in read_run(run, "--json")
    assert "| gaussian | 90.00" in re.sub(" +", " ", (outputs / "reports" / "demo.md").read_text())
    assert len((outputs / "reports" / "demo.csv").read_text().splitlines()) == 7
