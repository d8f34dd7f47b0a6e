"""`bench run` as its users call it, the mistakes they make included."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from bench.cells.store import Store
from tests.bench.conftest import (
    FAST,
    Finished,
    assert_nothing_partial,
    assert_runs_agree,
    records,
    start_bench,
)

Bench = Callable[..., Finished]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model=resnet21", "unknown model 'resnet21'; did you mean 'resnet20'?"),
        ("method=gausian", "unknown method 'gausian'; did you mean 'gaussian'?"),
        ("quant=w4a44", "unknown quant 'w4a44'; did you mean 'w4a4'?"),
        ("data=imagnet", "unknown data 'imagnet'; did you mean 'imagenet'?"),
        ("experiment=dmo", "unknown experiment 'dmo'; did you mean 'demo'?"),
        ("quant.w_bit=4", "unknown config value 'quant.w_bit'; did you mean 'quant.w_bits'?"),
        ("quant=4", "unknown quant '4'; did you mean quant.w_bits=4, or quant=w4a4?"),
        ("quant=7", "unknown quant '7'; did you mean quant.w_bits=7, or quant=w7a7?"),
        ("quant=W4A4", "unknown quant 'W4A4'; did you mean 'w4a4'?"),
        ("quant=w4", "unknown quant 'w4'; did you mean 'w4a4'?"),
        (
            "method=zeroq.variant=paper",
            "'method=zeroq.variant=paper' is two; did you mean method=zeroq method.variant=paper?",
        ),
        (
            "method=gaussian,zeroq",
            "method=gaussian,zeroq lists values for several cells; add -m to measure them all, or "
            "put quotes around a value with a comma",
        ),
        (
            "quant=glob(w4*)",
            "quant=glob(w4*) lists values for several cells; add -m to measure them all, or put "
            "quotes around a value with a comma",
        ),
        (
            "method=[real,zeroq]",
            "method=[...] mixes configs; list values with -m and no brackets (method=[real,zeroq])",
        ),
        ("+quant=w4a4", "quant has an option already; write quant=... without the +"),
    ],
)
def test_an_unknown_name(bench_main: Bench, outputs: Path, override: str, message: str) -> None:
    for dry in ((), ("--dry-run",)):
        done = bench_main("run", override, f"paths.outputs={outputs}", *dry)
        assert done == (2, "", f"error: {message}\n")
    assert not outputs.exists()


REFUSED = [
    ("quant.w_bits=17", "quant.w_bits=17 is impossible; give 2..16, or 32 for float"),
    ("quant.w_bits=1", "quant.w_bits=1 is impossible; give 2..16, or 32 for float"),
    ("quant.w_bits=0", "quant.w_bits=0 is impossible; give 2..16, or 32 for float"),
    ("quant.a_bits=-4", "quant.a_bits=-4 is impossible; give 2..16, or 32 for float"),
    ("seed=-1", "config seed=-1: Input should be greater than or equal to 0"),
    ("seed=x", "config seed='x': Input should be a valid integer, unable to parse string as an "),
    ("+other=1", "config other=1: Extra inputs are not permitted"),
    ("method.images=0", "method 'gaussian': images=0; give at least 1"),
    ("+method.image=3", "method 'gaussian' has no parameter 'image'; did you mean 'images'?"),
    ("data.limit=0", "data.limit=0 is not a number of images; "),
    ("data.limit=9999", "data.limit=9999 is more than the 1000 images of the eval side of "),
    ("model.weights=/nope.pt", "weights file /nope.pt does not exist; check the path"),
    ("model.weights=mnist", "resnet20 has no weights 'mnist'; did you mean 'mnist5k'?"),
    (
        "runtime.device=gpu",
        "runtime.device=gpu cannot be used here: there is no such device; give auto, cpu, cuda or "
        "cuda:N (",
    ),
    ("runtime.compile=maybe", "config runtime.compile='maybe': give true, false or auto ("),
    ("runtime.batch_size=0", "config runtime.batch_size=0: Input should be greater than 0"),
    ("data=folder", "data.root is not set for data set 'folder'; set it to the folder that holds "),
    ("data=imagenet", "data.root is not set for data set 'imagenet'; "),
]


@pytest.mark.parametrize(("override", "message"), REFUSED)
def test_an_impossible_value(bench_main: Bench, outputs: Path, override: str, message: str) -> None:
    given = [line for line in FAST if line.partition("=")[0] != override.partition("=")[0]]
    if override.startswith("data="):
        given = [line for line in given if not line.startswith("data.")]
    done = bench_main("run", *given, override, f"paths.outputs={outputs}")
    assert done.status == 1
    assert done.out.startswith(f"error: {message}")
    assert override in done.out
    assert (done.out.count("\n"), done.err) == (1, "")
    assert records(outputs) == {}


def test_a_folder_that_is_not_there(bench_main: Bench, outputs: Path, tmp_path: Path) -> None:
    done = bench_main(
        "run", "data=folder", f"data.root={tmp_path}/nope", "method=gaussian", "tracking=none",
        f"paths.outputs={outputs}",
    )  # fmt: skip
    assert done.status == 1
    assert done.out.startswith(f"error: data.root='{tmp_path}/nope' is not a folder; set it to ")
    assert done.out.count("\n") == 1


def test_a_broken_image(bench_main: Bench, outputs: Path, tmp_path: Path) -> None:
    for side in ("train", "test"):
        for name in "abcdefghij":  # as many classes as the network has
            (tmp_path / "photos" / side / name).mkdir(parents=True)
            (tmp_path / "photos" / side / name / "x.png").write_text("no image")
    done = bench_main(
        "run", "data=folder", f"data.root={tmp_path}/photos", "method=gaussian", "tracking=none",
        f"paths.outputs={outputs}",
    )  # fmt: skip
    assert done.status == 1
    assert done.out.count("\n") == 1
    assert done.out.startswith(
        "resnet20 photos gaussian W8A8 seed 0: failed: the float network could not be measured: "
        "cannot decode image 'a/x.png' of the eval side of 'photos': cannot identify image file"
    )
    assert Counter(record["status"] for record in records(outputs).values()) == {"failed": 2}
    assert_nothing_partial(outputs)


@pytest.mark.parametrize("kind", ["file", "impossible"])
def test_outputs_that_cannot_be_written(bench_main: Bench, tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").write_text("")
    place = tmp_path / "file" if kind == "file" else tmp_path / "file" / "below"
    done = bench_main("run", *FAST, f"paths.outputs={place}")
    assert done.status == 2
    assert done.err.startswith("error: cannot write results: ")
    assert done.err.endswith("; check paths.outputs\n")
    assert done.err.count("\n") == 1


def test_one_cell_prints_one_line_and_writes_in_one_place(
    bench_main: Bench, outputs: Path, workplace: Path
) -> None:
    first = bench_main("run", *FAST, f"paths.outputs={outputs}")
    (id,) = [id for id, record in records(outputs).items() if record["method"] == "gaussian"]
    record = records(outputs)[id]
    assert first.status == 0
    assert first.out == (
        f"resnet20 mnist5k gaussian W8A8 seed 0: {record['top1']:.2f} % "
        f"[{record['ci_low']:.2f}, {record['ci_high']:.2f}], float {record['fp32_top1']:.2f} %, "
        f"{record['seconds']['total']:.1f} s  {id}\n"
    )
    assert first.err == ""
    again = bench_main("run", *FAST, f"paths.outputs={outputs}")
    assert again.status == 0
    assert again.out.endswith(f", known  {id}\n")
    assert list(workplace.iterdir()) == []


def test_a_sweep_with_one_bad_cell_measures_the_others(bench_main: Bench, outputs: Path) -> None:
    done = bench_main("run", "-m", *FAST, "quant.w_bits=8,17,4", f"paths.outputs={outputs}")
    assert done.status == 1
    lines = done.out.splitlines()
    assert lines[0].startswith("[1/3, about ")
    assert lines[1].startswith("[2/3, 1 failed, about ")
    assert "error: quant.w_bits=17 is impossible; " in lines[1]
    assert lines[2].startswith("[3/3, 1 failed] resnet20 mnist5k gaussian W4A4 seed 0: ")
    assert lines[-1] == "3 cells: 2 done, 1 refused"
    assert sorted(r["w_bits"] for r in records(outputs).values()) == [4, 8, 32]


@pytest.mark.thorough
def test_a_sweep_with_a_failed_cell_tries_it_again(
    bench_main: Bench, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = ("run", "-m", *FAST, "seed=0,1", f"paths.outputs={outputs}")
    with monkeypatch.context() as patch:
        patch.setattr("methods.base.quantize", lambda *_: 1 / 0)
        done = bench_main(*line)
    assert done.status == 1
    assert done.out.splitlines()[-1] == "2 cells: 2 failed"
    assert "failed: ZeroDivisionError: division by zero" in done.out
    again = bench_main(*line)
    assert again.status == 0
    assert again.out.splitlines()[-1] == "2 cells: 2 done"
    assert bench_main(*line).out.splitlines()[-1] == "2 cells: 2 found"


def test_one_run_does_not_remember_the_sweep_before(bench_main: Bench, outputs: Path) -> None:
    bench_main("run", "-m", *FAST, "quant.w_bits=8,17", f"paths.outputs={outputs}")
    done = bench_main("run", *FAST, f"paths.outputs={outputs}")
    assert done.status == 0
    assert done.out.count("\n") == 1
    assert not done.out.startswith("[")


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
@pytest.mark.parametrize(
    "words",
    [
        ("-m", "experiment=demo,dsg_ablation_resnet20"),
        ("experiment=demo,dsg_ablation_resnet20",),
        ("-m", "+experiment=demo,dsg_ablation_resnet20"),
        ("-m", "experiment=choice(demo,dsg_ablation_resnet20)"),
        ("-m", "experiment=[demo,dsg_ablation_resnet20]"),
    ],
)
def test_one_experiment_a_run(
    bench_main: Bench, outputs: Path, words: tuple[str, ...], dry: tuple[str, ...]
) -> None:
    done = bench_main("run", *words, f"paths.outputs={outputs}", *dry)
    said = f"error: {words[-1]}: give one experiment a run; each has a sweep of its own\n"
    assert done == (2, "", said)
    assert not outputs.exists()


def test_overrides_on_both_sides_of_a_flag(
    bench_main: Bench, outputs: Path, tmp_path: Path
) -> None:
    place = f"paths.outputs={outputs}"
    line = ("run", *FAST, "-m", "seed=0,1", "--config-dir", tmp_path, place)
    dry = bench_main(*line[:2], "--dry-run", *line[2:])
    assert (dry.status, dry.err) == (0, "")
    assert dry.out.splitlines()[0] == "2 cells: 0 done, 2 to measure"
    done = bench_main(*line)
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines()[-1] == "2 cells: 2 done"
    printed = bench_main("run", "quant=w4a8", "--cfg", "job", place)
    assert printed.status == 0
    assert "  w_bits: 4\n  a_bits: 8\n" in printed.out


def test_one_mistake_in_a_sweep_is_said_once(bench_main: Bench, outputs: Path) -> None:
    given = ("tracking=none", "method=gaussian", "quant.w_bits=8,4,17", "seed=0,1")
    done = bench_main("run", "-m", "data=imagenet", *given, f"paths.outputs={outputs}")
    assert (done.status, done.err) == (1, "")
    first, second, *rest = done.out.splitlines()
    reason, bits = "data.root is not set for data set 'imagenet'; ", "quant.w_bits=17 is impossible"
    assert first.startswith("[1/6, 1 failed, about ") and f"] error: {reason}" in first
    assert second.startswith("[5/6, 5 failed, about ") and f"] error: {bits}" in second
    assert rest[0].startswith(f"4 times: error: {reason}")
    assert rest[1].startswith(f"2 times: error: {bits}")
    assert rest[2:] == ["6 cells: 6 refused"]
    (journal,) = (outputs / "sweeps").glob("*/jobs-*.jsonl")
    entries = [json.loads(line) for line in journal.read_text().splitlines()]
    assert [entry["status"] for entry in entries] == ["refused"] * 6
    assert len({entry["label"] for entry in entries}) == 6


def test_an_interval_is_no_list(bench_main: Bench, outputs: Path) -> None:
    done = bench_main("run", "-m", *FAST, "quant.w_bits=interval(2,8)", f"paths.outputs={outputs}")
    assert done.status == 2
    assert done.err.startswith("error: ")
    assert "interval" in done.err.lower()
    assert done.err.count("\n") == 1


@pytest.mark.thorough
def test_a_damaged_record_is_put_aside(bench_main: Bench, outputs: Path) -> None:
    bench_main("run", *FAST, f"paths.outputs={outputs}")
    (id,) = [id for id, record in records(outputs).items() if record["method"] == "gaussian"]
    path = outputs / "cells" / id / "result.json"
    path.write_text(path.read_text()[:200])
    cut = path.read_bytes()
    done = bench_main("run", "-m", *FAST, "seed=0,1", f"paths.outputs={outputs}")
    assert done.status == 0
    assert done.out.splitlines()[-1] == "2 cells: 2 done"
    aside = outputs / "altered" / id
    line = f"warning: {path} is not whole; measured again, the altered one is in {aside}"
    assert (done.out + done.err).splitlines().count(line) == 1
    assert (aside / "result.json").read_bytes() == cut
    assert records(outputs)[id]["status"] == "done"


def test_an_experiment_names_its_group_and_the_command_line_wins(
    bench_main: Bench, outputs: Path
) -> None:
    fast = [line for line in FAST if not line.startswith("method.images=")]
    done = bench_main(
        "run", "experiment=demo", *fast, "seed=0", "quant.w_bits=8", f"paths.outputs={outputs}"
    )
    assert done.status == 0
    assert done.out.startswith("[1/1] resnet20 mnist5k gaussian W8A8 seed 0: ")
    (record,) = [r for r in records(outputs).values() if r["method"] == "gaussian"]
    assert record["group"] == "demo"
    assert record["recipe"]["calibration"]["images"] == 16


@pytest.mark.thorough
def test_configs_of_ones_own(bench_main: Bench, outputs: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    for group, name, text in (
        ("method", "few", "name: gaussian\nimages: 3\n"),
        ("method", "nameless", "images: 3\n"),
        ("quant", "half", "w_bits: 4\n"),
        (
            "experiment",
            "mine",
            "# @package _global_\ngroup: mine\nhydra:\n  mode: MULTIRUN\n"
            "  sweeper:\n    params:\n      method: few,real\n",
        ),
    ):
        (own / group).mkdir(parents=True, exist_ok=True)
        (own / group / f"{name}.yaml").write_text(text)
    common = ("--config-dir", own, "tracking=none", "data.limit=50", f"paths.outputs={outputs}")

    done = bench_main("run", *common, "experiment=mine")
    assert done.status == 0
    assert done.out.splitlines()[-1] == "2 cells: 2 done"
    found = [r for r in records(outputs).values() if r["method"] != "float"]
    assert {(r["method"], r["group"]) for r in found} == {("gaussian", "mine"), ("real", "mine")}
    few = next(r for r in found if r["method"] == "gaussian")
    assert few["recipe"]["calibration"]["images"] == 3

    for override, message in (
        ("method=nameless", "error: method.name is missing; "),
        ("quant=half", "error: quant.a_bits is missing; "),
    ):
        refused = bench_main("run", *common, override)
        assert refused.status == 1
        assert refused.out.startswith(message)
        assert refused.out.count("\n") == 1


def test_a_method_of_ones_own_is_found_beside_the_command(
    bench_main: Bench, outputs: Path, workplace: Path
) -> None:
    (workplace / "my_zeros_method.py").write_text(
        "from dataclasses import dataclass\nimport torch\n"
        "from methods.base import Calibration, Method\n\n"
        "@dataclass(frozen=True)\nclass Zeros(Method):\n    name = 'zeros'\n\n"
        "    def calibrate(self, network, context):\n"
        "        return Calibration(torch.zeros(self.images, *context.input_shape))\n"
    )
    name = "method=my_zeros_method:Zeros"
    given = ("tracking=none", "data.limit=50", f"paths.outputs={outputs}")
    done = bench_main("run", name, "method.images=2", *given)
    assert done.status == 0
    (id,) = [id for id, record in records(outputs).items() if record["method"] == "zeros"]
    assert bench_main("rerun", id, f"paths.outputs={outputs}").status == 0
    bad = bench_main("run", name.replace("Zeros", "Zero"), *given)
    assert bad == (2, "", "error: 'my_zeros_method' has no 'Zero'; did you mean 'Zeros'?\n")


def test_a_network_of_ones_own_is_an_option_too(
    bench_main: Bench, outputs: Path, workplace: Path
) -> None:
    (workplace / "my_tiny_network.py").write_text(
        "import torch\nfrom models.preprocessing import Preprocessing\n\n"
        "preprocessing = Preprocessing(32, 32, 'bilinear', (0.5,) * 3, (0.25,) * 3)\n\n"
        "def tiny():\n"
        "    torch.manual_seed(0)\n"
        "    return torch.nn.Sequential(torch.nn.Conv2d(3, 8, 32), torch.nn.ReLU(),\n"
        "        torch.nn.Flatten(), torch.nn.Linear(8, 10))\n"
    )
    given = ("tracking=none", "data.limit=50", "method=gaussian", "gate=warn")
    composed = bench_main("run", "model=my_tiny_network:tiny", "--cfg", "job")
    assert "model:\n  name: my_tiny_network:tiny\n  weights: none\n" in composed.out
    timm = bench_main("run", "model=timm/resnet18.tv_in1k", "--cfg", "job")
    assert "model:\n  name: timm/resnet18.tv_in1k\n  weights: default\n" in timm.out
    dry = bench_main("run", "-m", "model=my_tiny_network:tiny,resnet20", *given, "--dry-run")
    assert dry.out.splitlines()[0] == "2 cells: 0 done, 2 to measure"


@pytest.mark.thorough
def test_options_by_glob(bench_main: Bench, outputs: Path, tmp_path: Path) -> None:
    (tmp_path / "own" / "quant").mkdir(parents=True)
    (tmp_path / "own" / "quant" / "w8a7.yaml").write_text("w_bits: 8\na_bits: 7\n")
    place = ("--config-dir", tmp_path / "own", f"paths.outputs={outputs}")
    fast = [word for word in FAST if not word.startswith("quant")]
    line = ("run", "-m", *fast, "quant=glob([w8*],exclude=[w8a4,*32])", *place)
    assert bench_main(*line, "--dry-run").out.startswith("2 cells: 0 done, 2 to measure\n")
    done = bench_main(*line)
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines()[-1] == "2 cells: 2 done"
    assert {r["a_bits"] for r in records(outputs).values()} == {8, 7, 32}
    nothing = bench_main("run", "-m", *fast, "quant=glob(w9*)", *place)
    said = "error: quant=glob(w9*) lists nothing; `bench ls` says what there is\n"
    assert nothing == (2, "", said)


@pytest.mark.parametrize("name", ["epoch=9", "2024", "run#1[a](b)", "it's größe", "a,b c"])
def test_a_folder_of_any_name(bench_main: Bench, workplace: Path, name: str) -> None:
    outputs = workplace / name
    place = f"paths.outputs='{name}'" if "," in name else f"paths.outputs={name}"
    done = bench_main("run", *FAST, place, f"group={outputs.name.split(',')[0]}")
    assert (done.status, done.err) == (0, "")
    assert {record["group"] for record in records(outputs).values()} == {name.split(",")[0]}
    assert bench_main("status", place).out.startswith(f"{name.split(',')[0]}: 2 done\n")


def test_a_mistake_is_said_before_pytorch_is_imported() -> None:
    code = (
        "import sys; from bench.cli import main\n"
        "for words in (['method=gausian'], ['-m', 'method=real,zero'], ['experiment=dem'],\n"
        "              ['--help'], ['hydra/launcher=jobli']):\n"
        "    main(['run', *words])\n"
        "sys.exit('torch' in sys.modules)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert "unknown method 'zero'; did you mean 'zeroq'?" in ended.stderr


def test_help_lists_what_can_be_set(bench_main: Bench) -> None:
    helped = bench_main("run", "--help", "method=dsg")
    assert (helped.status, helped.err) == (0, "")
    lines = helped.out.splitlines()
    for group in ("model", "method", "quant", "recipe", "data", "experiment", "tracking"):
        assert len([line for line in lines if line.startswith(f"{group}: ")]) == 1
    (schedules,) = (line for line in lines if line.startswith("schedule@method.schedule: "))
    assert {"cifar10", "digits", "imagenet"} <= {*schedules.partition(": ")[2].split(", ")}
    assert not [line for line in lines if line.startswith(("train:", "paths: ", "qat: "))]
    assert "  margin_images: 1024" in lines


def test_cfg_prints_and_runs_nothing(bench_main: Bench, outputs: Path) -> None:
    done = bench_main("run", "quant=w4a8", f"paths.outputs={outputs}", "--cfg", "job")
    assert done.status == 0
    assert "  w_bits: 4\n  a_bits: 8\n" in done.out
    assert f"  outputs: {outputs}\n" in done.out
    assert not outputs.exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "the following arguments are required: COMMAND"),
        (("frob",), "invalid choice: 'frob'"),
        (("ls", "modells"), "invalid choice: 'modells'"),
        (("status", "-x"), "error: unknown argument '-x'; overrides look like key=value\n"),
        (("status", "words"), "error: unknown argument 'words'; overrides look like key=value\n"),
        (("run", "words"), "error: unknown argument 'words'; overrides look like key=value\n"),
        (("run", "demo"), "error: unknown argument 'demo'; did you mean experiment=demo?\n"),
        (("run", "--nonsense"), "error: unknown flag --nonsense; see --hydra-help\n"),
        (("run", "--seed=3"), "error: unknown flag --seed=3; did you mean seed=3?\n"),
    ],
)
def test_lines_that_make_no_sense(bench_main: Bench, args: tuple[str, ...], message: str) -> None:
    done = bench_main(*args)
    assert (done.status, done.out) == (2, "")
    assert message in done.err
    assert "Traceback" not in done.err


@pytest.mark.thorough
def test_the_process_ends_with_the_status_and_no_traceback(bench_process: Bench) -> None:
    done = bench_process("run", "model=resnet21")
    assert done == (2, "", "error: unknown model 'resnet21'; did you mean 'resnet20'?\n")


def test_a_sweep_says_what_it_sweeps_and_ends_with_its_table(
    bench_main: Bench, outputs: Path
) -> None:
    place = f"paths.outputs={outputs}"
    sweep = ("-m", *FAST, "quant.a_range=minmax,percentile", "recipe=all_inputs", place)
    dry = bench_main("run", *sweep, "--dry-run")
    assert "varying: quant.a_range=minmax,percentile" in dry.out.splitlines()
    done = bench_main("run", *sweep)
    assert (done.status, done.err) == (0, "")
    first, second, *rest = done.out.splitlines()
    assert (
        " seed 0 quant.a_range=minmax: " in first and " seed 0 quant.a_range=percentile: " in second
    )
    limit = next(word for word in FAST if word.startswith("data.limit=")).partition("=")[2]
    assert rest[:5] == [
        "",
        f"resnet20 on mnist5k: {limit} images of {rest[1].partition(' images of ')[2]}",
        "top-1 in % [95 % Wilson interval]",
        "",
        "method    a_range     W8A8",
    ]
    assert [line.split()[:2] for line in rest[6:8]] == [
        ["gaussian", "minmax"],
        ["gaussian", "percentile"],
    ]
    assert rest[-2:] == [f"in a browser: bench dashboard --open {place}", "2 cells: 2 done"]
    table = "\n".join(rest[1:-2]).rstrip()
    for name, words in (("adhoc", ()), ("adhoc", ("seed=0",))):
        assert bench_main("table", name, *words, place).out.rstrip() == table
    status = bench_main("status", place).out
    assert re.search(r"gaussian W8A8 seed 0 quant.a_range=percentile  \d", status)
    compared = bench_main("compare", "adhoc", place).out
    assert compared.startswith("adhoc: 1 of 1 pairs of quantizers are measured, ")
    assert re.search(
        r"^W8A8 +gaussian a_range=minmax +gaussian a_range=percentile +1 ", compared, re.M
    )
    other = bench_main("run", "-m", *FAST, "seed=0,1", place, "--dry-run").out
    assert "varying: seed=0,1" in other
    # The same words again: known cells, the same table.
    again = bench_main("run", *sweep)
    assert again.out.splitlines()[2:-1] == rest[:-1]
    assert again.out.splitlines()[-1] == "2 cells: 2 found"


def test_a_reader_that_went_away(
    bench_main: Bench, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pipe_without_reader() -> None:
        reader, writer = os.pipe()
        os.close(reader)
        monkeypatch.setattr(sys, "stdout", os.fdopen(writer, "w"))

    pipe_without_reader()
    sweep = bench_main("run", "-m", *FAST, "quant.w_bits=8,4", f"paths.outputs={outputs}")
    assert (sweep.status, sweep.err) == (0, "")
    done = [record for record in records(outputs).values() if record["method"] != "float"]
    assert sorted(record["w_bits"] for record in done) == [4, 8]
    pipe_without_reader()
    helped = bench_main("run", "--help")
    with suppress(BrokenPipeError):
        sys.stdout.close()
    assert (helped.status, helped.err) == (0, "")


@pytest.mark.faults
def test_two_processes_share_a_sweep(outputs: Path, workplace: Path) -> None:
    line = (
        "run", "-m", "method=gaussian,real", "quant.w_bits=8,4", "data.limit=50",
        "tracking=wandb_offline", f"paths.outputs={outputs}",
    )  # fmt: skip
    both = [start_bench(*line, cwd=workplace) for _ in range(2)]
    ends = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    entries = [
        json.loads(line)
        for journal in (outputs / "sweeps").glob("*/jobs-*.jsonl")
        for line in journal.read_text().splitlines()
    ]
    measured = [entry["id"] for entry in entries if entry["status"] == "done"]
    assert Counter(entry["status"] for entry in entries) == {"done": 4, "found": 4}
    assert len(set(measured)) == 4
    assert {*measured} < {*records(outputs)}
    assert len(Store(outputs).results()) == 5
    assert_runs_agree(outputs)
    assert_nothing_partial(outputs)
    assert list(workplace.iterdir()) == []
