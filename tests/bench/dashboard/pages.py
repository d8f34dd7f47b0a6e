"""Made-up results as a page, and what a test reads off it in a browser."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cells.store import Store
from bench.dashboard.document import make_document
from bench.dashboard.page import page as page_text
from bench.papers.published import Published

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page


MARKUP = "<img src=x onerror=alert(1)><b>bold</b>"


ABOUT = {"title": "All results", "missing": [], "outputs": "", "version": "0"} | {
    "made_at": "2026-01-02T03:04:05+00:00"
}


def written(folder: Path, published: list[Published], **about: Any) -> Path:
    """Make a page of the results in `folder`; return its file."""
    store = Store(folder)
    found = store.inventory()
    document = make_document(store, found.results, published)
    document["warnings"] += found.left_out
    file = folder / "dashboard.html"
    file.write_text(page_text("All results", document | {"about": ABOUT | about}), "utf-8")
    return file


def column(page: "Page", name: str) -> list[str]:
    return page.locator(f"#board tbody td.{name}").all_inner_texts()


def top1(page: "Page") -> list[float]:
    numbers = [re.match(r"[\d.]+", text) for text in column(page, "top1")]
    return [float(number[0]) for number in numbers if number]


def choose(page: "Page", field: str, *values: str) -> None:
    """Tick `values` in the list of a filter."""
    page.locator(f"details.choice[data-key={field}] summary").click()
    for value in values:
        page.locator(f"details.choice[data-key={field}]").get_by_label(value, exact=True).check()
    page.keyboard.press("Escape")


def drawn(page: "Page", count: int) -> None:
    page.locator("[data-drawn]").nth(count - 1).wait_for()
    assert page.locator("[data-drawn]").count() == count


def until(page: "Page", condition: str, wanted: Any = True) -> None:
    """Wait for an expression to be `wanted`; the page itself may not evaluate texts."""
    for _ in range(100):
        if (found := page.evaluate(condition)) == wanted:
            return
        page.wait_for_timeout(50)
    assert found == wanted


def rows_of(page: "Page") -> int:
    return page.locator("#board tbody tr").count()


def marks(page: "Page", chart: str) -> "Locator":
    return page.locator(f"[data-chart={chart}] .mark-symbol path[aria-roledescription=point]")


def settled(page: "Page", count: int, chart: str = "accuracy") -> None:
    of = f"document.querySelectorAll('[data-chart={chart}] .mark-symbol path').length"
    until(page, of, count)
