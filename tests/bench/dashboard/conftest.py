"""A browser, and a page that must stay without a message and without a request."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from bench.cells.store import Store
from bench.data import scan
from bench.papers.published import Published
from tests.bench.dashboard.browser import chromium
from tests.bench.dashboard.examples import config_of, example, many, write
from tests.bench.dashboard.pages import MARKUP, written

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    with chromium() as started:
        yield started


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
    gates = {MARKUP: {"weight": {"4": 0.75, "8": 0.25}, "channels": 0.5}}
    epochs = [{"epoch": e, "loss": 1 / e, "curves": {"size": [4.0, 3.0]}} for e in (1, 2, 3)]
    epochs = [epoch | {"targets": {"size": 2.5}, "gates": gates} for epoch in epochs]
    course = {"key": "k", "epochs": epochs}
    write(store, example("d" * 16, right, evaluation=named, **given), right, config, mixed, course)
    Image.new("RGB", (256, 96), "grey").save(store.folder("d" * 16) / "generated.png")
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
        page.set_default_timeout(30_000)
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("request", lambda request: requests.add(request.url.partition("#")[0]))
        files.add(file.as_uri())
        page.goto(file.as_uri() + fragment)
        return page

    yield open
    assert messages == []
    assert {url for url in requests if not url.startswith(("data:", "blob:"))} == files
