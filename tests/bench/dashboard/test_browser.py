"""The dashboard in a real browser: the page as a whole.

Run by `make test-browser`. Every page must stay without a message in the console and without a
request to anything but itself.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bench.cells.store import Store
from tests.bench.dashboard.examples import example, many, write
from tests.bench.dashboard.pages import MARKUP, column, drawn, written

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser


LOAD_SECONDS = 2.0


def test_every_chart_is_drawn_and_can_be_read_as_a_table(opened: Callable[..., "Page"]) -> None:
    page = opened()
    drawn(page, 4)
    assert page.locator("#accuracy .holder svg").count() == 1
    page.locator("#accuracy summary").click()
    rows = page.locator("#accuracy table.grid tbody tr")
    rows.first.wait_for()
    assert rows.count() == 21  # four methods at five bit-widths, and one of mixed precision
    assert "95 % t-interval of 3 seeds" in rows.first.inner_text()
    page.locator("#layers summary").click()
    page.locator("#layers table.grid").wait_for()
    assert page.locator("#layers table.grid tbody td").first.inner_text() == MARKUP


def test_the_heat_map_says_the_difference(opened: Callable[..., "Page"]) -> None:
    page = opened()
    below, above = page.locator("#papers td.below"), page.locator("#papers td.above")
    # marked, because they were measured on other weights
    assert below.all_inner_texts() == ["\u2260\u22123.50", "\u2260\u221210.00"]
    assert above.all_inner_texts() == ["\u2260+40.00"]
    assert "published 93.50 %" in (below.first.get_attribute("title") or "")
    page.get_by_text("Every comparison").click()
    row = page.locator("#papers table.grid tbody tr")
    row.first.wait_for()
    assert row.count() == 3
    assert "weights mnist5k, there pytorchcv" in row.first.inner_text()


def test_markup_of_results_is_text(opened: Callable[..., "Page"]) -> None:
    page = opened()
    drawn(page, 4)
    for fragment in ("#cell=" + "d" * 16, "#cell=" + "c" * 16, "#leaderboard"):
        page.goto(page.url.split("#")[0] + fragment)
        assert page.locator("img[src=x]").count() == 0
    page.get_by_label("Words").fill("onerror")
    assert MARKUP in column(page, "group")


def test_the_theme_follows_the_system_and_the_button(opened: Callable[..., "Page"]) -> None:
    def ground() -> str:
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    light, dark = "rgb(247, 247, 245)", "rgb(14, 17, 20)"
    page = opened(color_scheme="dark")
    assert ground() == dark
    button = page.locator("#theme")
    assert button.inner_text() == "Theme: auto"
    button.click()
    assert (button.inner_text(), ground()) == ("Theme: light", light)
    button.click()
    assert (button.inner_text(), ground()) == ("Theme: dark", dark)
    page.reload()
    assert button.inner_text() == "Theme: dark"


@pytest.mark.parametrize("fragment", ["", "#cell=" + "d" * 16, "#cell=" + "c" * 16])
@pytest.mark.parametrize("width", [360, 768])
def test_nothing_is_wider_than_a_phone(
    opened: Callable[..., "Page"], fragment: str, width: int
) -> None:
    page = opened(fragment, width=width)
    page.wait_for_timeout(500)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    if not fragment:
        assert page.locator("#board td.top1").first.is_visible()
        assert page.locator("#board td.method a").first.is_visible()


def test_a_finger_finds_its_target(opened: Callable[..., "Page"]) -> None:
    page = opened(width=390, has_touch=True)
    for button in page.locator("#board button.pick:visible").all()[:3]:
        button.scroll_into_view_if_needed()
        box = button.bounding_box()
        assert box is not None
        middle, edge = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2 + 19
        hit = "([x, y]) => document.elementFromPoint(x, y)?.closest('.pick') !== null"
        assert page.evaluate(hit, [middle, edge])
    page.locator("#board button.pick").first.tap()
    assert page.locator("#tray").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_have_contrast(opened: Callable[..., "Page"], scheme: str) -> None:
    page = opened(color_scheme=scheme)
    ratios = page.evaluate(CONTRAST)
    assert min(ratios) >= 4.5
    assert len(ratios) > 100


def test_it_prints_light_without_its_controls(opened: Callable[..., "Page"]) -> None:
    page = opened(color_scheme="dark")
    drawn(page, 4)
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("#filters").is_hidden()
    assert page.locator("#accuracy .holder svg").is_visible()


def test_an_empty_page_says_what_to_do(opened: Callable[..., "Page"], tmp_path: Path) -> None:
    page = opened(file=written(tmp_path, []))
    assert "bench run -m experiment=demo" in page.locator("main").first.inner_text()


def test_notices_list_what_is_missing_and_left_out(
    opened: Callable[..., "Page"], tmp_path: Path
) -> None:
    write(Store(tmp_path), example("a" * 16, np.ones(4, bool)), np.ones(4, bool))
    (tmp_path / "cells" / "foreign").mkdir()
    missing = "bench run experiment=demo data.root=FOLDER/x"
    page = opened(file=written(tmp_path, [], missing=[missing]))
    page.get_by_text("1 cell of this experiment not run").click()
    page.locator("#notices li").nth(0).wait_for()
    assert page.locator("#notices li").all_inner_texts() == [missing]
    assert "FOLDER stands for folders of the machine" in page.locator("#notices").inner_text()
    page.get_by_text("1 record left out or in doubt").click()
    page.locator("#notices li").nth(1).wait_for()
    assert "foreign" in page.locator("#notices").inner_text()


def test_two_thousand_cells_load_in_time(opened: Callable[..., "Page"], tmp_path: Path) -> None:
    many(Store(tmp_path), 2000)
    file = written(tmp_path, [])
    assert file.stat().st_size < 12 * 2**20
    page = opened(file=file)
    assert page.locator("#count").inner_text() == "2,001 cells in 21 rows"
    loaded = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
    assert 0 < loaded < 1000 * LOAD_SECONDS
    drawn(page, 2)  # the others are empty: nothing is distilled, and no bits are chosen
    typed = page.evaluate(TYPE, "zeroq w4a4")
    assert page.locator("#count").inner_text() == "100 of 2,001 cells in 1 row"
    assert typed < 500


# Milliseconds until the table follows what was typed.
TYPE = """(text) => {
  const words = document.querySelector("#filters input");
  const start = performance.now();
  words.value = text;
  words.dispatchEvent(new Event("input"));
  return performance.now() - start;
}"""


CONTRAST = """() => {
  const channel = (value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const weights = [0.2126, 0.7152, 0.0722];
  const luminance = (color) =>
    weights.reduce((sum, weight, i) => sum + weight * channel(color[i] / 255), 0);
  const brush = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const parse = (color) => { // of any notation
    brush.clearRect(0, 0, 1, 1);
    brush.fillStyle = color;
    brush.fillRect(0, 0, 1, 1);
    return [...brush.getImageData(0, 0, 1, 1).data];
  };
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const color = parse(getComputedStyle(at).backgroundColor);
      if (color[3] === 255) return color;
    }
    return [255, 255, 255];
  };
  const hasText = (node) =>
    [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
  const shown = [...document.querySelectorAll("body *")].filter((node) => node.offsetParent);
  const texts = shown.filter((node) => !node.closest("svg") && hasText(node));
  return texts.map((node) => {
    const [a, b] = [luminance(parse(getComputedStyle(node).color)), luminance(behind(node))];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  });
}"""
