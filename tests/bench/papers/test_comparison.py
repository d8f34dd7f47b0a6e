from typing import Any

import pandas as pd
import pytest

from bench.papers.cells import interval, table_cells, table_requests
from bench.papers.comparison import compare_with_published, printable_numbers
from bench.papers.definition import Definition, load_definition
from bench.papers.layout import csv_rows, layout
from bench.papers.notes import meaning
from bench.papers.published import load_published
from bench.statistics.intervals import wilson_interval
from bench.statistics.sequences import accuracy_sequence
from bench.tables.cell_rows import cell_rows
from models.errors import BenchError
from tests.bench.papers.examples import (
    LONG,
    LONG_DEFINITION,
    WIDE,
    WIDE_DEFINITION,
    find,
    long_numbers,
    long_results,
    published,
    wide_numbers,
    wide_results,
)
from tests.bench.papers.records import record


def compared(numbers, results, definition=LONG_DEFINITION, name=LONG):
    cells = table_cells(cell_rows(table_requests(name, []), results), results)
    return compare_with_published(definition, numbers, cells).to_dict("records")


def test_the_float_networks_come_first_and_once() -> None:
    jobs = table_requests(LONG, ["data.root=/images"])
    assert len(jobs) == 1 + 39
    assert jobs[0].config.quant.is_float
    assert jobs[0].overrides[-2:] == ("data.root=/images", "quant=fp32")
    assert len(table_requests(LONG, [], floats=False)) == 39
    assert table_requests("no_such_experiment", []) == []
    # Float cells that the experiment itself asks for are not added again.
    assert len(table_requests(LONG, ["quant=fp32"])) == len(
        table_requests(LONG, ["quant=fp32"], None, False)
    )


def test_every_verdict() -> None:
    rows = compared(printable_numbers(LONG_DEFINITION, long_numbers()), long_results())
    assert [(row["published"].row, row["verdict"]) for row in rows] == [
        ("Baseline", "reproduced"),
        ("Real Data", "reproduced"),
        ("ZeroQ", "off"),
        ("DSG <ours>", "reproduced"),
        ("Integer|Only", "not comparable"),
        ("DFQ", "failed"),
        ("RVQuant", "not here"),
        ("ZeroQ", "not comparable"),
    ]
    zeroq = rows[2]
    # 24.0, 24.8 and 24.4: mean 24.4, deviation 0.4, and t is 4.3027 with two degrees of freedom.
    half = 4.302652729911275 * 0.4 / 3**0.5
    assert zeroq["mean"] == pytest.approx(24.4)
    assert (zeroq["low"], zeroq["high"]) == pytest.approx((24.4 - half, 24.4 + half))
    assert zeroq["difference"] == pytest.approx(-1.64)
    assert (zeroq["done"], zeroq["seeds"]) == (3, 3)
    assert zeroq["missing"] == []


def test_a_recalled_number_is_not_shown() -> None:
    numbers = printable_numbers(LONG_DEFINITION, long_numbers())
    assert len(numbers) == len(long_numbers()) - 1
    assert all(p.kind != "recalled" for p in numbers)


def test_numbers_come_in_the_order_of_the_selection_and_once() -> None:
    numbers = [published(row=row, w_bits=bits) for bits, row in ((8, "a"), (4, "b"), (6, "c"))]
    definition = LONG_DEFINITION.model_copy(
        update={"select": [{"w_bits": 6}, {"paper": "a_paper", "w_bits": [4, 6]}]}
    )
    assert [p.row for p in printable_numbers(definition, numbers)] == ["c", "b"]


def test_a_published_deviation_is_a_tolerance() -> None:
    jobs = find(table_requests(LONG, []), "zeroq", 4)[:2]
    results = [record(job, 13_000) for job in jobs]  # 26.00, no interval
    for value, spread, name in ((26.4, None, "off"), (26.4, 0.5, "reproduced"), (26.6, 0.5, "off")):
        (row,) = compared([published(value=value, spread=spread)], results)
        assert row["verdict"] == name


def test_the_tolerance_of_a_table() -> None:
    results = [record(job, 13_000) for job in find(table_requests(LONG, []), "zeroq", 4)[:2]]
    wide = LONG_DEFINITION.model_copy(update={"tolerance": 1.0})
    assert compared([published(value=27.0)], results, wide)[0]["verdict"] == "reproduced"
    assert compared([published(value=27.0)], results)[0]["verdict"] == "off"


def test_on_a_part_of_the_images_the_paired_drop_decides() -> None:
    jobs = find(table_requests(LONG, []), "zeroq", 4)
    numbers = [published(method="float", w_bits=32, a_bits=32, value=71.47), published(value=70.0)]
    part: dict[str, Any] = {"total": 10_000, "fp32_top1": 72.0}

    def row(lost: int | None, gained: int | None) -> dict[Any, Any]:
        cells = [record(job, 7_000, lost=lost, gained=gained, **part) for job in jobs]
        return compared(numbers, cells)[1]

    near = row(160, 20)  # 1.40 of 1.47 points
    assert (near["verdict"], near["text"]) == ("reproduced", "drop reproduced")
    assert (near["drop"], near["drop_published"]) == pytest.approx((1.4, 1.47))
    assert near["drop_low"] == pytest.approx(1.4 - 1.95996 * 0.1334, abs=0.01)
    assert row(320, 20)["text"] == "drop off by +1.53"
    assert row(210, 20)["verdict"] == "undecided"
    old = row(None, None)
    assert (old["verdict"], old["drop"]) == ("not comparable", None)
    assert old["why"] == "on a part of the images, and it has no paired drop"


def test_the_drop_is_shown_where_there_is_one() -> None:
    jobs = find(table_requests(LONG, []), "zeroq", 4)
    numbers = [published(method="float", w_bits=32, a_bits=32, value=71.47), published(value=70.0)]
    cells = [record(job, 7_000, lost=160, gained=20, total=10_000, fp32_top1=72.0) for job in jobs]
    rows = table_cells(cell_rows(table_requests(LONG, []), cells), cells)
    compared = compare_with_published(LONG_DEFINITION, numbers, rows)
    texts, _ = layout(compared, LONG_DEFINITION)
    assert list(texts["drop"]) == ["", "1.40 [1.14, 1.66], there 1.47"]
    assert "within 0.5 points of the published drop" in meaning(LONG_DEFINITION, compared)[-1]
    without = compared.assign(drop=None)
    assert "drop" not in layout(without, LONG_DEFINITION)[0]
    assert len(meaning(LONG_DEFINITION, without)) == 2


def test_on_all_images_the_drop_stands_beside_the_verdict() -> None:
    numbers = [published(method="float", w_bits=32, a_bits=32, value=71.47), published(value=26.0)]
    jobs = find(table_requests(LONG, []), "zeroq", 4)
    cells = [record(job, 13_000, lost=23_000, gained=265) for job in jobs]
    row = compared(numbers, cells)[1]
    assert (row["verdict"], row["text"]) == ("reproduced", "reproduced")
    assert (row["drop"], row["drop_published"]) == pytest.approx((45.47, 45.47))


def test_top5_is_measured_by_the_same_cells() -> None:
    jobs = find(table_requests(LONG, []), "zeroq", 4)
    results = [record(job, 13_000, top5=50.0 + job.config.seed) for job in jobs]
    first, second = compared([published(value=26.0), published(value=51.0, metric="top5")], results)
    assert (first["mean"], first["difference"]) == (26.0, 0.0)
    assert (second["mean"], second["spread"], second["difference"]) == (51.0, 1.0, 0.0)


def test_the_size_of_weights_and_activations_is_measured_by_the_same_cells() -> None:
    jobs = find(table_requests(LONG, []), "zeroq", 4)
    results = [
        record(job, 13_000, size_mb=2.0 + job.config.seed / 2**20, activations_mb=1.0)
        for job in jobs
    ]
    number = published(value=3.15, metric="total_mb")
    (size,) = compared([number], results)
    assert size["mean"] == pytest.approx(3 * 2**20 / 1e6 + 1e-6)
    assert size["verdict"] == "reproduced"
    (unknown,) = compared([number], [record(job, 13_000, size_mb=2.0) for job in jobs])
    assert (unknown["verdict"], unknown["text"]) == ("not here", "not recorded")


def test_bit_operations_are_reproduced_within_a_twentieth() -> None:
    jobs = find(table_requests(LONG, []), "zeroq", 4)
    results = [record(job, 13_000, bops_percent=0.36) for job in jobs]
    numbers = [published(value=value, metric="bops_percent") for value in (0.35, 0.51)]
    near, far = compared(numbers, results)
    assert (near["verdict"], far["verdict"]) == ("reproduced", "off")
    assert near["mean"] == pytest.approx(0.36)
    old = [record(job, 13_000) for job in jobs]  # of before operations were counted
    assert compared(numbers[:1], old)[0]["text"] == "not recorded"


def test_bits_that_are_not_published_are_those_of_the_definition() -> None:
    results = [record(job, 13_000) for job in find(table_requests(LONG, []), "zeroq", 4)]
    number = published(w_bits=None, value=26.0)
    assert compared([number], results)[0]["verdict"] == "not here"
    cells = {"zeroq": {"method": "zeroq", "w_bits": 4}}
    definition = LONG_DEFINITION.model_copy(update={"cells": cells})
    assert compared([number], results, definition)[0]["verdict"] == "reproduced"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "not run"),
        ({"method": "omse"}, "no method here"),
        ({"model": "vgg"}, "no network here"),
        ({"data": "ucf101"}, "no data set here"),
        ({"w_bits": 5}, "no cell here"),
        ({"metric": "size_mb"}, "no cell here"),
    ],
)
def test_what_is_not_measured(changes: dict, text: str) -> None:
    (row,) = compared([published(**changes)], [])
    assert row["text"] == text
    commands = [
        f"bench run experiment={LONG} recipe=zeroq_release method=zeroq quant=w4a4 seed={s}"
        for s in range(3)
    ]
    assert row["missing"] == commands if text == "not run" else row["missing"] != row["missing"]


def test_a_failed_and_a_skipped_cell_say_why() -> None:
    jobs = find(table_requests(LONG, []), "zeroq", 4)
    for status, verdict in (("failed", "failed"), ("skipped", "not here")):
        results = [record(job, 0, status=status, reason="no BatchNorm") for job in jobs]
        (row,) = compared([published()], results)
        assert (row["verdict"], row["why"]) == (verdict, "no BatchNorm")


def test_several_cells_that_fit_are_an_error() -> None:
    vague = LONG_DEFINITION.model_copy(update={"cells": {"real": {"method": "real"}}})
    with pytest.raises(BenchError, match=r"2 cells of .* fit its row 'ZeroQ' at W6A6; say more"):
        compared([published(method="real", w_bits=6, a_bits=6)], [], vague)


def test_cells_without_anything_published() -> None:
    alone = Definition(title="x", select=[], columns={})
    rows = compared([], long_results(), alone)
    assert len(rows) == 14
    assert rows[0]["verdict"] == "unpublished"
    assert {row["verdict"] for row in rows} == {"unpublished", "failed", "not run"}


def test_delta_b_is_of_all_bits_and_over_seeds() -> None:
    jobs = table_requests(WIDE, [], floats=False)
    cells = table_cells(cell_rows(jobs, wide_results()), wide_results())
    rows = compare_with_published(WIDE_DEFINITION, wide_numbers(), cells).to_dict("records")
    deltas = {r["published"].method: r for r in rows if r["published"].metric == "delta_b"}
    assert deltas["individual"]["mean"] == pytest.approx(100)
    assert deltas["joint"]["mean"] == pytest.approx(50)
    assert (deltas["individual"]["done"], deltas["joint"]["done"]) == (3, 1)
    # One seed has no interval over images either: it is no accuracy.
    assert pd.isna(deltas["joint"]["interval"])
    assert deltas["coquant"]["verdict"] == "not run"


def test_intervals() -> None:
    one = record(table_requests(LONG, [])[0], 35_000)
    assert interval([70.0], one) == (one.ci_low, one.ci_high, "wilson")
    assert interval([70.0], None) is None
    # Of two seeds the interval of their mean over the images: 35,250 of 50,000.
    assert interval([70.0, 71.0], one) == (*wilson_interval(35_250, 50_000), "wilson")
    assert interval([70.0, 71.0], None) is None
    assert interval([70.0, 70.0, 70.0], one) == (70.0, 70.0, "t")


def test_an_interval_of_top1_ends_at_0_and_100() -> None:
    one = record(table_requests(LONG, [])[0], 35_000)
    low, high, _ = interval([60.0, 80.0, 99.0], one) or (0, 0, "")
    assert (round(low, 2), high) == (31.22, 100.0)
    # Delta_B may be more.
    assert (interval([60.0, 80.0, 99.0], None) or (0, 0, ""))[1] == pytest.approx(128.1, abs=0.05)


def test_a_table_of_detectors_compares_map() -> None:
    name = "zeroq_detection"
    definition = load_definition(name)
    jobs = table_requests(name, [])
    no_counts = {"task": "detection", "correct": None, "top1": None, "top5": None}
    results = [
        record(job, 0, 5_000).model_copy(
            update=no_counts | {"map": value, "ci_low": value - 0.4, "ci_high": value + 0.4}
        )
        for job, value in zip(jobs, [36.5, 36.1, 36.2, 36.3], strict=True)
    ]
    numbers = printable_numbers(definition, load_published())
    rows = compared(numbers, results, definition, name)
    assert [(row["mean"], row["interval"]) for row in rows] == [(36.5, "bootstrap"), (36.2, "t")]
    assert (rows[0]["low"], rows[0]["high"]) == pytest.approx((36.1, 36.9))
    assert [row["verdict"] for row in rows] == ["not comparable", "not comparable"]
    assert all("weights" in row["why"] for row in rows)
    assert "a bootstrap's over the images" in meaning(definition, pd.DataFrame(rows))[0]
    shown, _ = layout(pd.DataFrame(rows), definition)
    assert list(shown)[3:5] == ["mAP", "measured"]


def test_masks_have_a_published_number_beside_theirs() -> None:
    name = "kill_the_bits_mask_rcnn"
    definition = load_definition(name)
    jobs = table_requests(name, [])
    no_counts = {"task": "detection", "correct": None, "top1": None, "top5": None}
    no_counts |= {"weights": "coco_v1"}
    boxes, masks = [37.8, 33.7, 33.8, 33.9], [34.6, 29.9, 30.1, 30.0]
    results = [
        record(job, 0, 5_000).model_copy(
            update=no_counts
            | {"map": box, "ci_low": box - 0.4, "ci_high": box + 0.4, "masks": {"map": mask}}
        )
        for job, box, mask in zip(jobs, boxes, masks, strict=True)
    ]
    rows = compared(printable_numbers(definition, load_published()), results, definition, name)
    assert [row["published"].metric for row in rows] == ["box_ap", "mask_ap"] * 2
    assert [row["mean"] for row in rows] == pytest.approx([37.8, 34.6, 33.8, 30.0])
    assert [row["interval"] for row in rows if pd.notna(row["interval"])] == ["bootstrap", "t", "t"]
    assert pd.isna(rows[1]["low"]), "no resamples are drawn of masks"
    assert [row["difference"] for row in rows] == pytest.approx([-0.1, 0.0, -0.1, -0.8])
    assert [row["verdict"] for row in rows] == ["reproduced"] * 2 + ["not comparable"] * 2
    assert "not fine-tuned here, there it is" in rows[2]["why"]
    without = [result.model_copy(update={"masks": None}) for result in results]
    rows = compared(printable_numbers(definition, load_published()), without, definition, name)
    assert [row["text"] for row in rows[:2]] == ["reproduced", "not recorded"]
    assert rows[1]["why"] == "a result has no mask_ap"


def test_of_a_part_of_the_evaluation_set_the_drop_decides() -> None:
    jobs = find(table_requests(LONG, []), "zeroq", 4)
    numbers = [published(method="float", w_bits=32, a_bits=32, value=71.47), published(value=70.0)]

    def rows(**changes: Any) -> list[dict[Any, Any]]:
        part: dict[str, Any] = {
            **{"total": 2_000, "part_of": 50_000, "fp32_top1": 71.47, "lost": 60, "gained": 30},
            **{"drop_low": 1.2, "drop_high": 1.9},
        }
        return compared(numbers, [record(jobs[0], 1_400, **(part | changes))])

    # Published are 1.47 points: all of 1.2 .. 1.9 is within half a point of that.
    near = rows()[1]
    assert (near["verdict"], near["text"]) == ("reproduced", "drop reproduced")
    assert (near["drop"], near["drop_low"], near["drop_high"]) == (1.5, 1.2, 1.9)
    assert near["part"] == "1400/2000 of 50,000"
    assert (near["low"], near["high"]) == accuracy_sequence(1_400, 2_000, 50_000)
    assert near["interval"] == "sequence"
    assert rows(drop_low=1.98, drop_high=2.5)[1]["text"] == "drop off by +0.03"
    assert rows(drop_high=2.0)[1]["verdict"] == "undecided"
    # The float network has seen all images, so it must be the published one.
    other = rows(fp32_top1=71.0)[1]
    assert (other["verdict"], other["why"]) == ("not comparable", "float top-1 71.00, there 71.47")
    (alone,) = compared([numbers[1]], [record(jobs[0], 1_400, total=2_000, part_of=50_000)])
    assert alone["verdict"] == "not comparable"
    assert alone["why"] == "on a part of the evaluation set, and no drop is published to decide by"


def test_seeds_that_ended_elsewhere_have_one_drop() -> None:
    jobs = find(table_requests(LONG, []), "zeroq", 4)
    numbers = [published(method="float", w_bits=32, a_bits=32, value=71.47), published(value=70.0)]
    sizes: list[dict[str, Any]] = [
        {"total": 2_000, "part_of": 50_000, "lost": 60, "gained": 30, "drop_low": 1.1}
        | {"drop_high": 1.8},
        {"total": 3_000, "part_of": 50_000, "lost": 90, "gained": 48, "drop_low": 1.1}
        | {"drop_high": 1.8},
    ]
    cells = [
        record(job, 1_400, fp32_top1=71.47, **size) for job, size in zip(jobs, sizes, strict=False)
    ]
    rows = table_cells(cell_rows(table_requests(LONG, []), cells), cells)
    frame = compare_with_published(LONG_DEFINITION, numbers, rows)
    row = frame.to_dict("records")[1]
    assert row["part"] == "2,000 to 3,000 of 50,000 images"
    assert row["drop"] == pytest.approx(1.45)  # 1.5 and 1.4
    # 0.35 over images on average; over two seeds t is 12.706, of a deviation of 0.05 of the mean.
    assert row["drop_high"] == pytest.approx(1.45 + (0.35**2 + (12.7062 * 0.05) ** 2) ** 0.5)
    texts, _ = layout(frame, LONG_DEFINITION)
    assert "(2,000 to 3,000 of 50,000 images)" in texts["measured"][1]
    assert "1 number is of a part of the evaluation set" in meaning(LONG_DEFINITION, frame)[-1]
    assert list(csv_rows(frame)["part"]) == ["", row["part"]]
    assert "part" not in csv_rows(frame.assign(part=""))
