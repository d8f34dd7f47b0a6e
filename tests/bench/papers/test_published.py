"""The published numbers: complete, as printed, and refused when malformed."""

import json
from collections import Counter
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
import yaml

from bench.papers.citations import paper_names
from bench.papers.published import (
    REFERENCES,
    Published,
    load_published,
    printable,
    select,
)
from models.errors import BenchError
from tests.test_imports import imported

SCHEMA = Path(__file__).parents[3] / "docs" / "published.schema.json"
REGENERATE = (
    'python -c "import json; from bench.papers.published import Published; '
    'print(json.dumps(Published.model_json_schema(), indent=1))" > docs/published.schema.json'
)

COUNTS = {
    "adaround": 29,
    "any_precision": 30,
    "autoq": 3,
    "bayesian_bits": 6,
    "bit_split": 4,
    "brecq": 10,
    "coquant": 220,
    "dfq": 22,
    "dsg": 52,
    "dsg_journal": 33,
    "float_weights": 15,
    "gdfq": 7,
    "haq": 4,
    "kill_the_bits": 27,
    "mqbench": 48,
    "reports": 23,
    "rhhc_zeroq_mp": 67,
    "squant": 45,
    "surrogates": 76,
    "surrogates_competitors": 30,
    "zeroq": 113,
}


@pytest.fixture(scope="module")
def published() -> list[Published]:
    return load_published()


def the_one(published: list[Published], **fields: Any) -> Published:
    (number,) = select(published, fields)
    return number


def test_each_file_has_all_its_numbers(tmp_path: Path) -> None:
    counts = {}
    for file in REFERENCES.glob("*.yaml"):
        folder = tmp_path / file.stem
        folder.mkdir()
        (folder / file.name).write_bytes(file.read_bytes())
        counts[file.stem] = len(load_published(folder))
    assert counts == COUNTS


def test_all_of_them_are_loaded_in_order_of_files(published: list[Published]) -> None:
    assert len(published) == sum(COUNTS.values())
    assert published[0].paper == "adaround"
    assert Counter(p.kind for p in published)["recalled"] == 81


# Copied by hand: what it is, and the value.
SPOT = [
    ({"table": "README", "model": "squeezenext", "paper": "zeroq", "w_bits": 8}, 69.17),
    ({"table": "README, detection", "row": "W8A8"}, 36.4),
    ({"paper": "zeroq", "metric": "top1_gain"}, 1.71),
    ({"paper": "zeroq", "kind": "second_hand", "model": "mobilenetv2", "a_bits": 8,
      "metric": "top1"}, 69.44),
    ({"paper": "zeroq", "table": "ResNet18", "row": "ZeroQ", "a_bits": 4, "metric": "top1"}, 26.04),
    ({"paper": "rhhc_zeroq_mp", "row": "acc(distill)per0.9999", "model": "shufflenet",
      "w_bits": 6}, 61.59),
    ({"paper": "rhhc_zeroq_mp", "row": "random", "model": "shufflenet"}, 9.83),
    ({"paper": "dsg", "table": "ImageNet comparison, ResNet-18", "method": "zeroq", "w_bits": 6},
     69.74),
    ({"paper": "dsg", "table": "ImageNet comparison, SqueezeNext", "method": "dsg", "w_bits": 6},
     60.50),
    ({"paper": "dsg", "table": "ImageNet comparison, InceptionV3", "method": "real", "w_bits": 4},
     23.23),
    ({"paper": "dsg", "table": "ImageNet comparison, ResNet-50", "w_bits": 8}, 77.68),
    ({"paper": "dsg", "table": "Ablation", "row": "+ SDA"}, 33.39),
    ({"paper": "dsg", "table": "AdaRound", "row": "DSG (ours) + Label + Image Prior"}, 61.32),
    ({"paper": "dsg_journal", "row": "DSG-QAT", "model": "shufflenet", "w_bits": 4}, 29.71),
    ({"paper": "coquant", "table": "Table 3", "method": "coquant", "w_bits": 2}, 57.1),
    ({"paper": "coquant", "table": "Table 4", "method": "bit_mixer", "metric": "delta_b"}, 95.5),
    ({"paper": "adaround", "method": "nearest", "model": "inceptionv3"}, 1.67),
    ({"paper": "mqbench", "method": "qdrop", "model": "mobilenetv2", "w_bits": 3}, 56.05),
    ({"paper": "brecq", "table": "README", "model": "mobilenetv2"}, 59.49),
    ({"paper": "squant", "method": "zeroq", "model": "squeezenext", "w_bits": 6}, 16.54),
    ({"paper": "surrogates", "table": "Homogeneous bits", "w_bits": 5, "metric": "top1"}, 74.25),
    ({"paper": "surrogates", "method": "lsq", "w_bits": 2}, 67.6),
    ({"paper": "kill_the_bits", "row": "ResNet-50, large blocks", "metric": "size_mb"}, 3.19),
    ({"paper": "bit_split", "metric": "top5"}, 88.670),
    ({"paper": "bayesian_bits", "model": "lenet5", "metric": "bops_percent"}, 0.36),
    ({"paper": "autoq", "metric": "latency_percent"}, -54.06),
    ({"paper": "pytorchcv", "model": "inceptionv3", "weights": "pytorchcv-0.0.51"}, 78.88),
    ({"paper": "intraq"}, 60.68),
    ({"paper": "gdfq_unofficial", "weights": "torchvision"}, 2.16),
]  # fmt: skip


@pytest.mark.parametrize(("wanted", "value"), SPOT, ids=[str(value) for _, value in SPOT])
def test_values_are_as_printed(
    published: list[Published], wanted: dict[str, Any], value: float
) -> None:
    assert the_one(published, **wanted).value == value


def test_spreads_are_as_printed(published: list[Published]) -> None:
    pair = the_one(published, table="Surrogates, 3 bits, mixed", method="ewgs_invtanh")
    assert (pair.value, pair.spread, pair.recipe["seeds"]) == (66.41, 0.24, 20)
    rounded = the_one(published, paper="adaround", row="AdaRound", model="inceptionv3")
    assert (rounded.value, rounded.spread) == (75.76, 0.09)


def test_every_published_value_of_the_widest_label(published: list[Published]) -> None:
    label = {"model": "resnet18", "data": "imagenet", "method": "zeroq", "w_bits": 4, "a_bits": 4}
    found = select(published, label)
    values = [26.04] * 4 + [24.16, 2.16, 0.71, 22.58, 21.79, 60.68, 19.09]
    assert sorted(p.value for p in found) == sorted(values)


def test_columns_no_data_and_no_finetuning_of_dsg(published: list[Published]) -> None:
    rows = select(published, {"table": "ImageNet comparison, ResNet-18", "w_bits": 8})
    ticks = {p.row: (p.recipe["no_data"], p.recipe["no_finetuning"]) for p in rows}
    assert ticks == {
        "Real Data": (False, True),
        "RVQuant": (False, False),
        "DFQ": (True, True),
        "DFC": (True, False),
        "ZeroQ": (True, "unknown"),  # printed False, which would be no ZeroQ: the note says so
        "DSG (Ours)": (True, True),
    }
    assert "misprint" in the_one(rows, row="ZeroQ").note


def test_delta_b_is_the_mean_of_the_ratios_to_individual(published: list[Published]) -> None:
    odd = {}
    rows = select(published, {"paper": "coquant"})
    for table, row in dict.fromkeys((p.table, p.row) for p in rows):
        alone = select(rows, {"table": table, "method": "individual", "metric": "top1"})
        cells = select(rows, {"table": table, "row": row, "metric": "top1"})
        assert [p.w_bits for p in cells] == [8, 6, 4, 2] == [p.w_bits for p in alone]
        computed = mean(100 * c.value / a.value for c, a in zip(cells, alone, strict=True))
        printed = the_one(rows, table=table, row=row, metric="delta_b").value
        # Printed with one decimal, of accuracies that have more than the one decimal printed.
        if abs(computed - printed) > 0.07:
            odd[table, row] = (printed, round(computed, 2))
    assert odd == {
        ("Table 1", "Switchable BN"): (99.2, 99.02),
        ("Table 1", "AdaBits"): (99.0, 98.84),
        ("Table 2", "AdaBits"): (99.3, 99.03),
        ("Table 2", "Bit-Mixer"): (99.3, 99.19),
        ("Table 3", "DQ (8 bit) + BN Calib"): (65.1, 64.21),
        ("Table 4", "Any Precision"): (85.9, 85.82),
        ("Table 4", "Bit-Mixer"): (95.5, 95.38),
    }


def test_no_entry_is_twice_there(published: list[Published]) -> None:
    twice = Counter(p.model_dump_json() for p in published)
    assert [entry for entry, times in twice.items() if times > 1] == []


def test_percentages_and_recipes_make_sense(published: list[Published]) -> None:
    percent = {"top1", "top5", "top1_error", "map", "box_ap", "mask_ap", "bops_percent"}
    for p in published:
        if p.metric in percent:
            assert 0 <= p.value <= 100, p
        assert None not in p.recipe.values(), p
        assert p.recipe.get("size_mb", p.value) == p.value or p.metric != "size_mb", p
        if p.method == "float":
            assert (p.w_bits, p.a_bits) == (32, 32), p


def test_every_paper_can_be_cited(published: list[Published]) -> None:
    assert {p.paper for p in published} <= set(paper_names())


def test_sources_can_be_cited_by_anyone(published: list[Published]) -> None:
    for p in published:
        assert p.source and not p.source.startswith("/"), p
        assert not any(word in p.source + p.note for word in ("file id", "papers.md")), p


def test_what_is_recalled_is_not_printed(published: list[Published]) -> None:
    kinds = {p.kind: printable(p) for p in published}
    assert kinds == {
        "paper": True,
        "release": True,
        "second_hand": True,
        "rerun": True,
        "recalled": False,
    }


def entry(**changes: Any) -> Published:
    given: dict[str, Any] = {
        "paper": "dsg",
        "table": "Table 1",
        "row": "ZeroQ",
        "model": "resnet18",
        "data": "imagenet",
        "method": "zeroq",
        "w_bits": 4,
        "a_bits": 4,
        "value": 26.04,
        "kind": "paper",
        "source": "DSG",
    }
    return Published(**(given | changes))


def test_select_by_value_and_by_set() -> None:
    entries = [entry(), entry(w_bits=8), entry(w_bits="mixed")]
    assert select(entries, {"w_bits": {4, "mixed"}, "row": "ZeroQ"}) == [entries[0], entries[2]]
    assert select(entries, {"recipe": {}, "w_bits": 8}) == [entries[1]]
    with pytest.raises(BenchError, match=r"^select: unknown field 'modl'; did you mean 'model'\?$"):
        select(entries, {"modl": "resnet18"})


def test_the_schema_in_the_docs_is_the_class() -> None:
    assert json.loads(SCHEMA.read_text()) == Published.model_json_schema(), REGENERATE


TABLE: dict[str, Any] = {
    "table": "Table 1",
    "model": "resnet18",
    "data": "imagenet",
    "kind": "paper",
    "source": "a paper",
    "recipe": {"images": 64, "sites": "relu"},
    "columns": [{"w_bits": 4, "a_bits": 4, "recipe": {"sites": "all"}}, {"metric": "size_mb"}],
    "rows": [
        {
            "row": "ZeroQ",
            "method": "zeroq",
            "recipe": {"images": 32},
            "values": [{"value": 26.04, "spread": 1, "note": "odd"}, 5],
        },
        {"row": "DSG", "method": "dsg", "values": [None, 6]},
    ],
}


def load(folder: Path, *tables: Any, **top: Any) -> list[Published]:
    (folder / "some.yaml").write_text(yaml.safe_dump({"paper": "dsg", "tables": tables, **top}))
    return load_published(folder)


def test_fields_are_inherited_and_recipes_merged(tmp_path: Path) -> None:
    first, second, third = load(tmp_path, TABLE, weights="pytorchcv-0.0.51")
    assert first == Published(
        paper="dsg",
        table="Table 1",
        row="ZeroQ",
        model="resnet18",
        weights="pytorchcv-0.0.51",
        data="imagenet",
        method="zeroq",
        w_bits=4,
        a_bits=4,
        metric="top1",
        value=26.04,
        spread=1.0,
        kind="paper",
        source="a paper",
        note="odd",
        recipe={"images": 32, "sites": "all"},
    )
    assert (second.metric, second.value, second.w_bits, second.note) == ("size_mb", 5.0, None, "")
    assert second.recipe == {"images": 32, "sites": "relu"}
    assert (third.row, third.metric, third.value) == ("DSG", "size_mb", 6.0)  # null is no entry


ROW = {"row": "ZeroQ", "method": "zeroq", "value": 1.0}
BLOCK = {key: value for key, value in TABLE.items() if key != "columns"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": [{**ROW, "w_bit": 4}]},
         r"row 1 'ZeroQ': unknown field 'w_bit'; did you mean 'w_bits'\?"),
        ({"wieghts": "x", "rows": [ROW]}, r"unknown field 'wieghts'; did you mean 'weights'\?"),
        ({"rows": [ROW, {**ROW, "w_bits": 33}]}, r"row 2 'ZeroQ': w_bits=33: "),
        ({"rows": [{**ROW, "w_bits": True}]}, r"row 1 'ZeroQ': w_bits=True: "),
        ({"rows": [{**ROW, "value": "71,43"}]}, r"row 1 'ZeroQ': value='71,43': "),
        ({"rows": [{**ROW, "kind": "guess"}]}, r"row 1 'ZeroQ': kind='guess': .*'recalled'"),
        ({"rows": [{"row": "ZeroQ", "value": 1.0}]}, r"row 1 'ZeroQ': method: Field required"),
        ({"rows": [{**ROW, "recipe": "relu"}]}, r"recipe: 'relu' must be a mapping"),
        ({"rows": ["ZeroQ"]}, r"row 1: 'ZeroQ' must be a mapping"),
        ({"rows": None}, r"rows: None must be a list"),
        ({"columns": [{"w_bits": 4}], "rows": [{**ROW, "values": [1, 2]}]},
         r"row 1: 2 values for 1 columns; write null for an empty one"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(BenchError, match=message) as caught:
        load(tmp_path, BLOCK | change)
    assert "some.yaml, table 1 'Table 1'" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("paper: [", "some.yaml cannot be read: .*line 2"),
        ("- 1", r"some.yaml: \[1\] must be a mapping"),
        ("paper: dsg", "some.yaml: tables: None must be a list"),
        ("tables: [1]", "some.yaml, table 1: 1 must be a mapping"),
    ],
)
def test_a_file_that_is_none(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "some.yaml").write_text(text)
    with pytest.raises(BenchError, match=message) as caught:
        load_published(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_of_ones_own_and_an_empty_one(tmp_path: Path) -> None:
    assert load_published(tmp_path) == []
    assert len(load(tmp_path, TABLE)) == 3


def test_reading_them_imports_nothing_heavy() -> None:
    assert imported("from bench.papers.published import load_published; load_published()") == set()
