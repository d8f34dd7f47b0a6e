"""Pictures of what a generator made, embedded in the page."""

from pathlib import Path

import numpy as np
from PIL import Image

from bench.cells.store import Store
from bench.dashboard.pictures import add_generated, address, opened
from tests.bench.dashboard.examples import example
from tests.bench.dashboard.test_calibrations import opened as embedded


def _store(folder: Path, *ids: str) -> Store:
    store = Store(folder)
    pixels = np.random.default_rng(0).integers(0, 256, (96, 256, 3), dtype=np.uint8)
    for each in ids:
        store.folder(each).mkdir(parents=True)
        Image.fromarray(pixels).save(store.folder(each) / "generated.png")
    return store


def test_cells_with_a_generator_have_its_images(tmp_path: Path) -> None:
    store, cells = _store(tmp_path, "a"), [{}, {}]
    add_generated(cells, store, [example("a"), example("b")], 10**6)
    assert embedded({"picture": cells[0]["generated"]}).size == (256, 96)
    assert cells[1] == {}


def test_what_is_beyond_the_budget_is_left_out(tmp_path: Path) -> None:
    store, cells = _store(tmp_path, "a", "b"), [{}, {}]
    add_generated(cells, store, [example("a"), example("b")], 10**6)
    again = [{}, {}]
    add_generated(again, store, [example("a"), example("b")], len(cells[0]["generated"]))
    assert again == [cells[0], {"generated": False}]


def test_a_damaged_picture_is_none(tmp_path: Path) -> None:
    store, cells = _store(tmp_path, "a"), [{}]
    (store.folder("a") / "generated.png").write_bytes(b"\x89PNG damaged")
    add_generated(cells, store, [example("a")], 10**6)
    assert cells == [{}]


def test_large_pictures_become_small(tmp_path: Path) -> None:
    picture = opened(_store(tmp_path, "a").folder("a") / "generated.png")
    assert picture is not None
    assert embedded({"picture": address(picture, 64)}).size == (64, 24)
