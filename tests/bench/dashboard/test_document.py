import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bench.dashboard.document as module
from bench.cells.store import Store
from bench.dashboard.document import make_document
from bench.data import scan
from tests.bench.dashboard.examples import config_of, example, many, write
from tests.test_imports import imported

RIGHT = np.array([True] * 7 + [False] * 3)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def collected(store: Store) -> dict[str, Any]:
    document = make_document(store, store.inventory().results, [])
    json.dumps(document)
    return document


def test_a_cell_has_its_numbers_its_card_and_its_command(store: Store) -> None:
    write(store, example("a" * 16, RIGHT), RIGHT, config_of("method=gaussian", "quant.w_bits=4"))
    document = collected(store)
    (cell,) = document["cells"]
    assert (cell["top1"], cell["correct"], cell["total"], cell["bits"]) == (70.0, 7, 10, "W4A8")
    assert (round(cell["low"], 2), round(cell["high"], 2)) == (39.68, 89.22)
    assert (cell["method_label"], cell["recipe"]) == ("gaussian", "zeroq_release")
    assert cell["command"].startswith("bench run model=resnet20 data=mnist5k method=gaussian ")
    assert document["values"][cell["card"]["preprocessing"]] == {"size": 32}
    assert cell["bitmap"] == "/gA="
    assert [group["cells"] for group in document["groups"]] == [["a" * 16]]
    assert document["contexts"][0]["label"] == "resnet20 on mnist5k"
    assert document["warnings"] == []


def test_recipes_that_are_equal_are_there_once(store: Store) -> None:
    many(store, 20, images=16)
    document = collected(store)
    assert len(document["cells"]) == 21
    texts = [json.dumps(value, sort_keys=True) for value in document["values"]]
    assert len(set(texts)) == len(texts) < 50


def test_failed_and_skipped_cells_are_there_with_their_reasons(store: Store) -> None:
    write(store, example("a" * 16, reason="out of memory", traceback="Traceback ..."))
    write(store, example("b" * 16, status="skipped", reason="no BatchNorm"))
    failed, skipped = collected(store)["cells"]
    assert (failed["status"], failed["reason"]) == ("failed", "out of memory")
    assert (skipped["status"], skipped["command"], skipped["top1"]) == ("skipped", None, None)


def test_a_record_without_recipe_or_config_is_shown(store: Store) -> None:
    write(store, example("a" * 16, RIGHT, recipe={}), RIGHT)
    (store.folder("a" * 16) / "config.yaml").write_text("- no\n- config")
    (cell,) = collected(store)["cells"]
    assert (cell["recipe"], cell["command"], cell["card"]) == ("", None, {})


def test_a_bitmap_that_is_not_the_records_is_named_and_left_out(store: Store) -> None:
    write(store, example("a" * 16, RIGHT), ~RIGHT)
    document = collected(store)
    assert "bitmap" not in document["cells"][0]
    assert (
        "has 3 (top-5: 10) of 10 images right and its record 7 (10) of 10"
        in document["warnings"][0]
    )


def test_bitmaps_and_names_stop_at_their_share(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for id in "ab":
        write(store, example(id * 16, RIGHT), RIGHT, config_of("data.limit=10"))
    monkeypatch.setattr(module, "BITMAP_BYTES", 4)
    monkeypatch.setattr(module, "NAMED_IMAGES", 9)
    monkeypatch.setattr(module, "image_set", lambda *_: 1 / 0)  # not even looked for
    document = collected(store)
    assert ["bitmap" in cell for cell in document["cells"]] == [True, False]
    assert document["images"] == {"e" * 64: None}


def test_names_of_a_failed_cells_images_have_the_same_share(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    fingerprint = scan({"name": "mnist5k", "limit": 10}, "eval").fingerprint
    failed = example("a" * 16, evaluation={"fingerprint": fingerprint})
    write(store, failed, config=config_of("data.limit=10"))
    monkeypatch.setattr(module, "NAMED_IMAGES", 9)
    assert collected(store)["images"] == {fingerprint: None}
    monkeypatch.setattr(module, "NAMED_IMAGES", 10)
    assert len(collected(store)["images"][fingerprint]["files"]) == 10


def test_images_that_are_not_here_are_not_listed(store: Store) -> None:
    write(store, example("a" * 16, RIGHT), RIGHT, config_of("data.limit=10"))
    assert collected(store)["images"] == {}


def test_cells_of_other_candidates_or_products_are_no_seeds_of_each_other(store: Store) -> None:
    for id, candidates in (("a", [2, 4, 8]), ("b", [4, 8])):
        budget = {"mean_bits": 6.0, "w_candidates": candidates}
        write(store, example(id * 16, RIGHT, w_bits="mixed", quantizer=budget), RIGHT)
    for id, seed in (("c", 0), ("d", 1)):
        write(store, example(id * 16, RIGHT, seed=seed, matrix_products="tf32"), RIGHT)
    write(store, example("e" * 16, RIGHT, seed=2), RIGHT)
    groups = {tuple(g["cells"]): (g["recipe"], g["bits"]) for g in collected(store)["groups"]}
    assert groups == {
        ("a" * 16,): ("zeroq_release", "MP6/A8"),
        ("b" * 16,): ("zeroq_release, w_candidates [4, 8]", "MP6/A8"),
        ("c" * 16, "d" * 16): ("zeroq_release, matrix_products tf32", "W4A8"),
        ("e" * 16,): ("zeroq_release", "W4A8"),
    }


def test_a_configuration_that_names_no_cell_costs_only_the_command(store: Store) -> None:
    config = config_of("data.limit=10")
    fingerprint = scan(config["data"], "eval").fingerprint
    config = config | {"quant": config["quant"] | {"w_candidates": 5}}
    write(store, example("a" * 16, RIGHT, evaluation={"fingerprint": fingerprint}), RIGHT, config)
    document = collected(store)
    (cell,) = document["cells"]
    assert (cell["command"], cell["top1"], cell["bitmap"]) == (None, 70.0, "/gA=")
    assert len(document["images"][fingerprint]["files"]) == 10
    (warning,) = document["warnings"]
    start = f"FOLDER/cells/{'a' * 16}/config.yaml names no cell, so there is no command for it: "
    assert warning.startswith(start)


def test_folders_of_the_machine_are_in_no_reason_and_no_traceback(store: Store) -> None:
    said = {
        "reason": "data.root='/home/me/images/val' is not a folder",
        "traceback": 'File "/home/me/bench/models/zoo.py", line 1\nFile "~/x/own.py", line 2',
    }
    write(store, example("a" * 16, **said))
    (cell,) = collected(store)["cells"]
    assert cell["reason"] == "data.root='FOLDER/val' is not a folder"
    assert cell["traceback"] == 'File "FOLDER/models/zoo.py", line 1\nFile "FOLDER/own.py", line 2'


def test_images_are_looked_for_where_any_cell_had_them(store: Store) -> None:
    fingerprint = scan({"name": "mnist5k", "limit": 10}, "eval").fingerprint
    for id, limit in (("a", 20), ("b", 20), ("c", 10)):
        result = example(id * 16, RIGHT, evaluation={"fingerprint": fingerprint})
        write(store, result, RIGHT, config_of(f"data.limit={limit}"))
    assert len(collected(store)["images"][fingerprint]["files"]) == 10


def test_contexts_are_told_apart_by_what_differs(store: Store) -> None:
    write(store, example("a" * 16, RIGHT), RIGHT)
    write(store, example("b" * 16, RIGHT[:5]), RIGHT[:5])
    other = {"fingerprint": "1" * 64}
    write(store, example("c" * 16, RIGHT[:5], evaluation=other), RIGHT[:5])
    write(store, example("d" * 16, RIGHT, evaluation=other, weights_sha256="9" * 64), RIGHT)
    labels = [context["label"] for context in collected(store)["contexts"]]
    assert len(set(labels)) == 3
    assert all(label.startswith("resnet20 on mnist5k, ") for label in labels)
    # "a" and "b" say the same images; numbers of images are no part of a context
    assert labels[0].split(", ")[1] == "10 images"


def test_mixed_precision_is_read_from_its_file(store: Store) -> None:
    layers = [{"layer": "conv", "bits": 4, "sensitivity": {"4": 0.5}}]
    said = {"size_mb": 1.0, "cost": 0.5, "frontier": [[1.0, 0.5]], "layers": layers}
    write(store, example("a" * 16, RIGHT), RIGHT, mixed=said)
    document = collected(store)
    assert document["cells"][0]["layers"]["bits"] == [4]
    assert document["sensitivities"] == [[["conv", {"4": 0.5}]]]


def test_the_course_of_a_training_is_read_from_its_file(store: Store) -> None:
    said = {"key": "k", "epochs": [{"epoch": 1, "loss": 0.5}]}
    write(store, example("a" * 16, RIGHT), RIGHT, training=said)
    write(store, example("b" * 16, RIGHT), RIGHT)
    trained, other = collected(store)["cells"]
    panels = [{"title": "loss", "lines": [["", [[1.0, 0.5]]]], "targets": []}]
    assert trained["training"] == {"panels": panels}
    assert "training" not in other


def test_nothing_measured_is_an_empty_page(store: Store) -> None:
    assert collected(store)["cells"] == []


def test_no_torch_and_no_account_is_needed() -> None:
    assert imported("import bench.commands.dashboard, bench.dashboard.page") <= {"hydra"}


def test_cells_of_detection_have_the_numbers_of_their_task(store: Store) -> None:
    known: dict[str, Any] = {"task": "detection", "status": "done", "model": "tiny", "classes": 3}
    known |= {"map": 61.5, "map_50": 80.0, "fp32_map": 63.0, "fp32_top1": None}
    known |= {"boxes": 40, "objects": 31, "total": 10, "ci_low": 55.0, "ci_high": 66.0}
    write(store, example("a" * 16, **known))
    write(store, example("b" * 16, **known | {"map": 62.5, "seed": 1}))
    write(store, example("c" * 16, RIGHT), RIGHT)
    document = collected(store)
    first, _, other = document["cells"]
    assert (first["map"], first["fp32_map"], first["boxes"]) == (61.5, 63.0, 40)
    assert "bitmap" not in first and "task" not in other and "map" not in other
    assert [group["mean"] for group in document["groups"]] == [62.0, 70.0]
    of_boxes, of_labels = document["contexts"]
    assert (of_boxes["task"], of_boxes["fp32_map"]) == ("detection", 63.0)
    assert "task" not in of_labels and of_labels["fp32_top1"] == 99.0
    assert document["warnings"] == []
