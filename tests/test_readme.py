"""The README and the pages of docs/: their tables, links and commands are those that there are."""

import re
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from bench.arguments import parser
from bench.cli import main
from bench.papers.pages import Shown, tables_in
from bench.tables.best import best_rows

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def without_code(text: str) -> str:
    """Return a page without its code blocks and code spans."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`", "``", text)


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    times: Counter[str] = Counter()
    found = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *$", text, re.MULTILINE):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        found.add(f"{slug}-{times[slug]}" if times[slug] else slug)
        times[slug] += 1
    return found


def links(text: str) -> list[str]:
    """Return what a page's links and pictures point to, but for the web."""
    plain = without_code(text)
    targets = re.findall(r"\]\(([^)\s]+)\)", plain) + re.findall(
        r"(?:src|href)=\"([^\"]+)\"", plain
    )
    return [target for target in targets if not re.match(r"(https?|mailto):", target)]


def leads_somewhere(page: Path, link: str) -> bool:
    """Return whether a link of a page is of a file of the checkout, and its anchor of a heading."""
    path, _, anchor = link.partition("#")
    file = (page.parent / path).resolve() if path else page
    if not (file.exists() and file.is_relative_to(ROOT)):
        return False
    return not anchor or (file.suffix == ".md" and anchor in anchors(file.read_text()))


def broken(page: Path) -> list[str]:
    """Return the links of a page that lead nowhere."""
    return [link for link in links(page.read_text("utf-8")) if not leads_somewhere(page, link)]


def commands(text: str) -> set[str]:
    """Return the sub-commands of `bench` in a page's code."""
    return set(re.findall(r"(?:^(?:\$ )?|`)bench ([a-z]+)", text, re.MULTILINE))


def test_tables_are_those_of_the_kept_results(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    status = main(["docs", "--check"])
    assert (status, capsys.readouterr().out.count("stale")) == (0, 0)
    assert tables_in(README) == [Shown("demo")]
    page = (ROOT / "docs" / "results.md").read_text()
    assert Shown("efficientnet_lite0_photos") in tables_in(page)


def test_the_results_page_says_how_each_table_is_made() -> None:
    page = (ROOT / "docs" / "results.md").read_text()
    names = [name for name, _ in tables_in(page)]
    assert len(names) >= 7
    for name in names:
        assert f"bench run -m experiment={name}" in page
        assert f"bench table {name}" in page
        assert (ROOT / "conf" / "experiment" / f"{name}.yaml").exists()


def test_the_readme_reads_the_demo_as_statistics_do() -> None:
    cells = pd.read_csv(ROOT / "docs" / "results" / "demo.csv")
    words = "of the nine pairs of methods, `bench compare demo`\nresolves none"
    assert (words in README) is (not any(best_rows(cells)))


def test_an_experiment_of_ones_own_is_as_the_page_has_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "sweeps.md").read_text()
    (block,) = re.findall(
        r"^```yaml\n(# @package _global_.*?)^```$", page, re.DOTALL | re.MULTILINE
    )
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "ranges.yaml").write_text(block)
    place = ["--config-dir", str(tmp_path)]
    assert main(["validate", "ranges", *place]) == 0
    assert capsys.readouterr().out == "ranges: 6 cells\n"
    assert main(["ls", "experiments", *place]) == 0
    said = "three ways to find the range of activations, at 4 and 3 bits"
    assert re.search(rf"^ranges +{said}$", capsys.readouterr().out, re.MULTILINE)


def test_the_readme_is_short() -> None:
    assert len(README.split()) < 900


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert broken(page) == []


def test_every_page_is_reached_from_the_readme() -> None:
    linked = {link.partition("#")[0] for link in links(README)}
    assert {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")} <= linked


def test_what_is_not_there_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.test_readme.ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        "# A `b`: c_d, 1.5\n## Twice\n## Twice\n![x](no.png) [x](#a-b-c_d-15) [x](#twice-1)\n"
        "[x](#twice-2) [x](page.md#a) [x](https://example.org/no) [x](../out.md) `[x](code)`\n"
        "[![y](gone.png)](page.md)\n```\n# Not a heading\n[x](block)\n```\n[x](#not-a-heading)\n"
    )
    assert broken(page) == [
        *("no.png", "#twice-2", "page.md#a", "../out.md", "gone.png", "#not-a-heading")
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_subcommands_exist(page: Path) -> None:
    known = parser().format_help()
    used = commands(page.read_text(encoding="utf-8"))
    assert [name for name in sorted(used) if not re.search(rf"\n    {name}\s", known)] == []


def test_the_readme_shows_the_commands_of_the_three_jobs() -> None:
    assert {"run", "dashboard", "compare", "table", "ledger", "ls"} <= commands(README)
    told = set().union(*(commands(page.read_text()) for page in PAGES))
    assert {"status", "rerun", "validate", "recipe", "cite", "merge", "cache", "join"} <= told
