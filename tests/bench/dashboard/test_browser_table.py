"""The table of the dashboard in a real browser: order, filters, rows of seeds, headings."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bench.cells.store import Store
from bench.statistics.intervals import mean_and_spread, t_interval, wilson_interval
from tests.bench.dashboard.examples import example, write
from tests.bench.dashboard.pages import choose, column, rows_of, top1, written

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser


def test_sorting_by_mouse_and_by_keyboard(opened: Callable[..., "Page"]) -> None:
    page = opened()
    header = page.locator("#board th[data-key=top1]")
    assert header.get_attribute("aria-sort") == "descending"
    assert top1(page) == sorted(top1(page), reverse=True)
    header.get_by_role("button").click()
    assert header.get_attribute("aria-sort") == "ascending"
    assert top1(page) == sorted(top1(page))
    page.locator("#board th[data-key=bits] button").focus()
    page.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "none"
    assert page.locator("#board th[data-key=bits]").get_attribute("aria-sort") == "ascending"
    assert column(page, "bits")[:3] == ["W4A4"] * 3


def test_what_has_no_value_comes_last_either_way(opened: Callable[..., "Page"]) -> None:
    page = opened()
    assert column(page, "top1")[-1] == "failed"
    page.locator("#board th[data-key=top1] button").click()
    assert column(page, "top1")[-1] == "failed"


def test_filtering_by_words_and_by_choice(opened: Callable[..., "Page"]) -> None:
    page = opened()
    assert page.locator("#count").inner_text() == "64 cells in 24 rows"
    assert page.locator("#board tbody tr").count() == 24
    page.get_by_label("Words").fill("ZEROQ w4a8")
    # three seeds, and the cell of a paper
    assert page.locator("#count").inner_text() == "4 of 64 cells in 2 rows"
    assert set(column(page, "bits")) == {"W4A8"}
    page.get_by_label("Words").fill("no such words")
    assert page.locator("#count").inner_text() == "0 of 64 cells"
    page.get_by_label("Words").fill("")
    choose(page, "bits", "W8A8", "W4A4")
    choose(page, "method", "dsg")
    assert page.locator("#count").inner_text() == "6 of 64 cells in 2 rows"
    page.get_by_role("button", name="Clear filters").click()
    assert page.locator("#count").inner_text() == "64 cells in 24 rows"


def test_all_rows_are_a_button_away(opened: Callable[..., "Page"]) -> None:
    page = opened("#rows=cells")
    page.get_by_role("button", name="Show all").click()
    assert page.locator("#board tbody tr").count() == 64
    assert page.locator("#more button").count() == 0


@pytest.mark.parametrize("button", ["Show 39 more", "Show all 64"])
def test_the_keyboard_goes_on_at_the_first_new_row(
    opened: Callable[..., "Page"], button: str
) -> None:
    page = opened("#rows=cells")
    page.get_by_role("button", name=button).focus()
    page.keyboard.press("Enter")
    assert page.locator("#board tbody tr").count() == 64
    links = page.locator("#board tbody a").evaluate_all("all => all.map((one) => one.hash)")
    assert page.evaluate("document.activeElement.hash") == links[25]


def test_seeds_are_one_row_that_opens(opened: Callable[..., "Page"], small: Path) -> None:
    page = opened("#bits=W4A8&method=zeroq&q=resnet20")
    row = page.locator("#board tbody tr").first
    found = [r for r in Store(small.parent).results() if (r.method, r.bits) == ("zeroq", "W4A8")]
    values = [r.top1 for r in found if r.model == "resnet20" and r.top1 is not None]
    assert len(values) == 3
    middle, spread = mean_and_spread(values)
    assert row.locator("td.top1").inner_text().split() == [
        f"{middle:.2f}",
        "\u00b1",
        f"{spread:.2f}",
    ]
    low, high = t_interval(values)
    said = row.locator("td.top1 .interval").get_attribute("title")
    assert said == f"95 % t-interval of 3 seeds: {low:.2f} to {high:.2f} %"
    assert row.locator("td.seed").inner_text() == "0\u20132"
    row.get_by_role("button", name="zeroq", exact=True).click()
    assert rows_of(page) == 4
    assert sorted(top1(page)[1:]) == pytest.approx(sorted(values), abs=0.005)
    page.locator("#board .expand").first.click()
    assert rows_of(page) == 1
    page.get_by_label("Rows").select_option("cells")
    assert rows_of(page) == 3


def test_what_two_and_one_seed_say(opened: Callable[..., "Page"], tmp_path: Path) -> None:
    right = np.arange(10) > 1
    for id, seed, bits in (("a", 0, 4), ("b", 1, 4), ("c", 0, 8)):
        write(Store(tmp_path), example(id * 16, right, seed=seed, w_bits=bits), right)
    page = opened(file=written(tmp_path, []))
    said = page.locator("#board .interval").evaluate_all("all => all.map((one) => one.title)")
    low, high = wilson_interval(8, 10)
    one = f"95 % Wilson interval of its images: {low:.2f} to {high:.2f} %"
    assert sorted(said) == [one, "two seeds: no interval"]


def test_rows_are_grouped_under_headings_that_close(opened: Callable[..., "Page"]) -> None:
    page = opened()
    page.get_by_label("Group by").select_option("bits")
    headings = page.locator("#board tr.heading")
    texts = headings.all_inner_texts()
    assert len(texts) == 7  # five bit-widths, the mixed one, and the float network
    assert any(re.fullmatch(r"W8A8\s*4 rows, 12 cells, top-1 [\d.]+ to [\d.]+ %", t) for t in texts)
    before = rows_of(page)
    page.locator("#board tr.heading").get_by_role("button", name="W8A8").click()
    assert rows_of(page) == before - 4
    page.reload()
    assert headings.count() == 7  # it is in the address
