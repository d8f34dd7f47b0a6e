"""A ~ in a path, with a home directory and without any."""

from pathlib import Path

import pytest

from models.errors import BenchError
from models.paths import expanded
from models.zoo.fetch import FOLDER_VARIABLE, cache_folder


def test_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert expanded("~/data") == Path("/home/me/data")
    assert expanded(Path("data/~")) == Path("data/~")


def test_no_such_home() -> None:
    with pytest.raises(BenchError) as caught:
        expanded("~nobody-of-this-name/data")
    assert str(caught.value) == (
        "'~nobody-of-this-name/data': no home directory is known; set HOME, or write the path in "
        "full"
    )


def test_a_container_s_user_without_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("os.getuid", lambda: 2**31 - 2)  # of no entry in the list of users
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    with pytest.raises(BenchError) as caught:
        cache_folder()
    assert str(caught.value) == (
        f"there is no home directory to keep weights in; set {FOLDER_VARIABLE} to a folder"
    )
    monkeypatch.setenv(FOLDER_VARIABLE, "/weights")
    assert cache_folder() == Path("/weights")
