import pytest

from tests.bench.dashboard.browser import find_chromium


def test_the_first_that_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BENCH_CHROMIUM", raising=False)
    installed = {"google-chrome": "/opt/chrome", "chromium-browser": "/usr/bin/cb"}
    assert find_chromium(installed.get) == "/usr/bin/cb"


def test_a_named_one_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CHROMIUM", "/my/chrome")
    assert find_chromium({"/my/chrome": "/my/chrome", "chromium": "/x"}.get) == "/my/chrome"


def test_without_one_the_run_ends_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BENCH_CHROMIUM", raising=False)
    with pytest.raises(pytest.exit.Exception) as ended:
        find_chromium({}.get)
    assert ended.value.returncode == 1
    assert ended.value.msg == (
        "no Chromium on the path: install one (Debian: apt-get install chromium), or name it in "
        "BENCH_CHROMIUM"
    )
