"""What a change of the code's structure must leave as it is: ids, tables, records, old folders.

`tests/unchanged/` holds what the code said when it was recorded:

* `outputs/`: cells as they were measured, without caches, logs and folders of a machine.
* `made_up/`: records of ImageNet and CIFAR-10 cells with made-up numbers, so that papers' tables
  have verdicts.
* `ids.json`: of each cell what is typed for it, and its ids.
* `texts/`: what commands print, letter by letter; the commands are `_commands` below.
* `dashboard.json`: sha256 of each part of the data in the page.

`python -m tests.test_unchanged` writes ids, texts and dashboard anew, from the two folders of
records. Where that changes a file, the difference is to be reviewed: an id that changes orphans
every result of the cell.
"""

import contextlib
import functools
import hashlib
import io
import json
import logging
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_type_hints

import pytest
import yaml
from hydra.core.global_hydra import GlobalHydra

from bench.cells.migrations import migrated
from bench.cells.request import digest, normalised
from bench.cli import main
from bench.config.compose import compose_with_hydra
from bench.config.files import options
from bench.config.plain import Composer
from bench.config.schema import read_config
from bench.data import mnist5k
from bench.papers.definition import table_names
from bench.sweep.journal import Journal
from bench.tasks.registry import CLASSIFICATION
from bench.training.cache import training_identity
from methods.registry import method_class
from methods.training.base import TrainedMethod
from models.quantize.spec import QuantSpec
from models.zoo import zoo
from tests.bench.cells_of import plan, request_id

KEPT = Path(__file__).parent / "unchanged"
IDS, TEXTS, DASHBOARD = KEPT / "ids.json", KEPT / "texts", KEPT / "dashboard.json"

# Stands for the folder of images in what is typed.
PHOTOS = "PHOTOS"
# The first ten of ImageNet's, for networks of 10 outputs and of 1,000.
SYNSETS = (
    *("n01440764", "n01443537", "n01484850", "n01491361", "n01494475"),
    *("n01496331", "n01498041", "n01514668", "n01514859", "n01518878"),
)

DEMO = ("experiment=demo", "data.limit=100")
SHORT = ("data.limit=100", "data.subset=256", "method.schedule.epochs=1")
# Experiments with measured cells in `outputs/`, and what these were measured with.
MEASURED = {
    "demo": ("data.limit=100",),
    "mixed_precision_resnet20": ("data.limit=100",),
    "adaptive_bits_resnet20": SHORT,
    "surrogates_resnet20": ("data.limit=100", "data.subset=256"),
    "dsg_ablation_resnet20": ("data.limit=100", "method.iterations=10"),
}
# One cell of these has failed.
FAILED = ("adaptive_bits_resnet20", *SHORT, "method.schedule.lr=1e9", "method=individual", "seed=0")
# Tables kept in every format: what was measured, and papers' tables with made-up numbers.
EVERY_FORMAT = (
    *("measured_demo", "measured_adaptive_bits_resnet20", "measured_mixed_precision_resnet20"),
    *("table_dsg_resnet18", "table_coquant_cifar10_resnet18"),
)
FORMATS = {"md": "md", "csv": "csv", "latex": "tex", "html": "html"}

# The demo's cell that is measured again: W3A3 with noise, seed 0.
GAUSSIAN = "14952a7e2a03b096"
# Others of the kept cells.
CELLS = {
    "float": "de0f71db899533b1",
    "real": "b7939d1c7611e273",
    "mixed": "72646796aecd3f5f",
    "trained": "b8d6d1e0ad99e482",
    "skipped": "7967dfb32801ca43",
    "first_version": "0027c34b8999a36a",
}
# Values of a record that differ from one run to the next; of some the keys stay.
VOLATILE = ("started_at", "git_sha", "peak_memory_bytes", "correct_sha256", "checksum")
KEYS_ONLY = ("seconds", "runtime", "versions")


class Finished(NamedTuple):
    """What a command printed, and its exit status."""

    status: int
    out: str
    err: str


def bench(*args: str, folder: Path) -> Finished:
    """Call the command line in `folder`; what it changes in this process is put back."""
    logger = logging.getLogger("bench")
    before = (list(logger.handlers), logger.level, logger.propagate)
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", list(sys.argv))
        patch.setattr(sys, "path", list(sys.path))
        patch.setattr(mnist5k, "read_digits", _digits)
        for name in ("HYDRA_FULL_ERROR", *(n for n in os.environ if n.startswith("WANDB_"))):
            patch.delenv(name, raising=False)
        GlobalHydra.instance().clear()
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                status = main(list(args))
        finally:
            Journal.forget()
            GlobalHydra.instance().clear()
            logger.handlers, logger.level, logger.propagate = before
    os.environ.pop("HYDRA_FULL_ERROR", None)
    return Finished(status, out.getvalue(), err.getvalue())


# Parsing the packaged digits takes longer than most of the commands, and a composer reads each
# config once.
_digits = functools.cache(mnist5k.read_digits)
_composer = functools.cache(Composer)


# Ids


def _id_cases() -> dict[str, list[str]]:
    """Return by name what is typed for each cell whose ids are kept."""
    return {
        "default": [],
        **_method_cases(),
        **{f"recipe/{name}": [f"recipe={name}"] for name in options("recipe")},
        **_quant_cases(),
        **_training_cases(),
        **_model_cases(),
        **_data_cases(),
        "seed": ["seed=3"],
        "tf32": ["runtime.precision=tf32"],
        "bf16, heeded": ["method=zeroq", "runtime.precision=bf16"],
        "bf16, not heeded": ["method=gaussian", "runtime.precision=bf16"],
        "bf16 of a float cell": ["quant=fp32", "runtime.precision=bf16"],
        "tf32 of a float cell": ["quant=fp32", "runtime.precision=tf32"],
    }


_STRAIGHT_THROUGH = ("affine", "gated")
"""Quantizers that take no surrogate gradient."""

_BUDGETS = {
    "autoq": ["quant=mixed", "quant.mean_bits=3"],
    "bayesian_bits": ["quant=mixed_all"],
    "dpq": ["model=word_bag", "data=topics", "quant=fp32", "quant.first_bits=2"],
    "haq": ["quant=mixed", "quant.mean_bits=3"],
    "mixed_step_range": ["quant=mixed_all", "quant.budget={mean_bits:4,mean_activation_bits:4}"],
}
"""What is typed besides for methods that choose bits, or quantize a table alone."""


def _method_cases() -> dict[str, list[str]]:
    cases: dict[str, list[str]] = {}
    for name in options("method"):
        typed = [f"method={name}", *_BUDGETS.get(name, ())]
        cases[f"method/{name}"] = typed
        composed = _composer().compose(typed)["method"]
        if "variant" in composed:
            annotated = get_type_hints(method_class(composed["name"]))["variant"]
            for variant in get_args(annotated):
                cases[f"method/{name}, {variant}"] = [*typed, f"method.variant={variant}"]
        if name == "dpq":  # which has no use for quantizers
            continue
        if "qat" in composed and composed["qat"]["weight_quantizer"] not in _STRAIGHT_THROUGH:
            surrogate = "method.qat.weight_surrogate=ewgs"
            for variant in ("release", "slides"):
                words = [*typed, surrogate, f"method.qat.variant={variant}"]
                cases[f"method/{name}, ewgs, {variant}"] = words
        if "qat" in composed:
            bits = [] if name in _BUDGETS else ["quant=w4a4"]
            cases[f"method/{name}, scratch"] = [*typed, "method.init=scratch", *bits]
    return cases


def _quant_cases() -> dict[str, list[str]]:
    whole = [name for name in options("quant") if not name.startswith("mixed")]
    ranges = ("minmax", "ema", "percentile", "mse", "entropy")
    return {
        **{f"quant/{name}": [f"quant={name}"] for name in whole},
        "quant/mixed, mean_bits": ["quant=mixed", "quant.mean_bits=4"],
        "quant/mixed, size_mb": ["quant=mixed", "quant.size_mb=0.15"],
        "quant/mixed, a_bits": ["quant=mixed", "quant.mean_bits=3.5", "quant.a_bits=6"],
        "rounding": ["quant=w4a8", "quant.rounding=adaround"],
        "fold": ["quant=w4a4", "quant.fold=true"],
        **{f"range/{name}": ["quant=w4a4", f"quant.a_range={name}"] for name in ranges},
    }


def _training_cases() -> dict[str, list[str]]:
    individual = ["method=individual", "quant=w4a4"]
    plain = [name for name in options("qat") if name not in (*_BUDGETS, "gated")]
    qat = {f"qat/{name}": [*individual, f"qat@method.qat={name}"] for name in plain}
    schedules = {
        f"schedule/{name}": [*individual, f"schedule@method.schedule={name}"]
        for name in options("schedule")
    }
    return {**qat, **schedules, "other bits of one training": ["method=coquant", "quant=w2a2"]}


def _model_cases() -> dict[str, list[str]]:
    photos = ["data=imagenet", f"data.root={PHOTOS}", "method=gaussian"]
    scratch = ["method=individual", "method.init=scratch", "method.schedule.batch_size=4"]
    cases = {}
    for name, entry in zoo().items():
        if entry.preprocessing.medium == "text":
            texts = ["data=topics", "data.limit=2", "method=real"]
            for tag in ("default", *entry.weights):
                cases[f"model/{name}, {tag}"] = [f"model={name}", f"model.weights={tag}", *texts]
            continue
        if entry.task != CLASSIFICATION:
            canvases = [f"model={name}", "data=digits_canvas", "data.limit=2", "method=gaussian"]
            cases |= {
                f"model/{name}, {tag}": [*canvases, f"model.weights={tag}"] for tag in entry.weights
            }
            continue
        for tag in ("default", *entry.weights):
            cases[f"model/{name}, {tag}"] = [f"model={name}", f"model.weights={tag}", *photos]
        if not entry.weights:
            del cases[f"model/{name}, default"]
        images = "data=cifar10_jpeg" if entry.classes == len(SYNSETS) else "data=imagenet"
        typed = [f"model={name}", "model.weights=none", images, f"data.root={PHOTOS}"]
        cases[f"model/{name}, none"] = [*typed, *scratch]
    return cases


def _data_cases() -> dict[str, list[str]]:
    cases = {}
    for name in options("data"):
        # Which the default network does not take: boxes, and texts.
        if name in ("coco", "digits_canvas", "topics"):
            continue
        if name in ("clips", "minikinetics"):  # which are no photos
            continue
        root = {"mnist5k": [], "motion": [], "cifar10": ["data.root=/nowhere"]}.get(
            name, [f"data.root={PHOTOS}"]
        )
        typed = [f"data={name}", *root]
        real, training = ["method=real"], ["method=joint", "method.schedule.batch_size=4"]
        if name == "imagenet":  # which is of more classes than the default network
            typed = ["model=resnet18", *typed]
        cases |= {
            f"data/{name}": typed,
            f"data/{name}, limit": [*typed, "data.limit=3"],
            f"data/{name}, real": [*typed, *real],
            f"data/{name}, real, subset": [*typed, *real, "data.subset=20"],
            f"data/{name}, training": [*typed, *training],
            f"data/{name}, training, subset": [*typed, *training, "data.subset=20"],
            f"data/{name}, subset that is not seen": [*typed, "data.subset=20"],
        }
    photos = [f"data.root={PHOTOS}"]
    cases["data/folder, label"] = ["data=folder", *photos, "data.label=pictures"]
    cases["data/folder, skip_bad"] = ["data=folder", *photos, "data.skip_bad=true"]
    return cases


def _make_photos(folder: Path) -> None:
    """Make what the fingerprint of a set of photos is made of: names, sizes and labels."""
    for side, count in (("train", 5), ("val", 2)):
        for label, name in enumerate(SYNSETS):
            (folder / side / name).mkdir(parents=True)
            for index in range(count):
                content = bytes(100 + 10 * index + label)
                (folder / side / name / f"{side}_{index}.jpg").write_bytes(content)


def _ids(typed: Sequence[str], photos: Path) -> dict[str, str]:
    words = [word.replace(PHOTOS, str(photos)) for word in typed]
    config = read_config(_composer().compose([*words, "tracking=none"]))
    ids = {"request_id": request_id(config)}
    if "data=cifar10" in typed:  # whose files nobody has who has not fetched them
        return ids
    cell = plan(config)
    ids |= {"id": cell.id, "calibration_key": cell.calibration_key}
    if isinstance(cell.method, TrainedMethod):
        ids["training"] = digest(training_identity(cell, cell.method))
    return ids


@functools.cache
def _kept_ids() -> dict[str, Any]:
    return json.loads(IDS.read_bytes())


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("ids") / "photos"
    _make_photos(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mnist5k, "read_digits", _digits)
        yield folder


@pytest.mark.parametrize("name", _kept_ids() if IDS.exists() else [])
def test_ids_stay(name: str, photos: Path) -> None:
    kept = _kept_ids()[name]
    assert _ids(kept["typed"], photos) == kept["ids"]


def test_every_preset_has_its_ids_kept() -> None:
    assert {name: case["typed"] for name, case in _kept_ids().items()} == _id_cases()


@pytest.mark.parametrize("name", ["default", "method/coquant", "qat/adabits", "bf16, heeded"])
def test_hydra_composes_the_same_ids(name: str, photos: Path) -> None:
    kept = _kept_ids()[name]
    config = read_config(compose_with_hydra([*kept["typed"], "tracking=none"]))
    assert (request_id(config), plan(config).id) == (kept["ids"]["request_id"], kept["ids"]["id"])


# What commands print


@functools.cache
def _commands() -> dict[str, list[str]]:
    """Return by the name of a kept file the command that prints it."""
    shown = {f"table_{name}": ["table", name] for name in {*options("experiment"), *table_names()}}
    shown |= {f"measured_{name}": ["table", name, *words] for name, words in MEASURED.items()}
    listed = ("models", "methods", "quant", "recipes", "data", "experiments", "tables")
    return {
        **{f"{name}.txt": typed for name, typed in shown.items()},
        **{
            f"{name}.{suffix}": [*shown[name], "--format", to]
            for name in EVERY_FORMAT
            for to, suffix in FORMATS.items()
        },
        "missing.txt": ["table", "zeroq_w8a8", "--missing"],
        **{f"ls_{what}.txt": ["ls", what] for what in listed},
        "ledger.txt": ["ledger"],
        "status.txt": ["status"],
        "status_demo.txt": ["status", "--experiment", "demo", "data.limit=100"],
        "status_demo_whole.txt": ["status", "--experiment", "demo"],
        "status_failed.txt": ["status", "--experiment", *FAILED],
        "table_failed.txt": ["table", *FAILED],
        "compare_demo.txt": ["compare", "demo", "data.limit=100"],
        "compare_demo_whole.txt": ["compare", "demo"],
        "compare_cells.txt": ["compare", GAUSSIAN, CELLS["real"]],
        **{f"recipe_{what}.txt": ["recipe", id] for what, id in CELLS.items()},
        "recipe_two.txt": ["recipe", GAUSSIAN, CELLS["mixed"]],
        "recipe_preset.txt": ["recipe", "deploy"],
        "cite.txt": ["cite", "demo"],
        "validate.txt": ["validate"],
    }


def _copy_records(folder: Path, *kept: str) -> Path:
    """Copy kept records to where commands look for results that are called in `folder`."""
    for name in kept:
        shutil.copytree(KEPT / name / "cells", folder / "outputs" / "cells", dirs_exist_ok=True)
    return folder


def _text(name: str, folder: Path) -> str:
    """Return what a command prints, and its exit status where that is not 0."""
    done = bench(*_commands()[name], folder=folder)
    ends = f"exit status {done.status}\n" if done.status else ""
    return done.out + done.err + ends


@pytest.fixture(scope="module")
def all_records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _copy_records(tmp_path_factory.mktemp("all"), "outputs", "made_up")


@pytest.mark.thorough
@pytest.mark.parametrize("name", sorted(path.name for path in TEXTS.glob("*")))
def test_texts_stay(name: str, all_records: Path) -> None:
    assert _text(name, all_records) == (TEXTS / name).read_text()


def test_every_text_is_kept() -> None:
    assert {path.name for path in TEXTS.glob("*")} == _commands().keys()


# A folder of results that is there already


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    return _copy_records(tmp_path, "outputs")


def _content(folder: Path) -> dict[str, bytes]:
    files = (path for path in (folder / "outputs" / "cells").rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_sweep_finds_what_was_measured(measured: Path) -> None:
    before = _content(measured)
    words = ("run", "-m", *DEMO, "tracking=none", "runtime.device=cpu")
    # Were a cell not found, measuring all of them would take minutes.
    planned = bench(*words, "--dry-run", folder=measured)
    assert planned.out == "27 cells: 27 done, 0 to measure\n"
    done = bench(*words, folder=measured)
    assert done.status == 0, done
    (journal,) = (measured / "outputs" / "sweeps").rglob("*.jsonl")
    entries = [json.loads(line) for line in journal.read_text().splitlines()]
    assert [entry["status"] for entry in entries] == ["found"] * 27
    assert _content(measured) == before


def test_a_cell_comes_out_the_same_again(measured: Path) -> None:
    done = bench("rerun", GAUSSIAN, folder=measured)
    assert (done.status, done.err) == (0, "")
    assert re.search(r"^same: \d+/100, every image as recorded$", done.out, re.MULTILINE)


def _dashboard(folder: Path) -> dict[str, Any]:
    """Return the data in the page of all results, without its date and what made it."""
    done = bench("dashboard", folder=folder)
    assert done.status == 0, done
    page = (folder / "outputs" / "dashboard.html").read_text(encoding="utf-8")
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.S)
    assert found is not None
    data = json.loads(found.group(1))
    for key in ("made_at", "version"):
        del data["about"][key]
    return data


def _sums(data: dict[str, Any]) -> dict[str, Any]:
    texts = {key: json.dumps(value) for key, value in data.items()}
    sums = {key: hashlib.sha256(text.encode()).hexdigest() for key, text in texts.items()}
    return {"cells": len(data["cells"]), "keys of a cell": [*data["cells"][0]], "sha256": sums}


def test_the_dashboard_has_the_same_data(measured: Path) -> None:
    data = _dashboard(measured)
    assert len(data["cells"]) == len([*(KEPT / "outputs" / "cells").iterdir()])
    assert _sums(data) == json.loads(DASHBOARD.read_bytes())


IDLE = {field.name for field in fields(QuantSpec) if field.name.startswith("rounding_")} | {
    *("weight_correction", "bias_correction", "reestimate_batchnorm", "equalise")
}
SHARES = ("quantized_weights", "quantized_multiplications", "quantized_inputs")

COSTS = (
    *("macs", "mac_bits", "bops", "bops_percent", "activations_mb", "largest_activation_mb"),
    *("mean_bits", "size_with_scales_mb", "mean_activation_bits", "bops_with_additions"),
    *("latency_ms", "logit_mse", "lost", "gained"),
)


def _held(record: dict[str, Any]) -> str:
    """Return all of a record that measuring the cell again does not change."""
    held = {
        key: [*value] if key in KEYS_ONLY else value
        for key, value in record.items()
        if key not in VOLATILE
    }
    return json.dumps(held, indent=1, sort_keys=True)


def test_a_record_measured_now_is_the_kept_one(tmp_path: Path) -> None:
    words = ("method=gaussian", "quant.w_bits=3", "seed=0", "tracking=none", "runtime.device=cpu")
    done = bench("run", "-m", *DEMO, *words, folder=tmp_path)
    assert done.status == 0, done
    cells = tmp_path / "outputs" / "cells"
    float_id = json.loads((cells / GAUSSIAN / "result.json").read_bytes())["fp32_id"]
    assert {path.name for path in cells.iterdir()} == {GAUSSIAN, float_id}
    for id in (GAUSSIAN, float_id):
        now, kept = cells / id, KEPT / "outputs" / "cells" / id
        records = [json.loads((folder / "result.json").read_bytes()) for folder in (now, kept)]
        records[1] = migrated(records[1])
        # The kept one was measured when nobody counted what is quantized, or what it costs.
        found = [records[0].pop(key) for key in (*SHARES, *COSTS)]
        assert not any(records[1].pop(key, None) for key in (*SHARES, *COSTS))
        shares = [None] * 3 if id == float_id else [100.0, 100.0, pytest.approx(98.9145)]
        assert found[:3] == shares
        assert found[3] == 40_813_184
        assert sorted(records[0]) == sorted(records[1])
        assert _held(records[0]) == _held(records[1])
        configs = [yaml.safe_load((folder / "config.yaml").read_text()) for folder in (now, kept)]
        # With what has an effect: how long a rounding learns that does not is another by now.
        assert normalised(read_config(configs[0])) == normalised(read_config(configs[1]))
        # Of a float cell the budgets of mixed precision were once written, as null.
        quants = [{k: v for k, v in c["quant"].items() if k not in IDLE} for c in configs]
        assert quants[0].items() <= quants[1].items()


# Writing


def write() -> None:
    """Write ids, texts and the dashboard's sums as they are now."""
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        patch.setattr(mnist5k, "read_digits", _digits)
        photos, everything, measured = (Path(place, name) for name in ("photos", "all", "measured"))
        _make_photos(photos)
        cases = _id_cases()
        ids = {name: {"typed": t, "ids": _ids(t, photos)} for name, t in cases.items()}
        IDS.write_text(json.dumps(ids, indent=1) + "\n")
        shutil.rmtree(TEXTS, ignore_errors=True)
        TEXTS.mkdir()
        _copy_records(everything, "outputs", "made_up")
        for name in _commands():
            (TEXTS / name).write_text(_text(name, everything))
        sums = _sums(_dashboard(_copy_records(measured, "outputs")))
        DASHBOARD.write_text(json.dumps(sums, indent=1) + "\n")


if __name__ == "__main__":
    write()
