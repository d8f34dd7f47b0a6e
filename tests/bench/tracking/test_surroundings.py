"""What the environment says to W&B costs no run, and decides only whether runs are uploaded."""

import os
from pathlib import Path

import pytest
import wandb

from bench.tracking.surroundings import effective_mode, of_account, of_upload, of_writing, reason

KEY = "0123456789abcdef" * 2 + "deadbeef"


@pytest.fixture(autouse=True)
def _new_client() -> None:
    """W&B reads the environment once a process; what an earlier test has set up would be kept."""
    wandb.teardown()


@pytest.mark.parametrize(
    ("wanted", "environment", "effective"),
    [
        ("none", {}, "none"),
        ("none", {"WANDB_MODE": "online"}, "none"),
        ("none", {"WANDB_MODE": "nonsense"}, "none"),
        ("offline", {}, "offline"),
        ("offline", {"WANDB_API_KEY": KEY}, "offline"),
        ("offline", {"WANDB_MODE": "disabled"}, "none"),
        ("online", {"WANDB_MODE": "offline", "WANDB_API_KEY": KEY}, "offline"),
        ("online", {"WANDB_MODE": "dryrun", "WANDB_API_KEY": KEY}, "offline"),
        ("online", {"WANDB_MODE": "Offline", "WANDB_API_KEY": KEY}, "offline"),
        ("online", {"WANDB_MODE": "disabled"}, "none"),
        ("online", {"WANDB_MODE": "run", "WANDB_API_KEY": KEY}, "online"),
        ("online", {"WANDB_MODE": "", "WANDB_API_KEY": KEY}, "online"),
        ("online", {"WANDB_RUN_ID": " ", "WANDB_TAGS": "a" * 65, "WANDB_API_KEY": KEY}, "online"),
        ("online", {"WANDB_PROJECT": "a/b", "WANDB_API_KEY": KEY}, "online"),
    ],
)
def test_effective_mode(
    wanted: str, environment: dict[str, str], effective: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert effective_mode(wanted) == (effective, None)


@pytest.mark.parametrize(
    ("known", "mode"), [(True, ("online", None)), (False, ("offline", "W&B: no key configured"))]
)
def test_online_needs_a_key(
    known: bool, mode: tuple[str, str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wandb, "login", lambda **_: known)
    assert effective_mode("online") == mode


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("WANDB_API_KEY", "abc", "WANDB_API_KEY invalid: API key must have 40+ characters, has 3"),
        ("WANDB_API_KEY", f"{KEY}\n", "API key cannot start or end with whitespace"),
        ("WANDB_API_KEY", f"{KEY} x", "WANDB_API_KEY invalid: API key may only contain the letter"),
        ("WANDB_BASE_URL", "here", "base_url: Input should be a valid URL, relative URL without a"),
        ("WANDB_INIT_TIMEOUT", "soon", "init_timeout: Input should be a valid number, unable to"),
    ],
)
def test_what_w_and_b_refuses_is_one_line(
    name: str,
    value: str,
    why: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv(name, value)
    mode, said = effective_mode("online")
    assert mode == "offline"
    assert said is not None and "\n" not in said and KEY not in said
    assert said.startswith(f"warning: W&B does not take its settings: {why}")
    assert capfd.readouterr() == ("", "")


def test_a_mode_that_does_not_exist_uploads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_MODE", "ofline")
    why = "warning: WANDB_MODE='ofline' is no mode of W&B"
    assert effective_mode("online") == ("offline", why)


def test_a_client_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: bool) -> None:
        raise ImportError("protobuf is too old\nfor this")

    monkeypatch.setattr(wandb, "login", broken)
    why = "warning: W&B does not take its settings: protobuf is too old"
    assert effective_mode("online") == ("offline", why)


def test_a_home_that_is_not_there_or_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W&B's caches are under the outputs, and the outputs stand for a home that is not known."""
    folder = str(tmp_path / "cache" / "wandb")
    monkeypatch.setenv("HOME", "/proc")
    for values in (of_writing(tmp_path), of_upload(tmp_path)):
        assert (values["WANDB_CACHE_DIR"], values["WANDB_DATA_DIR"]) == (folder, folder)
        assert "HOME" not in values
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.getuid", lambda: 2**31 - 2)  # of no entry in the list of users
    assert of_writing(tmp_path)["HOME"] == of_upload(tmp_path)["HOME"] == folder
    assert of_account()["HOME"]
    assert effective_mode("online") == ("offline", "W&B: no key configured")
    monkeypatch.setenv("WANDB_CACHE_DIR", "/elsewhere")
    assert of_writing(tmp_path)["WANDB_CACHE_DIR"] == "/elsewhere"


def test_a_run_is_written_without_the_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"WANDB_API_KEY": KEY, "WANDB_RUN_ID": "a", "_WANDB_X": "1", "WANDB_NEW_KIND": "b"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert {name: of_writing(tmp_path)[name] for name in given} == dict.fromkeys(given)
    assert "WANDB_API_KEY" not in of_upload(tmp_path)  # which is to see it
    assert of_upload(tmp_path)["WANDB_RUN_ID"] is None
    assert os.environ["WANDB_API_KEY"] == KEY


def test_a_reason_has_no_value() -> None:
    with pytest.raises(ValueError) as caught:
        wandb.Settings(base_url="https://me:secret@")
    assert "secret" not in reason(caught.value)
    assert reason(ValueError("")) == "ValueError"
