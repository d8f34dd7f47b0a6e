"""Charts in a real browser: what acts on them, what they mean, and how they are saved."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bench.cells.store import Store
from tests.bench.dashboard.examples import example, write
from tests.bench.dashboard.pages import (
    choose,
    column,
    marks,
    rows_of,
    settled,
    top1,
    until,
    written,
)

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser


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
