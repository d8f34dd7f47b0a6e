"""The page of one cell in a real browser: what it is, and where it was wrong."""

import base64
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

import bench.dashboard.document as collecting
from bench.cells.store import Store
from bench.data import scan
from tests.bench.dashboard.examples import config_of, example, write
from tests.bench.dashboard.pages import (
    MARKUP,
    written,
)

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser


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


def test_what_a_generator_made_is_shown(opened: Callable[..., "Page"]) -> None:
    page = opened("#cell=" + "d" * 16)
    panel = page.locator("#cell section, #cell .panel").filter(has_text="Generated images")
    picture = panel.locator("img").first
    assert picture.evaluate("picture => picture.naturalWidth") == 256
    assert (picture.get_attribute("alt") or "").startswith("Images that the generator of ")
    page = opened("#cell=" + "0" * 16)
    assert page.get_by_role("heading", name="Generated images").count() == 0


def test_the_course_of_a_training_is_shown(opened: Callable[..., "Page"]) -> None:
    page = opened("#cell=" + "d" * 16)
    heading = page.get_by_role("heading", name="Training", exact=True)
    panel = page.locator("#cell .panel").filter(has=heading)
    panel.scroll_into_view_if_needed()
    page.wait_for_function(
        "document.querySelectorAll('#cell .holder').length ==="
        " document.querySelectorAll('#cell .holder[data-drawn]').length"
    )
    assert panel.locator(".holder").count() == 3  # the loss, the size and the gates
    assert panel.locator(".holder").nth(1).locator("svg .mark-rule.role-mark line").count() == 1
    fields = panel.locator(".holder").nth(2).locator("svg .mark-rect.role-mark path")
    shades = [fields.nth(n).get_attribute("opacity") for n in range(fields.count())]
    assert [round(float(shade or 1), 2) for shade in shades] == [0.76, 0.28, 0.52]
    panel.get_by_text("The same as a table").click()
    rows = panel.locator("tbody tr").all_inner_texts()
    assert [row.split("\t") for row in rows] == [
        [MARKUP, gate, probability]
        for gate, probability in (("weight 4", "0.75"), ("weight 8", "0.25"), ("channels", "0.5"))
    ]
    page = opened("#cell=" + "0" * 16)
    assert page.get_by_role("heading", name="Training", exact=True).count() == 0


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


def test_a_warning_is_beside_the_number(opened: Callable[..., "Page"], tmp_path: Path) -> None:
    right = np.arange(10) > 3
    write(Store(tmp_path), example("a" * 16, right, warnings=["half of it is float"]), right)
    page = opened(file=written(tmp_path, []))
    assert page.locator("#board .warned").get_attribute("title") == "half of it is float"
    page.locator("#board tbody a").click()
    assert page.locator("#cell .warning").inner_text() == "Warning: half of it is float"
