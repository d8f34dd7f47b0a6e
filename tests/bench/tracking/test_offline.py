"""What W&B refuses is left out of a run, or cut, with one warning; the run is written."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.config.schema import TrackingConfig
from bench.tracking.offline import fitting, offline_run, project_name, warn_once
from tests.bench.offline import read_run
from tests.spy import lines_of

NAMES = {"name": "n", "group": "g", "job_type": "j", "id": "own"}
HOSTILE = {
    "WANDB_SWEEP_ID": "s9",  # of `wandb agent`
    "WANDB_RUN_ID": "abc123",
    "WANDB_RESUME": "must",
    "WANDB_API_KEY": "abc\n",
    "WANDB_MODE": "nonsense",
    "WANDB_BASE_URL": "nonsense",
    "WANDB_INIT_TIMEOUT": "soon",
    "WANDB_PROJECT": "a/b",
    "WANDB_TAGS": "a" * 65,
    "WANDB_NAME": "another",
    "WANDB_SERVICE": "2-1-tcp-localhost-1",  # of a service that is gone
    "WANDB_CONFIG_DIR": "/proc/none",
    "SM_TRAINING_ENV": "{}",
}


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    warn_once.cache_clear()
    return lines_of(monkeypatch, "bench.tracking.offline", "warning")


def written(folder: Path, tags: list[str], **changes: Any) -> dict[str, Any]:
    """Return the record of a run that is written into `folder`."""
    folder.mkdir()
    known = {"mode": "offline", "project": "p"} | changes.pop("tracking", {})
    tracking = TrackingConfig.model_validate(known)
    with offline_run(folder, folder / "outputs", tracking, tags, NAMES | changes) as run:
        sync = Path(run.settings.sync_dir)
    records = [json.loads(line) for line in read_run(sync, "--json").splitlines()]
    (found,) = [record["run"] for record in records if record["type"] == "run"]
    return found


def test_an_environment_of_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
    for name, value in (HOSTILE | {"WANDB_ENTITY": "team", "WANDB_NOTES": "a note"}).items():
        monkeypatch.setenv(name, value)
    found = written(tmp_path / "a", ["t"])
    assert (found["run_id"], found["project"], found["entity"]) == ("own", "p", "team")
    assert (found["display_name"], found["run_group"], found["job_type"]) == ("n", "g", "j")
    assert (found["tags"], found["notes"]) == (["t"], "a note")
    assert "sweep_id" not in found and "resumed" not in found
    assert warnings == []


def test_what_is_too_long_or_has_a_wrong_form(tmp_path: Path, warnings: list[str]) -> None:
    long = "dataset-" * 20
    for folder in ("a", "b"):  # the second says nothing again
        found = written(
            tmp_path / folder,
            ["", long, "two\nlines", "t" * 64, "odd \udcff"],
            **{"name": long, "group": long, "job_type": long, "tracking": {"project": "my/own"}},
        )
    assert found["tags"] == sorted([f"{long[:63]}…", "two lines", "t" * 64, "odd ?"])
    assert (found["display_name"], found["run_group"]) == (f"{long[:127]}…",) * 2
    assert (found["job_type"], found["project"]) == (f"{long[:63]}…", "my-own")
    kinds = {"tag": 64, "group": 128, "job type": 64}
    cut = [
        f"warning: W&B takes {most} characters of a {kind}; {long[: most - 1] + '…'!r} is cut"
        for kind, most in kinds.items()
    ]
    renamed = "warning: W&B has no project 'my/own'; the runs are in 'my-own'"
    assert sorted(warnings) == sorted([*cut, renamed])


def test_what_only_w_and_b_knows_to_refuse(tmp_path: Path, warnings: list[str]) -> None:
    found = written(tmp_path / "a", ["t"], id="a:b")
    assert found["run_id"] != "a:b"
    assert warnings == [
        "warning: W&B runs are written without their id: Run ID cannot contain the characters: "
        ":;,#?/'"
    ]


def test_names_that_fit_stay() -> None:
    assert fitting("tag", "t" * 64) == "t" * 64
    assert fitting("name", "Übung 1") == "Übung 1"
    assert project_name("my project") == "my project"
    assert project_name("") == "uncategorized"
