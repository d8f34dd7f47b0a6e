"""The README shows the tables that are kept as results, and names commands that exist."""

import re
from pathlib import Path

import pytest

from bench.cli import _parser, main
from bench.papers.pages import shown_names

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_tables_are_those_of_the_kept_results(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    status = main(["docs", "--check"])
    assert (status, capsys.readouterr().out.count("stale")) == (0, 0)
    assert shown_names(README) == ["demo"]
    assert "efficientnet_lite0_photos" in shown_names((ROOT / "docs" / "results.md").read_text())


def test_the_results_page_says_how_each_table_is_made() -> None:
    page = (ROOT / "docs" / "results.md").read_text()
    names = shown_names(page)
    assert len(names) >= 7
    for name in names:
        assert f"bench run -m experiment={name}" in page
        assert f"bench table {name}" in page
        assert (ROOT / "conf" / "experiment" / f"{name}.yaml").exists()


def test_the_readme_is_short() -> None:
    assert len(README.split()) < 900


def test_local_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(((?!https?://)[^)#]+)[)#]", README)
    assert len(links) >= 5
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_subcommands_exist() -> None:
    known = _parser().format_help()
    used = set(re.findall(r"^bench (\w+)", README, re.M))
    assert {"run", "dashboard", "compare", "table", "ledger"} <= used
    assert all(re.search(rf"\n    {name}\s", known) for name in used)
