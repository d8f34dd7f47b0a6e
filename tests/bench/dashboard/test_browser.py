"""The dashboard in a real browser: what a reader clicks, types and sees.

Run by `make test-browser`. Every page must stay without a message in the console and without a
request to anything but itself.
"""

import base64
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

import bench.dashboard.document as collecting
from bench.cells.store import Store
from bench.dashboard.document import make_document
from bench.dashboard.page import page as page_text
from bench.data import scan
from bench.papers.published import Published
from tests.bench.dashboard.browser import chromium
from tests.bench.dashboard.examples import config_of, example, many, write

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

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
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("request", lambda request: requests.add(request.url.partition("#")[0]))
        files.add(file.as_uri())
        page.goto(file.as_uri() + fragment)
        return page

    yield open
    assert messages == []
    assert {url for url in requests if not url.startswith("data:")} == files


def column(page: "Page", name: str) -> list[str]:
    return page.locator(f"#board tbody td.{name}").all_inner_texts()


def top1(page: "Page") -> list[float]:
    return [float(text) for text in column(page, "top1") if re.match(r"[\d.]+", text)]


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
    page.get_by_role("button", name="Show all").click()
    assert column(page, "top1")[-1] == "failed"
    page.locator("#board th[data-key=top1] button").click()
    page.get_by_role("button", name="Show all").click()
    assert column(page, "top1")[-1] == "failed"


def test_filtering_by_words_and_by_choice(opened: Callable[..., "Page"]) -> None:
    page = opened()
    assert page.locator("#count").inner_text() == "64 cells"
    assert page.locator("#board tbody tr").count() == 25
    page.get_by_label("Words").fill("ZEROQ w4a8")
    # three seeds, and the cell of a paper
    assert page.locator("#count").inner_text() == "4 of 64 cells"
    assert set(column(page, "bits")) == {"W4A8"}
    page.get_by_label("Words").fill("no such words")
    assert page.locator("#count").inner_text() == "0 of 64 cells"
    page.get_by_label("Words").fill("")
    page.locator("#filters").get_by_label("Bits").select_option("W8A8")
    page.locator("#filters").get_by_label("Method").select_option("dsg")
    assert page.locator("#count").inner_text() == "3 of 64 cells"
    page.get_by_role("button", name="Clear").click()
    assert page.locator("#count").inner_text() == "64 cells"


def test_all_rows_are_a_button_away(opened: Callable[..., "Page"]) -> None:
    page = opened()
    page.get_by_role("button", name="Show all").click()
    assert page.locator("#board tbody tr").count() == 64
    assert page.locator("#more button").count() == 0


@pytest.mark.parametrize("button", ["Show 39 more", "Show all 64"])
def test_the_keyboard_goes_on_at_the_first_new_row(
    opened: Callable[..., "Page"], button: str
) -> None:
    page = opened()
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
    assert page.locator("#bits svg").count() == 1
    page.locator("#bits summary").click()
    rows = page.locator("#bits table.grid tbody tr")
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
    assert page.locator("#bits svg").is_visible()


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


def test_two_thousand_cells_load_in_time(opened: Callable[..., "Page"], tmp_path: Path) -> None:
    many(Store(tmp_path), 2000)
    file = written(tmp_path, [])
    assert file.stat().st_size < 12 * 2**20
    page = opened(file=file)
    assert page.locator("#count").inner_text() == "2,001 cells"
    loaded = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
    assert 0 < loaded < 1000 * LOAD_SECONDS
    drawn(page, 2)  # the others are empty: nothing is distilled, and no bits are chosen
    typed = page.evaluate(TYPE, "zeroq w4a4")
    assert page.locator("#count").inner_text() == "100 of 2,001 cells"
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
