"""The page as text: what is inside it, and what can never be."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bench.dashboard.page as module
from bench.cells.store import Store
from bench.dashboard.document import make_document
from bench.dashboard.page import ASSETS, json_for_html, page
from tests.bench.dashboard.examples import config_of, example, write

MARKUP = "</script><script>alert(1)</script><img src=x onerror=alert(2)>&amp;"
KEY = "0123456789abcdef" * 2 + "deadbeef"
RIGHT = np.array([True, False])


class Parts(HTMLParser):
    """The scripts of a page, its policy, and every address that it could fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts: list[tuple[str | None, str]] = []
        self.addresses: list[str] = []
        self.policy = ""
        self._in_script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"] or ""
        if tag == "script":
            self.scripts.append((given.get("type"), ""))
            self._in_script = True

    def handle_endtag(self, tag: str) -> None:
        self._in_script = self._in_script and tag != "script"

    def handle_data(self, data: str) -> None:
        if self._in_script:
            kind, text = self.scripts.pop()
            self.scripts.append((kind, text + data))


@pytest.fixture(autouse=True)
def _small_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """The charting library takes seconds to come; one test asks for it."""
    monkeypatch.setattr(module, "vega_script", lambda: "window.vegaEmbed=null;")


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What is collected from records that say markup and keys wherever they can say something."""
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    store = Store(tmp_path)
    method = {"name": "gaussian", "version": 1, "api_key": KEY, "note": f"{MARKUP} {KEY}"}
    changes: dict[str, Any] = {
        **{"group": MARKUP, "model": MARKUP, "data": MARKUP, "reason": f"{MARKUP} {KEY}"},
        **{"weights": f"https://me:{KEY}x@host/w", "runtime": {MARKUP: MARKUP, "token": KEY}},
        **{"versions": {"WANDB_API_KEY": KEY}, "traceback": f"api_key='{KEY[::-1]}' {MARKUP}"},
    }
    right = example("a" * 16, RIGHT, **changes)
    recipe = right.recipe.model_copy(update={"method": method})
    right = right.model_copy(update={"recipe": recipe})
    config = config_of("data.limit=2") | {"group": MARKUP}
    write(store, right, RIGHT, config)
    (store.cells / MARKUP.replace("/", "_")).mkdir()
    found = store.inventory()
    document = make_document(store, found.results, [])
    document["images"] = {"e" * 64: {"files": [MARKUP, f"{KEY}.png"], "labels": [0, 1]}}
    document["warnings"] += found.left_out
    document["about"] = {"title": MARKUP, "missing": [f"bench run tracking.api_key={KEY}"]}
    return document


def test_planted_markup_is_data_only(planted: dict[str, Any]) -> None:
    text = page(MARKUP, planted)
    parts = Parts(text)
    assert [kind for kind, _ in parts.scripts] == ["application/json", "module", "module"]
    said = json.loads(parts.scripts[0][1])
    assert said["cells"][0]["group"] == MARKUP  # whole, and nowhere but there
    assert "<img" not in text.replace("<image", "")
    assert "alert(1)" not in re.sub(r'<script id="data".*?</script>|<title>.*?</title>', "", text)
    assert "<title>&lt;/script&gt;&lt;script&gt;alert(1)" in text


def test_planted_keys_are_nowhere(planted: dict[str, Any]) -> None:
    text = page("a title", planted)
    assert KEY not in text
    assert KEY[::-1] not in text
    assert text.count("(not shown)") >= 8


def test_the_title_is_redacted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", KEY)
    assert KEY not in page(f"results {KEY}", {})


def test_nothing_is_fetched_and_only_the_two_scripts_may_run() -> None:
    parts = Parts(page("a title", {}))
    assert all(address.startswith(("#", "data:")) for address in parts.addresses)
    assert parts.policy.startswith("default-src 'none'; script-src 'sha256-")
    digests = [hashlib.sha256(text.encode()).digest() for _, text in parts.scripts[1:]]
    allowed = [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]
    assert f"script-src {' '.join(allowed)};" in parts.policy
    assert "unsafe-eval" not in parts.policy
    style = (ASSETS / "style.css").read_text()
    assert "url(" not in style
    assert "@import" not in style


@pytest.mark.parametrize(
    "value", [MARKUP, "<!--", "\u2028 \udcff é", {"a<b": [1.5, None, True]}, "]]>"]
)
def test_json_comes_back_and_has_no_markup(value: Any) -> None:
    text = json_for_html(value)
    assert json.loads(text) == value
    assert text.isascii()
    assert not re.search(r"[<>&]", text)


def test_numbers_that_are_not_finite_become_null() -> None:
    value = {"a": [float("nan"), 1.5, {"b": float("-inf")}]}
    assert json.loads(json_for_html(value)) == {"a": [None, 1.5, {"b": None}]}


def test_every_script_and_every_marker_has_its_place() -> None:
    assert {file.stem for file in ASSETS.glob("*.js")} == set(module._SCRIPTS)
    assert "{{" not in re.sub(r"<script.*", "", page("a title", {}), flags=re.S)


@pytest.mark.thorough
def test_the_library_is_whole_and_says_whose_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    text = page("a title", {})
    assert "window.vegaEmbed=" in text
    assert "BSD-3-Clause" in text
    assert 800_000 < len(text) < 1_500_000
