"""The README shows the tables that are kept as results, and names commands that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("name", ["demo", "efficientnet_lite0_photos"])
def test_tables_are_the_kept_results(name: str) -> None:
    shown = re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", README, re.S)
    assert shown is not None
    assert shown.group(1) == (ROOT / "docs" / "results" / f"{name}.md").read_text()


def test_the_results_page_shows_every_table_it_names() -> None:
    page = (ROOT / "docs" / "results.md").read_text()
    shown = re.findall(r"<!-- (\w+) -->\n(.*?)<!-- /\1 -->", page, re.S)
    assert len(shown) >= 7
    for name, table in shown:
        assert table == (ROOT / "docs" / "results" / f"{name}.md").read_text(), name
        assert f"bench run -m experiment={name}" in page
        assert (ROOT / "conf" / "experiment" / f"{name}.yaml").exists()


def test_local_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(((?!https?://)[^)#]+)\)", README)
    assert len(links) >= 5
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_subcommands_exist() -> None:
    from bench.cli import _parser

    known = _parser().format_help()
    used = set(re.findall(r"^bench (\w+)", README, re.M))
    assert {"run", "table", "status", "rerun", "validate", "recipe"} <= used
    assert all(f"\n    {name} " in known for name in used)
