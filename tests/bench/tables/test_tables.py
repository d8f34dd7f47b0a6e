"""The way from result records to a printed table, on hand-made records."""

from io import StringIO
from pathlib import Path

import pandas as pd
import pytest

from bench.cells.request import Request, experiment_requests, request_of
from bench.cells.result import Result
from bench.tables.cell_rows import cell_rows
from bench.tables.notes import footnotes, heading, warning_lines
from bench.tables.render import render
from bench.tables.summarise import cell_text, key_title, row_keys, summarise, wide
from bench.tables.table import Table
from models.quantize.spec import QuantSpec
from tests.bench.cells_of import request_id

GOLDEN = Path(__file__).parent / "golden"


def record(job: Request, correct: int, total: int = 200, status: str = "done", **more) -> Result:
    """A result for `job` with `correct` of `total` images right."""
    config = job.config
    done = status == "done"
    numbers = {"top1": 100 * correct / total, "correct": correct, "total": total, "classes": 10}
    numbers |= {"top5": 100.0, "ci_low": 10.0, "ci_high": 90.0, "fp32_top1": 95.0}
    recipe = {
        "weights": {"source": "a file", "sha256": "0123456789abcdef"},
        "quantizer": {"w_bits": 4, "a_bits": 4, "sites": "relu"},
        "batchnorm": "float",
        "method": {"name": config.method["name"], "version": 1, "images": 16},
        "evaluation": {"fingerprint": "f" * 8},
    }
    asked = {
        "id": f"{request_id(config)}x",
        "request_id": request_id(config),
        "status": status,
        "reason": None if done else "broke",
        "model": config.model.name,
        "weights": "default",
        "method": config.method["name"],
        "data": config.data["name"],
        "w_bits": config.quant.w_bits,
        "a_bits": config.quant.a_bits,
        "seed": config.seed,
        "group": "demo",
        "weights_sha256": "0123456789abcdef",
        "recipe": recipe,
        "started_at": "2026-01-01T00:00:00+00:00",
    }
    return Result(**{**asked, **(numbers if done else {}), **more})


@pytest.fixture(scope="module")
def jobs() -> list[Request]:
    return experiment_requests("demo")


@pytest.fixture(scope="module")
def results(jobs: list[Request]) -> list[Result]:
    """Every demo cell: correct counts 180, 182, 184 for seeds 0, 1, 2 at each of nine places."""
    return [record(job, 180 + 2 * job.config.seed) for job in jobs]


def test_parameters_of_one_source_do_not_tell_sources_apart() -> None:
    cells = pd.DataFrame(
        {
            "method": [*["distilled_qat"] * 3, "zeroq"],
            "w_bits": [4] * 4,
            "a_bits": [4] * 4,
            "method.source.name": ["zeroq", "dsg", "dsg", None],
            "method.source.slack": [None, True, True, None],
            "method.source.iterations": [500, 200, 200, None],
        }
    )
    assert row_keys(cells) == ["method", "method.source.name"]
    assert key_title("method.source.name") == "source"
    assert key_title("method.mu") == "mu"
    cells.loc[2, "method.source.iterations"] = 300
    assert row_keys(cells) == ["method", "method.source.name", "method.source.iterations"]


def test_what_bits_may_be_chosen_tells_only_chosen_bits_apart() -> None:
    def keys(w_bits: tuple[int | str, ...], candidates: tuple[tuple[int, ...], ...]) -> list[str]:
        cells = {"method": "real", "w_bits": w_bits, "quant.w_candidates": candidates}
        return row_keys(pd.DataFrame(cells))

    assert keys((4, "MP3", "MP4"), ((2, 4, 8), (2, 3, 4), (2, 3, 4))) == ["method"]
    differing = keys((4, "MP3", "MP3"), ((2, 4, 8), (2, 3, 4), (2, 8)))
    assert differing == ["method", "quant.w_candidates"]


def test_demo_has_27_cells_in_order(jobs):
    labels = [(j.config.method["name"], j.config.quant.w_bits, j.config.seed) for j in jobs]
    assert len(jobs) == len(set(labels)) == 27
    assert labels[:4] == [
        ("gaussian", 8, 0),
        ("gaussian", 8, 1),
        ("gaussian", 8, 2),
        ("gaussian", 4, 0),
    ]
    assert all(j.config.quant.a_bits == j.config.quant.w_bits for j in jobs)


def test_collect_joins_by_request_and_marks_missing(jobs, results):
    cells = cell_rows(jobs, results[:5])
    assert list(cells["status"][:6]) == ["done"] * 5 + ["missing"]
    assert cells["top1"][0] == 90.0
    assert cells["command"][5].startswith("bench run experiment=demo method=gaussian")


def test_collect_takes_the_newer_of_two_results(jobs):
    newer = record(jobs[0], 100, id="newer", started_at="2026-02-01T00:00:00+00:00")
    older = record(jobs[0], 50, id="older")
    for both in ([newer, older], [older, newer]):
        assert cell_rows(jobs[:1], both)["id"][0] == "newer"


def test_jobs_that_ask_for_the_same_are_one_row():
    # The range of activations that stay in float does not matter.
    asked = ["method=gaussian", "seed=0", "quant.w_bits=4", "quant.a_range=minmax,mse"]
    twice = experiment_requests("demo", [*asked, "quant.a_bits=32,4"])
    assert len(twice) == 4
    cells = cell_rows(twice, [record(job, 100) for job in twice])
    bits = list(zip(cells["a_bits"], cells["quant.a_range"], strict=True))
    assert bits == [(32, "minmax"), (4, "minmax"), (4, "mse")]
    assert list(summarise(cells)["seeds"]) == [1, 1, 1]


def test_precisions_are_no_seeds():
    asked = ["method=zeroq,real", "seed=0", "quant.w_bits=4", "runtime.precision=fp32,tf32"]
    cells = cell_rows(experiment_requests("demo", asked), [])
    assert row_keys(cells) == ["method", "runtime.precision"]
    shown = wide(summarise(cells))
    assert list(shown["precision"]) == ["fp32", "tf32", "fp32", "tf32"]
    assert "runtime.precision" not in cell_rows(experiment_requests("demo"), [])


def test_row_keys_ignore_parameters_of_one_method_only(jobs, results):
    assert row_keys(cell_rows(jobs, results)) == ["method"]


def test_row_keys_show_what_varies(jobs):
    cells = cell_rows(experiment_requests("demo", ["recipe=zeroq_release,all_inputs"]), [])
    assert row_keys(cells) == ["method", "quant.sites"]
    assert len(wide(summarise(cells))) == 6


def test_mean_and_spread_over_seeds_by_hand(jobs, results):
    row = summarise(cell_rows(jobs, results)).iloc[0]
    # 90, 91 and 92 %: mean 91, sample deviation 1
    assert (row["mean"], row["spread"], row["done"], row["seeds"]) == (91.0, 1.0, 3, 3)


def test_row_keys_ignore_how_rounding_is_learned_where_it_is_not(jobs):
    cells = cell_rows(jobs[:2], [])
    cells["quant.rounding"] = ["nearest", "adaround"]
    cells["quant.rounding_iterations"] = [10_000, 300]
    assert row_keys(cells) == ["method", "quant.rounding"]
    # What both heed and neither varies follows from the rounding.
    cells["quant.rounding"] = ["stochastic", "adaround"]
    assert row_keys(cells) == ["method", "quant.rounding"]
    cells["quant.rounding"] = ["adaround", "adaround"]
    assert row_keys(cells) == ["method", "quant.rounding_iterations"]


def test_mixed_precision_has_its_budget_for_a_column(jobs):
    asked = [
        QuantSpec(4, 8),
        QuantSpec("mixed", 8, mean_bits=4),
        QuantSpec("mixed", 6, size_mb=2.5),
        *(
            QuantSpec("mixed", "mixed", mean_bits=4, budget={"mean_activation_bits": n})
            for n in (2.5, 4)
        ),
        QuantSpec(4, "mixed"),
    ]
    configs = [jobs[0].config.model_copy(update={"quant": quant}) for quant in asked]
    cells = cell_rows([request_of(c, jobs[0].overrides) for c in configs], [])
    bits = [(4, 8), ("MP4", 8), ("MP2.5MiB", 6), ("MP4", "MP2.5"), ("MP4", "MP4"), (4, "MP")]
    assert list(zip(cells["w_bits"], cells["a_bits"], strict=True)) == bits
    labels = ["W4A8", "MP4/A8", "MP2.5MiB/A6", "MP4/AMP2.5", "MP4/AMP4", "W4AMP"]
    assert [quant.label for quant in asked] == labels
    table = wide(summarise(cells))
    assert list(table.columns) == ["method", *labels]
    assert len(table) == 1
    kept = cells.assign(a_bits="mixed")  # as before budgets of activations were named
    assert list(wide(summarise(kept)).columns)[1:3] == ["W4AMP", "MP4/AMP"]


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"done": 3, "seeds": 3, "mean": 91, "spread": 1}, "91.00 ± 1.00"),
        ({"done": 2, "seeds": 3, "mean": 91, "spread": 1}, "91.00 ± 1.00 (2/3 seeds)"),
        (
            {"done": 1, "seeds": 1, "mean": 9.5, "spread": None, "ci_low": 8, "ci_high": 11},
            "9.50 [8.00, 11.00]",
        ),
        ({"done": 0, "seeds": 1, "status": "missing"}, "not run"),
        ({"done": 0, "seeds": 1, "status": "failed"}, "failed"),
        ({"done": 0, "seeds": 1, "status": "skipped"}, "n/a"),
    ],
)
def test_cell_text(row, text):
    assert cell_text(row) == text


def test_wide_has_a_row_a_method_and_a_column_a_bit_width(jobs, results):
    table = wide(summarise(cell_rows(jobs, results)))
    assert list(table.columns) == ["method", "W8A8", "W4A4", "W3A3"]
    assert list(table["method"]) == ["gaussian", "zeroq", "real"]
    assert set(table["W3A3"]) == {"91.00 ± 1.00"}


def test_heading_names_images_float_and_seeds(jobs, results):
    lines = heading(cell_rows(jobs, results))
    assert lines == [
        "resnet20 on mnist5k: 200 images of 10 classes; float top-1 95.00 % [91.04, 97.26]",
        "top-1 in %, mean ± standard deviation over seeds 0, 1, 2",
    ]


def test_heading_warns_of_different_images(jobs, results):
    recipe = {**results[1].recipe.as_dict(), "evaluation": {"fingerprint": "other"}}
    mixed = [results[0], record(jobs[1], 180, recipe=recipe)]
    assert "WARNING: these cells were measured on different images" in heading(
        cell_rows(jobs, mixed)
    )


def test_footnotes_say_a_precision_that_is_not_float32(jobs, results):
    recipe = {
        **results[0].recipe.as_dict(),
        "calibration": {"images": 16, "synthesis_precision": "bf16"},
    }
    odd = record(jobs[0], 180, recipe=recipe)
    assert "gaussian: images 16, synthesis_precision bf16" in footnotes(
        [odd], cell_rows(jobs, [odd])
    )


def test_footnotes_say_nested_parameters_and_no_quantizer_of_a_float_network(jobs, results):
    method = {**results[0].recipe.method, "schedule": {"epochs": 2, "lr": 0.1}}
    trained = record(jobs[0], 180, recipe={**results[0].recipe.as_dict(), "method": method})
    notes = footnotes([trained], cell_rows(jobs, [trained]))
    assert {"gaussian: images 16", "schedule: epochs 2, lr 0.1"} <= set(notes)
    floats = record(jobs[0], 190, w_bits=32, a_bits=32)
    assert footnotes([floats], cell_rows(jobs[:1], [floats])) == [
        "resnet20: a file, sha256 0123456789ab"
    ]


def test_footnotes_begin_with_the_warnings_and_count_their_cells(jobs, results):
    first = record(jobs[0], 180, warnings=["part of it stays float", "it follows the batch"])
    second = record(jobs[1], 180, warnings=["it follows the batch"])
    assert footnotes([first, second], cell_rows(jobs[:2], [first, second]))[:2] == [
        "WARNING, 1 of 2 cells: part of it stays float",
        "WARNING: it follows the batch",
    ]


def test_warnings_that_differ_in_names_alone_are_one_line() -> None:
    shrunk = "the range has shrunk to the step in layer {}"
    first, second = shrunk.format("'a', 'b', 'c' and 3 more"), shrunk.format("'d'")
    missed = "missed a target: {} MiB"
    cells = [[first, missed.format(1)], [second], [second], [], [missed.format(2), "batch"]]
    assert warning_lines(cells) == [
        f"WARNING, 3 of 5 cells: {second} (an example: cells differ in which)",
        "WARNING, 1 of 5 cells: missed a target: 1 MiB",
        "WARNING, 1 of 5 cells: missed a target: 2 MiB",
        "WARNING, 1 of 5 cells: batch",
    ]
    # Two of a kind in one cell are two things, and neither hides the other.
    assert warning_lines([[first, second]] * 2) == [f"WARNING: {first}", f"WARNING: {second}"]
    assert warning_lines([[first], [first]]) == [f"WARNING: {first}"]


def test_footnotes_say_how_much_is_quantized(jobs, results):
    shares = {"quantized_weights": 99.8, "quantized_multiplications": 100.0, "quantized_inputs": 5}
    of_both = record(jobs[0], 180, **shares)
    assert footnotes([of_both], cell_rows(jobs[:1], [of_both]))[-2] == (
        "resnet20, quantized: 99.8 % of the weights, the weight of 100.0 % of the multiplications, "
        "the input of 5.0 % of the multiplications"
    )
    of_inputs = record(jobs[0], 180, w_bits=32, **shares)
    assert footnotes([of_inputs], cell_rows(jobs[:1], [of_inputs]))[-2] == (
        "resnet20, quantized: the input of 5.0 % of the multiplications"
    )


def test_heading_names_many_seeds_by_the_first_and_the_last(jobs):
    cells = cell_rows(jobs[:7], [])
    cells["seed"] = range(7)
    assert heading(cells) == ["top-1 in %, mean ± standard deviation over seeds 0 to 6"]
    cells["seed"] = [0, 1, 2, 3, 4, 5, 9]
    assert heading(cells)[0].endswith("seeds 0, 1, 2, 3, 4, 5, 9")


def test_heading_of_a_network_without_float_weights(jobs):
    cells = cell_rows(jobs[:1], [record(jobs[0], 180, fp32_top1=None)])
    assert heading(cells)[0] == "resnet20 on mnist5k: 200 images of 10 classes"


def test_nested_parameters_have_columns_of_their_own(jobs):
    def trained(surrogate: str, bits: list[int]) -> Request:
        method = {"name": "individual", "bits": bits, "qat": {"surrogate": surrogate, "delta": 1.0}}
        config = jobs[0].config.model_copy(update={"method": method})
        return request_of(config, jobs[0].overrides)

    cells = cell_rows([trained("ste", [4, 2]), trained("ewgs", [4, 2])], [])
    assert row_keys(cells) == ["method", "method.qat.surrogate"]
    assert list(cells["method.bits"]) == [(4, 2), (4, 2)]
    assert list(wide(summarise(cells))["surrogate"]) == ["ste", "ewgs"]


def test_integers_stay_so_beside_methods_without_them(jobs):
    cells = cell_rows(jobs[:3], [])
    cells["method"] = ["a", "a", "b"]
    cells["method.source_bits"] = [32, 8, None]
    assert list(wide(summarise(cells))["source_bits"]) == [32, 8, ""]


def test_a_command_names_the_folder_of_own_configs(jobs):
    job = request_of(jobs[0].config, ["experiment=mine", "data.root=/my images"])
    (command,) = cell_rows([job], [], Path("my confs"))["command"]
    assert command == "bench run --config-dir 'my confs' experiment=mine 'data.root=/my images'"


def test_footnotes_give_the_recipe_once_and_count_what_is_missing(jobs, results):
    notes = footnotes(results[:3], cell_rows(jobs, results[:3]))
    assert notes == [
        "resnet20: a file, sha256 0123456789ab",
        "quantizer: sites relu; BatchNorm float",
        "gaussian: images 16",
        "24 of 27 cells are not run, 0 failed",
    ]


@pytest.mark.parametrize("to", ["text", "md", "latex", "html"])
def test_formats_are_as_recorded(jobs, results, to):
    cells = cell_rows(jobs, [*results[:20], record(jobs[20], 0, status="failed")])
    table = wide(summarise(cells))
    notes = footnotes(results[:20], cells)
    assert (
        render(Table(table, cells, heading(cells), notes, []), to)
        == (GOLDEN / f"demo.{to}").read_text()
    )


def test_csv_has_a_line_a_cell_and_keeps_every_digit(jobs, results):
    cells = cell_rows(jobs, results)
    frame = pd.read_csv(StringIO(render(Table(pd.DataFrame(), cells, [], [], []), "csv")))
    assert len(frame) == 27
    assert list(frame["correct"][:3]) == [180, 182, 184]
    assert frame["command"].str.contains("bench run experiment=demo").all()
