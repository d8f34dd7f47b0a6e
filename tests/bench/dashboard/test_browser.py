"""The dashboard in a real browser: what a reader clicks, types and sees.

Run by `make test-browser`. Every page must stay without a message in the console and without a
request to anything but itself.
"""

import base64
import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.stats import t

import bench.dashboard.document as collecting
from bench.cells.store import Store
from bench.cli import main
from bench.dashboard.document import make_document
from bench.dashboard.page import ASSETS
from bench.dashboard.page import page as page_text
from bench.data import scan
from bench.papers.published import Published
from bench.statistics.intervals import mean_and_spread, t_interval, wilson_interval
from bench.statistics.significance import (
    compare_cells,
    compare_seeds,
    discordant,
    mcnemar,
    paired_bootstrap,
    smallest_paired_difference,
    smallest_unpaired_difference,
)
from tests.bench.dashboard.browser import chromium
from tests.bench.dashboard.examples import config_of, example, many, write

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.browser

MARKUP = "<img src=x onerror=alert(1)><b>bold</b>"
LOAD_SECONDS = 2.0
ABOUT = {"title": "All results", "missing": [], "outputs": "", "version": "0"} | {
    "made_at": "2026-01-02T03:04:05+00:00"
}


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    with chromium() as started:
        yield started


def written(folder: Path, published: list[Published], **about: Any) -> Path:
    """Make a page of the results in `folder`; return its file."""
    store = Store(folder)
    found = store.inventory()
    document = make_document(store, found.results, published)
    document["warnings"] += found.left_out
    file = folder / "dashboard.html"
    file.write_text(page_text("All results", document | {"about": ABOUT | about}), "utf-8")
    return file


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of 61 cells on the digits, one with mixed precision, one failed, one of a paper."""
    folder = tmp_path_factory.mktemp("small")
    store = Store(folder)
    config = config_of("method=gaussian", "data.limit=100")
    named = {"fingerprint": scan(config["data"], "eval").fingerprint}
    many(store, 60, images=100, **named)
    right = np.arange(100) % 10 > 0
    layers = [{"layer": MARKUP, "bits": 4, "sensitivity": {"2": 0.5, "4": 0.1, "8": 0.001}}]
    layers.append({"layer": "fc", "bits": 8, "sensitivity": {"2": float("nan"), "4": 1.0, "8": 0}})
    mixed = {"size_mb": 1.0, "cost": 0.5, "frontier": [[1.0, 0.5], [2.0, 0.1]], "layers": layers}
    given = {"w_bits": "mixed", "group": MARKUP, "calibration_key": "c" * 16, "fp32_id": "f" * 16}
    given["quantizer"] = {"mean_bits": 4.0}
    write(store, example("d" * 16, right, evaluation=named, **given), right, config, mixed)
    write(store, example("c" * 16, method="real", reason=MARKUP, traceback=f"Traceback {MARKUP}"))
    paper = {"model": "resnet18", "data": "own", "method": "zeroq", "evaluation": {"set": "own"}}
    write(store, example("b" * 16, right, **paper), right)
    curve = folder / "cache" / "calibration" / ("c" * 16) / "curve.json"
    curve.parent.mkdir(parents=True)
    curve.write_text("[100.0, 10.0, 1.0]")
    number = {"paper": "zeroq", "table": "Table 1", "row": MARKUP, "w_bits": 4, "a_bits": 8}
    number |= {"model": "resnet18", "data": "own", "method": "zeroq", "value": 93.5}
    number |= {"weights": "pytorchcv"}
    # Of the two others the colours are full.
    numbers = [number, number | {"value": 100.0}, number | {"value": 50.0, "table": "Table 2"}]
    return written(folder, [Published(**one, kind="paper", source=MARKUP) for one in numbers])


@pytest.fixture
def opened(browser: "Browser", small: Path) -> Iterator[Callable[..., "Page"]]:
    """Open the page, and see at the end that nothing was said and nothing asked for."""
    messages: list[str] = []
    requests: set[str] = set()
    files: set[str] = set()

    def open(fragment: str = "", width: int = 1280, file: Path = small, **given: Any) -> "Page":
        page = browser.new_page(viewport={"width": width, "height": 800}, **given)
        page.set_default_timeout(5000)
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("request", lambda request: requests.add(request.url.partition("#")[0]))
        files.add(file.as_uri())
        page.goto(file.as_uri() + fragment)
        return page

    yield open
    assert messages == []
    assert {url for url in requests if not url.startswith(("data:", "blob:"))} == files


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


def test_a_cell_opens_by_keyboard_and_closes(opened: Callable[..., "Page"]) -> None:
    page = opened()
    page.get_by_label("Words").fill("0" * 15 + "0")
    link = page.locator("#board tbody a").first
    link.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#cell h1")
    assert page.locator("#overview").is_hidden()
    assert page.evaluate("document.activeElement.tagName") == "H1"
    text = page.locator("#cell").inner_text()
    assert "bench rerun 0000000000000000" in text
    assert "bench run model=resnet20 data=mnist5k method=gaussian" in text
    assert "0" * 64 in text
    for heading in ("Reproduce", "Weights", "Time", "Environment", "Recipe", "Where it was wrong"):
        assert page.get_by_role("heading", name=heading).count() == 1
    page.keyboard.press("Escape")
    page.wait_for_selector("#overview:not([hidden])")
    assert page.locator("#cell").is_hidden()
    assert page.evaluate("document.activeElement.getAttribute('href')") == "#cell=" + "0" * 16


def test_where_a_cell_was_wrong_by_hand(opened: Callable[..., "Page"]) -> None:
    page = opened("#cell=" + "d" * 16)
    page.wait_for_selector("canvas.map")
    assert "10 images of 100 wrong in the best class" in page.locator("#cell").inner_text()
    counts = [int(text) for text in page.locator(".tally b").all_inner_texts()]
    assert sum(counts) == 100
    page.get_by_text("The 10 images it got wrong").click()
    page.wait_for_selector(".files .index")
    listed = page.locator(".files .index").all_inner_texts()
    assert listed == [str(place) for place in range(0, 100, 10)]
    names = scan({"name": "mnist5k", "limit": 100}, "eval").files
    assert page.locator(".files li").first.inner_text() == f"0 {names[0]}"
    page.get_by_text("By class").click()
    page.locator("#cell table.grid").last.wait_for()
    wrong = page.locator("#cell table.grid td:nth-child(2)").all_inner_texts()
    assert len(wrong) == 10
    assert sum(int(text.split(" of ")[0]) for text in wrong) == 10
    assert sum(int(text.split(" of ")[1]) for text in wrong) == 100


def tallied(page: "Page") -> list[str]:
    page.wait_for_selector("canvas.map")
    return page.locator(".tally li").all_inner_texts()


def headers_by_class(page: "Page") -> list[str]:
    page.get_by_text("By class").click()
    page.locator("#cell table.grid").last.wait_for()
    return page.locator("#cell table.grid").last.locator("th").all_inner_texts()


def test_beside_the_float_network_there_are_four_kinds_by_hand(
    opened: Callable[..., "Page"], tmp_path: Path
) -> None:
    config = config_of("method=gaussian", "data.limit=10")
    named: dict[str, Any] = {"fingerprint": scan(config["data"], "eval").fingerprint}
    reference = np.array([1, 1, 1, 1, 1, 1, 1, 0, 0, 0], bool)
    right = np.array([1, 1, 1, 1, 0, 0, 0, 1, 0, 0], bool)
    of_float = example("f" * 16, reference, method="float", evaluation=named, fp32_id="f" * 16)
    write(Store(tmp_path), of_float, reference)
    cell = example("a" * 16, right, evaluation=named, fp32_id="f" * 16)
    write(Store(tmp_path), cell, right, config)
    page = opened("#cell=" + "a" * 16, file=written(tmp_path, []))
    assert tallied(page) == [
        "4 right, as the float network",
        "1 right, where the float network is wrong",
        "3 wrong, where the float network is right",
        "2 wrong, as the float network",
    ]
    assert headers_by_class(page) == ["class", "wrong", "wrong, %", "lost to quantization"]
    page.goto(page.url.replace("a" * 16, "f" * 16))
    page.get_by_role("heading", name="float").wait_for()
    assert tallied(page) == ["7 right", "3 wrong"]
    assert headers_by_class(page) == ["class", "wrong", "wrong, %"]


@pytest.mark.parametrize("missing", ["record", "bitmap", "share"])
def test_without_the_float_network_there_is_only_right_and_wrong(
    opened: Callable[..., "Page"], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    store, config = Store(tmp_path), config_of("method=gaussian", "data.limit=10")
    named: dict[str, Any] = {"fingerprint": scan(config["data"], "eval").fingerprint}
    right = np.arange(10) > 3
    write(store, example("a" * 16, right, evaluation=named, fp32_id="f" * 16), right, config)
    if missing != "record":
        write(store, example("f" * 16, right, method="float", evaluation=named), right)
    if missing == "bitmap":
        (store.folder("f" * 16) / "correct.npz").write_bytes(b"damaged")
    if missing == "share":
        monkeypatch.setattr(collecting, "BITMAP_BYTES", 4)
    page = opened("#cell=" + "a" * 16, file=written(tmp_path, []))
    assert tallied(page) == ["6 right", "4 wrong"]
    squares = page.locator("canvas.map")  # too flat to be met by a real mouse
    box = squares.bounding_box()
    assert box is not None
    place = {"clientX": box["x"] + 1, "clientY": box["y"] + box["height"] / 2}
    squares.dispatch_event("mousemove", place)
    assert re.search(r"image 0, .*: wrong$", page.locator("canvas.map + .note").inner_text())
    assert headers_by_class(page) == ["class", "wrong", "wrong, %"]
    page.get_by_text("The 4 images it got wrong").click()
    page.wait_for_selector(".files .index")
    assert page.locator(".files .index").all_inner_texts() == ["0", "1", "2", "3"]


@pytest.mark.parametrize(
    ("share", "limit", "why"),
    [
        (9, 10, "are left out, to keep this page small."),
        (10, 20, "are not on the machine that made this page."),
    ],
)
def test_why_images_have_no_names(
    opened: Callable[..., "Page"],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    share: int,
    limit: int,
    why: str,
) -> None:
    named = {"fingerprint": scan({"name": "mnist5k", "limit": 10}, "eval").fingerprint}
    right = np.arange(10) > 3
    cell = example("a" * 16, right, evaluation=named)
    write(Store(tmp_path), cell, right, config_of(f"data.limit={limit}"))
    monkeypatch.setattr(collecting, "NAMED_IMAGES", share)
    page = opened("#cell=" + "a" * 16, file=written(tmp_path, []))
    page.get_by_text("The 4 images it got wrong").click()
    page.wait_for_selector(".files .index")
    assert f"the names of the files {why}" in page.locator("#cell").inner_text()


def test_the_keyboard_goes_on_at_the_first_new_image(
    opened: Callable[..., "Page"], tmp_path: Path
) -> None:
    right = np.arange(300) >= 250
    write(Store(tmp_path), example("a" * 16, right), right)
    page = opened("#cell=" + "a" * 16, file=written(tmp_path, []))
    page.get_by_text("The 250 images it got wrong").click()
    page.get_by_role("button", name="Show 50 more").focus()
    page.keyboard.press("Enter")
    assert page.locator(".files li").count() == 250
    assert page.evaluate("document.activeElement.innerText").strip() == "200"


def test_what_stands_for_a_folder_is_said(opened: Callable[..., "Page"], tmp_path: Path) -> None:
    right = np.ones(4, bool)
    config = config_of("data=folder", "data.root=/home/me/x", "model.weights=/home/me/a.pt")
    write(Store(tmp_path), example("a" * 16, right), right, config)
    file = written(tmp_path, [], outputs="'paths.outputs=FOLDER/my results'")
    page = opened("#cell=" + "a" * 16, file=file)
    text = page.locator("#cell").inner_text()
    assert "model.weights=FOLDER/a.pt data.root=FOLDER" in text
    assert "FOLDER is where the images lie, or where the file of the weights lies." in text
    assert f"bench rerun {'a' * 16} 'paths.outputs=FOLDER/my results'" in text
    assert "FOLDER is where the folder of these results lies." in text


def test_a_failed_cell_says_why(opened: Callable[..., "Page"]) -> None:
    page = opened("#cell=" + "c" * 16)
    assert MARKUP in page.locator(".verdict").inner_text()
    page.get_by_text("Traceback").click()
    page.wait_for_selector("pre")
    assert page.locator("pre").inner_text() == f"Traceback {MARKUP}"


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


def test_the_map_of_mistakes_follows_the_theme_and_prints_light(
    opened: Callable[..., "Page"],
) -> None:
    def second_square() -> Any:
        address = page.evaluate("document.querySelector('canvas.map').toDataURL()")
        content = base64.b64decode(address.partition(",")[2])
        return Image.open(io.BytesIO(content)).convert("RGB").getpixel((1, 0))

    page = opened("#cell=" + "d" * 16, color_scheme="dark")
    page.wait_for_selector("canvas.map")
    right = {"light": (223, 227, 230), "dark": (43, 50, 58)}
    assert second_square() == right["dark"]
    page.locator("#theme").click()
    assert second_square() == right["light"]
    page.locator("#theme").click()
    assert second_square() == right["dark"]
    page.emulate_media(media="print", color_scheme="dark")
    for _ in range(40):  # the page hears of it a moment later
        if second_square() == right["light"]:
            break
        page.wait_for_timeout(50)
    assert second_square() == right["light"]


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


def until(page: "Page", condition: str, wanted: Any = True) -> None:
    """Wait for an expression to be `wanted`; the page itself may not evaluate texts."""
    for _ in range(100):
        if (found := page.evaluate(condition)) == wanted:
            return
        page.wait_for_timeout(50)
    assert found == wanted


def rows_of(page: "Page") -> int:
    return page.locator("#board tbody tr").count()


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
        sides.append(np.stack([store.correctness(r.id)["top1"] for r in found]))
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
    assert "no seed in common" in page.locator("#comparison").inner_text()
    page.goto(file.as_uri() + f"#a={'a' * 16}&b={'1' * 16}")
    assert "different images" in page.locator("#comparison").inner_text()
    page.goto(file.as_uri() + f"#a={'a' * 16}&b={'b' * 16}")
    assert "equal: A and B are right on the same images" in page.locator("#comparison").inner_text()


def marks(page: "Page", chart: str) -> "Locator":
    return page.locator(f"[data-chart={chart}] .mark-symbol path[aria-roledescription=point]")


def settled(page: "Page", count: int, chart: str = "accuracy") -> None:
    of = f"document.querySelectorAll('[data-chart={chart}] .mark-symbol path').length"
    until(page, of, count)


def test_filters_act_on_charts_and_are_in_the_address(opened: Callable[..., "Page"]) -> None:
    page = opened()
    settled(page, 21)
    choose(page, "method", "zeroq", "dsg")
    choose(page, "bits", "W8A8")
    settled(page, 2)
    settled(page, 2, chart="size")
    assert "method=zeroq&method=dsg&bits=W8A8" in page.url
    again = opened("#" + page.url.partition("#")[2])
    settled(again, 2)
    assert again.locator("#count").inner_text() == page.locator("#count").inner_text()
    again.locator("#board .expand").first.click()
    again.locator("#board tr.member a").first.click()
    again.wait_for_selector("#cell h1")
    assert "method=zeroq" in again.url
    again.keyboard.press("Escape")
    again.wait_for_selector("#overview:not([hidden])")
    assert again.locator("#count").inner_text() == page.locator("#count").inner_text()
    again.get_by_role("link", name="Papers", exact=True).click()
    assert "method=zeroq" in again.url
    again.go_back()
    again.wait_for_timeout(300)
    assert rows_of(again) == 2 + 3


def test_the_legend_hides_and_the_axis_fits_what_is_left(opened: Callable[..., "Page"]) -> None:
    def lowest() -> float:
        labels = page.locator("[data-chart=accuracy] .role-axis-label text").all_text_contents()
        return min(float(text) for text in labels if re.fullmatch(r"[\d.]+", text))

    page = opened("#bits=W8A8&bits=W4A4&q=resnet20")
    settled(page, 8)
    fitted = lowest()
    assert fitted > 40  # not from 0 on: nothing is near it
    page.locator("#legend").get_by_role("button", name="gaussian").click()
    settled(page, 6)
    assert "hide=gaussian" in page.url
    assert rows_of(page) == 8  # the legend is of the charts
    page.get_by_role("button", name="Show all").click()
    settled(page, 8)
    page.locator("#legend").get_by_role("button", name="dsg").dblclick()
    settled(page, 2)
    page.get_by_label("Scale of top-1").select_option("whole")
    page.wait_for_timeout(400)
    assert lowest() == 0
    page.get_by_label("Scale of top-1").select_option("errors")
    page.wait_for_timeout(400)
    settled(page, 2)
    assert "errors, % (log scale)" in page.locator("[data-chart=accuracy] .holder").inner_text()


def test_all_recipes_are_in_one_chart_or_in_panels(
    opened: Callable[..., "Page"], tmp_path: Path
) -> None:
    store, right = Store(tmp_path), np.arange(20) > 3
    for place, (recipe, method) in enumerate(product(("all_inputs", "dfq"), ("zeroq", "real"))):
        quantizer = {"sites": "all", "w_bits": 4, "a_bits": 8}
        quantizer |= {"w_granularity": "tensor", "fold": True} if recipe == "dfq" else {}
        write(store, example(f"{place}" * 16, right, method=method, quantizer=quantizer), right)
    page = opened(file=written(tmp_path, []))
    settled(page, 4)
    assert page.locator("[data-chart=accuracy] .panel-of").count() == 1
    places = marks(page, "accuracy").evaluate_all(
        "all => all.map((one) => one.getAttribute('transform'))"
    )
    assert len(set(places)) == 4
    shapes = marks(page, "accuracy").evaluate_all("all => all.map((one) => one.getAttribute('d'))")
    assert len(set(shapes)) == 2
    page.get_by_label("A panel each").select_option("recipe")
    page.locator("[data-chart=accuracy] .panel-of h3").nth(1).wait_for()
    assert page.locator("[data-chart=accuracy] h3").all_inner_texts() == ["all_inputs", "dfq"]
    page.get_by_label("Along the axis").select_option("recipe")
    page.get_by_label("A panel each").select_option("")
    until(page, "document.querySelectorAll('.panel-of h3').length", 0)
    settled(page, 4)
    assert "dfq" in page.locator("[data-chart=accuracy] .role-axis-label").first.text_content()


def test_a_colour_is_one_method_everywhere(
    opened: Callable[..., "Page"], small: Path, tmp_path: Path
) -> None:
    def dots(page: "Page") -> dict[str, str]:
        found = page.locator("#board tbody tr:not(.heading)").evaluate_all(
            "all => all.map((row) => [row.querySelector('.expand, a').textContent,"
            " getComputedStyle(row.querySelector('.dot')).backgroundColor])"
        )
        assert len({tuple(pair) for pair in found}) == len(dict(found))
        return dict(found)

    def drawn_in(page: "Page", chart: str) -> set[str]:
        fills = "all => all.map((one) => getComputedStyle(one).fill)"
        return set(page.locator(f"[data-chart={chart}] .mark-symbol path").evaluate_all(fills))

    page = opened("#q=resnet20&status=done")
    settled(page, 21)
    colours = dots(page)
    assert len(set(colours.values())) == len(colours) >= 5
    legend = page.locator("#legend .chip").evaluate_all(
        "all => all.map((one) => [one.textContent,"
        " getComputedStyle(one.querySelector('path')).fill])"
    )
    assert {name: colours[name] for name, _ in legend} == dict(legend)
    assert drawn_in(page, "accuracy") == {c for name, c in colours.items() if name != "float"}
    assert drawn_in(page, "size") <= set(colours.values())
    right = np.arange(10) > 3
    for id, method in (("a", "zeroq"), ("b", "own_method"), ("c", "dsg")):
        write(Store(tmp_path), example(id * 16, right, method=method), right)
    other = dots(opened(file=written(tmp_path, [])))
    assert {name: colours[name] for name in ("zeroq", "dsg")} == {
        name: other[name] for name in ("zeroq", "dsg")
    }


def saved(page: "Page", place: str, kind: str) -> Path:
    with page.expect_download() as download:
        page.locator(place).get_by_role("button", name=f"Save as {kind}").click()
    return Path(download.value.path())


def test_what_is_shown_is_saved(opened: Callable[..., "Page"]) -> None:
    page = opened("#method=zeroq&method=dsg&q=resnet20&sort=bits")
    settled(page, 10)
    table = pd.read_csv(saved(page, "#view", "CSV"))
    assert table["bits"].tolist() == column(page, "bits")
    assert [f"{value:.2f}" for value in table["top-1, %"]] == [f"{v:.2f}" for v in top1(page)]
    assert set(table["method"]) == {"zeroq", "dsg"}
    chart = pd.read_csv(saved(page, "[data-chart=accuracy]", "CSV"))
    assert sorted(chart["top-1, %"]) == pytest.approx(sorted(table["top-1, %"]))
    picture = saved(page, "[data-chart=accuracy]", "SVG").read_text("utf-8")
    root = ET.fromstring(picture)
    assert "var(" not in picture
    assert len(re.findall(r'aria-roledescription="point"', picture)) == 10
    texts = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"dsg", "zeroq", "W8A8"} <= set(texts)
    assert any((text or "").startswith("Accuracy: resnet20 on mnist5k") for text in texts)
    with Image.open(saved(page, "[data-chart=size]", "PNG")) as image:
        assert image.width > 1500
        pixels = np.asarray(image.convert("RGB"))
    for colour in ((0, 128, 94), (163, 71, 138)):  # of zeroq and dsg, light
        assert (pixels == colour).all(axis=2).any()


# Pairs of texts of one chart whose boxes cover each other.
OVERPRINTED = """() => [...document.querySelectorAll(".holder svg")].flatMap((svg) => {
  const texts = [...svg.querySelectorAll("text")].filter((text) => text.textContent.trim());
  const boxes = texts.map((text) => text.getBoundingClientRect());
  return texts.flatMap((text, i) => texts.slice(i + 1).flatMap((other, j) => {
    const [a, b] = [boxes[i], boxes[i + 1 + j]];
    const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    return across > 1 && down > 3 ? [`${text.textContent} / ${other.textContent}`] : [];
  }));
})"""

# Texts that leave the chart that they are in.
CUT = """() => [...document.querySelectorAll(".holder svg")].flatMap((svg) => {
  const frame = svg.getBoundingClientRect();
  return [...svg.querySelectorAll("text")].filter((text) => {
    const box = text.getBoundingClientRect();
    return box.width && (box.left < frame.left - 1 || box.right > frame.right + 1);
  }).map((text) => text.textContent);
})"""


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of 32 cells: eight bit-widths, four methods, one of them with a long name."""
    store, right = Store(tmp_path_factory.mktemp("crowded")), np.arange(100) > 3
    widths = ((8, 8), (6, 6), (5, 5), (4, 8), (8, 4), (4, 4), (3, 3), (2, 2))
    methods = ("zeroq", "gaussian", "a_method_with_a_very_long_name_of_its_own", "real")
    for place, ((w, a), method) in enumerate(product(widths, methods)):
        quantizer = {"w_bits": w, "a_bits": a, "sites": "all" if method == "real" else "relu"}
        given = {"w_bits": w, "a_bits": a, "size_mb": w / 31 + place / 1000}
        cell = example(f"{place:016x}", right, method=method, quantizer=quantizer, **given)
        write(store, cell, right)
    return written(store.root, [])


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_labels_do_not_overprint(opened: Callable[..., "Page"], crowded: Path, width: int) -> None:
    for along in ("bits", "recipe", "method"):
        page = opened(f"#along={along}", width=width, file=crowded)
        settled(page, 32)
        settled(page, 32, chart="size")
        assert page.evaluate(OVERPRINTED) == []
        assert page.evaluate(CUT) == []
        page.close()


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
