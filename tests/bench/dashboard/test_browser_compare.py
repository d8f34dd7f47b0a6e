"""A against B in a real browser: its numbers are those of the terminal."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.stats import t

from bench.cells.store import Store
from bench.cli import main
from bench.dashboard.page import ASSETS
from bench.statistics.intervals import t_interval
from bench.statistics.significance import (
    compare_cells,
    compare_seeds,
    discordant,
    mcnemar,
    paired_bootstrap,
    smallest_paired_difference,
    smallest_unpaired_difference,
)
from tests.bench.dashboard.examples import example, write
from tests.bench.dashboard.pages import until, written

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser


FUNCTIONS = ASSETS / "statistics.js"


def test_the_statistics_are_those_of_the_terminal(opened: Callable[..., "Page"]) -> None:
    page = opened()
    generator = np.random.default_rng(0)
    cases = []
    for images, chance in ((1, 0.5), (10, 0.5), (100, 0.9), (1000, 0.99), (5000, 0.7)):
        for seeds in (1, 2, 3, 5):
            first, second = generator.random((2, seeds, images)) < chance
            cases.append((first, second & (generator.random((seeds, images)) < 0.97)))
    cases += [(a, a) for a, _ in cases[:3]]
    got = page.evaluate(
        f"(cases) => {{ {FUNCTIONS.read_text()}; return cases.map(([a, b]) => ({{"
        "cells: compareCells(a[0], b[0]), seeds: a.length > 1 && a[0].length > 1 ? "
        "compareSeeds(a, b) : null,"
        "t: a.length > 2 ? tInterval(a.map((of) => 100 * mean(of))) : null,"
        "paired: smallestPaired(a[0].length, discordant(a[0], b[0])[0]),"
        "unpaired: smallestUnpaired(a[0].length, 70) })); }",
        [(a.astype(int).tolist(), b.astype(int).tolist()) for a, b in cases],
    )
    for (a, b), found in zip(cases, got, strict=True):
        cells = compare_cells(a[0], b[0])._asdict()
        assert {key: found["cells"][key] for key in cells} == pytest.approx(cells, rel=1e-9)
        if found["seeds"] is not None:
            assert found["seeds"] == pytest.approx(compare_seeds(a, b)._asdict(), rel=1e-7)
        if found["t"] is not None:
            assert found["t"] == pytest.approx(t_interval(list(100 * a.mean(axis=1))), rel=1e-9)
        images, wins = a.shape[1], discordant(a[0], b[0])[0]
        paired = smallest_paired_difference(images, 100 * wins / images)
        assert found["paired"] == (None if paired is None else pytest.approx(paired))
        assert found["unpaired"] == pytest.approx(smallest_unpaired_difference(images, 70))


def test_statistics_of_fifty_thousand_images_and_odd_degrees_of_freedom(
    opened: Callable[..., "Page"],
) -> None:
    counts = [(9000, 8000, 50_000), (0, 3, 50_000), (1, 420, 1000), (2, 2, 40), (25_000, 0, 25_000)]
    freedoms = [1, 2, 2.7, 5, 33.3, 1e3, 123_456.7]
    bootstraps, exact, quantiles, beyond = opened().evaluate(
        f"([counts, freedoms]) => {{ {FUNCTIONS.read_text()}; return ["
        "counts.map(([w, l, n]) => pairedBootstrap(w, l, n)),"
        "counts.map(([w, l]) => mcnemar(w, l)),"
        "freedoms.map(tQuantile), freedoms.map((freedom) => tBeyond(2.5, freedom))]; }",
        [counts, freedoms],
    )
    for (wins, losses, images), interval, p in zip(counts, bootstraps, exact, strict=True):
        first, second = np.zeros((2, images), bool)
        first[:wins], second[wins : wins + losses] = True, True
        assert tuple(interval) == pytest.approx(paired_bootstrap(first, second))
        assert p == pytest.approx(mcnemar(first, second), rel=1e-8)
    assert quantiles == pytest.approx(t.ppf(0.975, freedoms), rel=1e-10)
    assert beyond == pytest.approx(2 * t.sf(2.5, freedoms), rel=1e-9)


def test_two_cells_are_compared_as_in_the_terminal(
    opened: Callable[..., "Page"], small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = opened("#rows=cells&bits=W8A8&bits=W4A4")
    for method, bits in (("zeroq", "W8A8"), ("dsg", "W4A4")):
        page.get_by_role("button", name=f"Compare: {method} {bits}, seed 0").click()
    page.get_by_role("button", name="See the comparison").click()
    said = page.locator("#comparison").inner_text().replace("\u2212", "-")
    command = page.locator("#comparison .command code").inner_text().split()
    assert command[:2] == ["bench", "compare"]
    overrides = [f"paths.outputs={small.parent}"]
    assert main(["compare", *command[2:4], *overrides]) == 0
    printed = capsys.readouterr().out
    points, low, high = re.findall(r"[+-]\d+\.\d\d", printed.split("A - B")[1])[:3]
    assert f"{points}\n points, A - B [{low}, {high}]".replace("\n", "") in said.replace("\n", "")
    only_a, only_b = re.findall(r"only A has right: (\d+), only B: (\d+)", printed)[0]
    assert f"Only A has right: {only_a} image" in said
    assert f"only B: {only_b}; exact McNemar p " in said
    assert re.findall(r"p (?:= )?([<\d][\d. ]*\d)$", printed, re.M)[0].lstrip("<") in said
    for line in printed.splitlines():
        if line.startswith(("A wins", "B wins", "A is ahead", "B is ahead", "equal", "a draw")):
            assert line in said
        if "tell A and B apart resolve" in line:
            assert line in said
    rows = page.locator("#comparison .differing tbody tr td:first-child").all_inner_texts()
    assert "method.name" in [row.replace("\u200b", "") for row in rows]


def test_seeds_are_compared_as_in_the_terminal(opened: Callable[..., "Page"], small: Path) -> None:
    page = opened()
    for method, bits in (("gaussian", "W8A8"), ("zeroq", "W4A4")):
        page.get_by_role("button", name=f"Compare: {method} {bits}, 3 seeds").click()
    store = Store(small.parent)
    sides = []
    for method, bits in (("gaussian", "W8A8"), ("zeroq", "W4A4")):
        found = [
            r for r in store.results() if (r.method, r.bits, r.model) == (method, bits, "resnet20")
        ]
        found = sorted((r for r in found if r.status == "done"), key=lambda r: r.seed)
        sides.append(np.stack([store.items(r.id).top1 for r in found]))
    expected = compare_seeds(*sides)
    text = page.locator("#comparison").inner_text().replace("\u2212", "-").replace("\n", "")
    assert (
        f"{expected.points:+.2f} points, A - B [{expected.low:+.2f}, {expected.high:+.2f}]" in text
    )
    assert "A wins: resolved at 95 %" in text
    assert "t-test over 100 images and the 3 seeds that both have" in text
    address = page.url
    until(page, "location.hash.includes('b=')")
    address = page.url
    again = opened(address.partition("#")[1] + address.partition("#")[2])
    assert again.locator("#comparison .number-line").nth(2).inner_text() == (
        page.locator("#comparison .number-line").nth(2).inner_text()
    )
    again.get_by_role("button", name="Clear", exact=True).click()
    assert again.locator("#tray").is_hidden()


def test_other_images_and_seeds_are_not_paired(
    opened: Callable[..., "Page"], tmp_path: Path
) -> None:
    store, right = Store(tmp_path), np.arange(10) > 3
    for id, seed, method in (
        ("a", 0, "zeroq"),
        ("b", 1, "zeroq"),
        ("c", 2, "real"),
        ("d", 3, "real"),
    ):
        write(store, example(id * 16, right, seed=seed, method=method), right)
    other = {"fingerprint": "9" * 64}
    write(store, example("1" * 16, right, method="dsg", evaluation=other), right)
    file = written(tmp_path, [])
    page = opened(f"#a={'a' * 16}~&b={'c' * 16}~", file=file)
    page.locator("#comparison").get_by_text("no seed in common").wait_for()
    page.goto(file.as_uri() + f"#a={'a' * 16}&b={'1' * 16}")
    page.locator("#comparison").get_by_text("different images").wait_for()
    page.goto(file.as_uri() + f"#a={'a' * 16}&b={'b' * 16}")
    equal = "equal: A and B are right on the same images"
    page.locator("#comparison").get_by_text(equal).wait_for()
