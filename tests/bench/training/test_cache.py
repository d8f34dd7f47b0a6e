"""Trainings: kept for all bit-widths, resumed after a kill, refused when something does not fit."""

import json
import pickle
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from bench.config.compose import compose
from bench.config.schema import read_config
from bench.data import ImageCache, ImageSet, decode, feed, scan
from bench.training import run as training_run
from bench.training.cache import training_key
from bench.training.checkpoint import OnDisk
from methods.coquant import CoQuant
from methods.training.base import TrainedMethod
from methods.training.loop import Training
from models.errors import BenchError
from models.quantize.spec import QuantSpec
from tests.bench.cells_of import plan, run_cell
from tests.spy import calls_of

SMALL = (
    *("tracking=none", "data.subset=20", "data.limit=10", "method.images=4"),
    *("method.schedule.epochs=2", "method.schedule.batch_size=5", "runtime.threads=1"),
)


def config(outputs: Path, *overrides: str) -> Any:
    return read_config(compose([*overrides, *SMALL, f"paths.outputs={outputs}"]))


def key(outputs: Path, *overrides: str) -> str:
    cell = plan(config(outputs, *overrides))
    assert isinstance(cell.method, TrainedMethod)
    return training_key(cell, cell.method)


def test_a_new_version_of_a_method_trains_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = key(tmp_path, "method=coquant")
    monkeypatch.setattr(CoQuant, "version", 2)
    assert key(tmp_path, "method=coquant") != first


def test_a_method_from_elsewhere_shares_with_none_but_itself() -> None:
    """Its strategy may have the name of one of ours, and another step."""

    class Own(CoQuant):
        pass

    quant = QuantSpec(4, 4)
    ours, own = CoQuant().identity_of_training(quant), Own().identity_of_training(quant)
    assert own == {"class": f"{__name__}:{Own.__qualname__}", **ours}


@pytest.mark.usefixtures("undrawn")
def test_a_training_leaves_tf32_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What sets cudnn's flags for a while turns it on unless told not to."""
    seen = []
    step = Training._step

    def noting(self: Training, *given: Any) -> torch.Tensor:
        seen.append(torch.backends.cudnn.allow_tf32)
        return step(self, *given)

    monkeypatch.setattr(Training, "_step", noting)
    run_cell(config(tmp_path, "method=dq", "quant=w8a8"))
    assert set(seen) == {False}


@pytest.mark.parametrize(
    "given",
    [
        "method.qat.weight_quantizer=step_range",
        "method.qat.activation_quantizer=step_range",
        "method.qat.weight_surrogate=ewgs",
    ],
)
def test_what_processes_cannot_share_is_refused(tmp_path: Path, given: str) -> None:
    result = run_cell(config(tmp_path, "method=individual", "runtime.processes=2", given)).result
    assert result is not None and result.status == "failed" and result.reason is not None
    assert result.reason.startswith(f"runtime.processes=2 with {given} would train another")


@pytest.mark.thorough
def test_one_training_serves_every_bit_width(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings = calls_of(monkeypatch, Training, "run")
    found = [
        run_cell(config(tmp_path, "method=adabits", "method.bits=[4,2]", f"quant=w{b}a{b}")).result
        for b in (4, 2)
    ]
    assert len(trainings) == 1
    assert [result and result.status for result in found] == ["done", "done"]
    (folder,) = (tmp_path / "cache" / "training").iterdir()
    assert sorted(p.name for p in folder.iterdir()) == [
        *("checksums.json", "history.json", "identity.json", "lock", "trained.safetensors")
    ]
    result = found[1]
    assert result is not None
    assert result.recipe.quantizer["weight_quantizer"] == "lsq"
    assert result.recipe.batchnorm == "private, float"
    said = json.loads((tmp_path / "cells" / result.id / "training.json").read_bytes())
    assert said["key"] == folder.name
    assert [record["epoch"] for record in said["epochs"]] == [1, 2]
    assert (tmp_path / "cells" / result.id / "training.png").stat().st_size > 1000
    # resnet20: 432 and 640 weights of the first and the last layer at 8 bits, 269,824 more at 2.
    assert result.size_mb == pytest.approx((1072 * 8 + 269824 * 2) / 8 / 2**20)


def test_which_trainings_are_one(tmp_path: Path) -> None:
    at = {
        name: key(tmp_path, *overrides)
        for name, overrides in {
            "individual 8": ("method=individual", "quant=w8a8"),
            "individual 4": ("method=individual", "quant=w4a4"),
            "dq 8 at 4": ("method=dq_8", "quant=w4a4"),
            "dq_bn 8 at 2": ("method=dq_bn_8", "quant=w2a2"),
            "dq at 4": ("method=dq", "quant=w4a4"),
            "dq_bn at 2": ("method=dq_bn", "quant=w2a2"),
            "other seed": ("method=individual", "quant=w8a8", "seed=1"),
            "other surrogate": (
                *("method=individual", "quant=w8a8", "method.qat.weight_surrogate=ewgs"),
            ),
        }.items()
    }
    assert at["individual 8"] == at["dq 8 at 4"] == at["dq_bn 8 at 2"]
    assert at["dq at 4"] == at["dq_bn at 2"]
    assert len(set(at.values())) == 5


class Killed(BaseException):
    """Stands for a process that dies."""


COQUANT = (
    *("method=coquant", "method.bits=[4,2]", "quant=w2a2", "method.schedule.ema=0.5"),
    *(
        "method.init=scratch",
        "model.weights=none",
        "model.name=tests.bench.training.networks:small",
    ),
)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training of `COQUANT` that nothing has stopped."""
    outputs = tmp_path_factory.mktemp("unbroken")
    result = run_cell(config(outputs, *COQUANT)).result
    assert result is not None and result.status == "done"
    (folder,) = (outputs / "cache" / "training").iterdir()
    return folder


def assert_same_training(one: Path, other: Path) -> None:
    assert one.name == other.name
    weights, others = (load_file(folder / "trained.safetensors") for folder in (one, other))
    assert weights.keys() == others.keys()
    assert all(torch.equal(weights[name], others[name]) for name in weights)
    assert (one / "history.json").read_bytes() == (other / "history.json").read_bytes()


@pytest.mark.faults
def test_a_killed_training_ends_with_the_same_weights(
    tmp_path: Path, unbroken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, calls = Training._step, []

    def dying(self: Training, order: torch.Tensor, batch: int) -> torch.Tensor:
        calls.append(batch)
        if len(calls) == 7:  # within the second epoch of four steps
            raise Killed
        return step(self, order, batch)

    monkeypatch.setattr(Training, "_step", dying)
    with pytest.raises(Killed):
        run_cell(config(tmp_path, *COQUANT))
    (folder,) = (tmp_path / "cache" / "training").iterdir()
    assert (folder / "checkpoint.pt").exists()
    again = run_cell(config(tmp_path, *COQUANT)).result
    assert again is not None and again.status == "done"
    assert len(calls) == 7 + 4  # the second epoch alone was run again
    assert not (folder / "checkpoint.pt").exists()
    assert_same_training(unbroken, folder)


@pytest.mark.usefixtures("undrawn")
def test_images_from_the_file_give_the_same_weights_resumed_too(
    tmp_path: Path, unbroken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(pixels: torch.Tensor) -> None:
        raise AssertionError("they were put on the device")

    monkeypatch.setattr(feed, "free_bytes", lambda device: 2 * 20 * 3 * 32 * 32 - 1)
    monkeypatch.setattr(feed, "held", refused)
    step, calls = Training._step, []

    def dying(self: Training, order: torch.Tensor, batch: int) -> torch.Tensor:
        calls.append(batch)
        if len(calls) == 7:  # within the second epoch of four steps
            raise Killed
        return step(self, order, batch)

    monkeypatch.setattr(Training, "_step", dying)
    with pytest.raises(Killed):
        run_cell(config(tmp_path, *COQUANT))
    again = run_cell(config(tmp_path, *COQUANT)).result
    assert again is not None and again.status == "done", again
    assert len(calls) == 7 + 4
    (folder,) = (tmp_path / "cache" / "training").iterdir()
    assert_same_training(unbroken, folder)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("batch", [1, 3], ids=["within an epoch", "at its last step"])
def test_an_interrupted_training_goes_on_from_its_step(
    tmp_path: Path, unbroken: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    step, calls = Training._step, []

    def interrupted(self: Training, order: torch.Tensor, batch_now: int) -> torch.Tensor:
        calls.append(batch_now)
        if len(calls) == 4 + batch + 1:  # in the second epoch of four steps
            signal.raise_signal(signal.SIGUSR2)
        return step(self, order, batch_now)

    def leave(number: int, frame: object) -> None:
        raise Killed

    monkeypatch.setattr(Training, "_step", interrupted)
    before = signal.signal(signal.SIGUSR2, leave)
    try:
        with pytest.raises(Killed):
            run_cell(config(tmp_path, *COQUANT))
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert len(calls) == 4 + batch + 1  # the step that it was in is done
    again = run_cell(config(tmp_path, *COQUANT)).result
    assert again is not None and again.status == "done"
    assert calls == [*range(4), *range(4)]  # no step was run twice
    (folder,) = (tmp_path / "cache" / "training").iterdir()
    assert_same_training(unbroken, folder)


@pytest.mark.usefixtures("undrawn")
def test_an_interrupt_after_divergence_keeps_the_last_good_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Training._step

    def diverging(self: Training, order: torch.Tensor, batch: int) -> torch.Tensor:
        if batch == 1:
            signal.raise_signal(signal.SIGUSR2)
        loss = step(self, order, batch)
        return loss * torch.nan if batch == 1 else loss

    monkeypatch.setattr(Training, "_step", diverging)
    before = signal.signal(signal.SIGUSR2, lambda number, frame: None)
    try:
        result = run_cell(config(tmp_path, "method=individual", "quant=w4a4")).result
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert result is not None and result.reason is not None
    assert "the loss of step 2 of 4 in epoch 1 is nan" in result.reason
    assert "the last good checkpoint is that of epoch 0, in " in result.reason


def test_divergence_names_step_layer_and_checkpoint(tmp_path: Path) -> None:
    wanted = config(tmp_path, "method=individual", "quant=w4a4", "method.schedule.lr=1e30")
    result = run_cell(wanted).result
    assert result is not None and result.status == "failed" and result.reason is not None
    (folder,) = (tmp_path / "cache" / "training").iterdir()
    assert result.reason.startswith("training diverged: the loss of step ")
    assert " in epoch 1 is nan; the first layer that is not finite is 'features." in result.reason
    assert f"that of epoch 0, in {folder / 'checkpoint.pt'}; lower the learning" in result.reason


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ("method=adabits", "quant=w3a3"),
            "is used at W8A8, W6A6, W4A4, W2A2, not at W3A3",
        ),
        (("method=adabits", "quant=w4a8"), "not at W4A8"),
        (("method=adabits", "recipe=deploy"), "recipe= and quant.* but the bits have no effect"),
        (("method=coquant", "method.bits=[4]", "quant=w4a4"), "coquant needs 2 bit-widths or more"),
        (("method=coquant", "method.bits=[4,4]"), r"qat.bits=[4, 4] repeats a bit-width"),
        (("method=coquant", "method.bits=[2,4]"), "must descend; give [4, 2]"),
        (("method=coquant", "method.bits=[17,4]"), "qat.bits=17 is impossible; give 1..16"),
        (("method=joint", "method.qat.batchnorm=private"), "it is another method than joint"),
        (("method=dq", "+method.qat.weight_quantiser=lsq"), "'qat.weight_quantiser'; did you mean"),
        (("method=dq", "method.schedule.lr=0"), "training schedule: lr=0.0 is out of range"),
        (("method=dq", "method.schedule.batch_size=21"), "20 training images of mnist5k do not"),
        (("method=zeroq", "model.weights=none"), "model.weights=none is an untrained network"),
        (("method=dq", "model.weights=none"), "or a method that trains with method.init=scratch"),
    ],
)
def test_what_is_refused_before_training(
    tmp_path: Path, overrides: tuple[str, ...], message: str
) -> None:
    small = [each for each in SMALL if not overrides[0].endswith("zeroq") or "schedule" not in each]
    given = [*small, *overrides]
    with pytest.raises(BenchError) as caught:
        plan(read_config(compose([*given, f"paths.outputs={tmp_path}"])))
    assert message in str(caught.value)


@pytest.mark.usefixtures("undrawn")
def test_from_scratch_without_weights(tmp_path: Path) -> None:
    scratch = ("method.init=scratch", "model.weights=none", "method.schedule.epochs=1")
    given = [*SMALL, "method=individual", "quant=w4a4", *scratch, f"paths.outputs={tmp_path}"]
    result = run_cell(read_config(compose(given))).result
    assert result is not None and result.status == "done", result
    assert result.fp32_top1 is None and result.weights_sha256 is None
    assert result.logit_mse is None  # there is no float network that it could be against


def test_a_damaged_checkpoint_is_trained_anew(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    files = OnDisk(path)
    assert files.load() is None
    files.save({"history": [], "network": {"w": torch.ones(2)}})
    state = files.load()
    assert state is not None and torch.equal(state["network"]["w"], torch.ones(2))
    whole = path.read_bytes()
    middle = bytearray(whole)
    middle[whole.index(torch.ones(2).numpy().tobytes())] ^= 1
    for damaged in (whole[:100], whole[:-1], b"", bytes(middle)):
        path.write_bytes(damaged)
        # What is cut off ends no longer in a checksum, and is read if the file is whole without it.
        assert (files.load() is None) == (damaged != whole[:-1])
    path.write_bytes(whole)
    assert files.load() is not None


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"history": [], "part": None}, None),
        ({"history": [{}], "part": {"done": 0}}, "1 epoch"),
        ({"history": [{}, {}], "part": None}, "2 epochs"),
        ({"history": [{}, {}], "part": {"done": 7}}, "7 steps of epoch 3"),
        ({"episodes": []}, None),
        ({"episodes": [{}, {}, {}]}, "3 episodes"),
    ],
)
def test_from_where_it_goes_on_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, state: dict[str, Any], said: str | None
) -> None:
    files = OnDisk(tmp_path / "checkpoint.pt")
    with caplog.at_level("INFO"):
        assert files.load() is None
        files.save(state)
        assert files.load() == state
    lines = [] if said is None else [f"  goes on after {said}, from {files.path}"]
    assert [record.getMessage() for record in caplog.records] == lines


def test_a_folder_of_another_recipe_is_named(tmp_path: Path) -> None:
    wanted = config(tmp_path, "method=individual", "quant=w4a4")
    folder = tmp_path / "cache" / "training" / key(tmp_path, "method=individual", "quant=w4a4")
    folder.mkdir(parents=True)
    (folder / "identity.json").write_text("{}")
    result = run_cell(wanted).result
    assert result is not None and result.reason is not None
    assert "holds the training of another recipe than its name says" in result.reason


def test_how_other_processes_get_the_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {"name": "mnist5k", "limit": None, "subset": 20}
    preprocessing = plan(config(tmp_path, "method=dq", "quant=w8a8")).weights.preprocessing
    images = decode(scan(wanted, "train"), wanted, preprocessing, ImageCache(tmp_path))
    whole = images.pixels(slice(None))
    cpu = torch.device("cpu")

    def given(machines: int, free: int) -> Any:
        monkeypatch.setattr(feed, "free_bytes", lambda device: free)
        return training_run._for_others(images, cpu, 1, machines)

    enough = 2 * whole.nbytes
    for machines, free in ((1, enough), (1, enough - 1), (2, enough - 1)):
        sent = pickle.dumps(given(machines, free))
        assert len(sent) < whole.nbytes / 10  # they open the file
        opened = pickle.loads(sent).open()
        assert (opened.pixels(slice(None)) == whole).all()
        assert (opened.labels == images.labels).all()
    others = pickle.loads(pickle.dumps(given(2, enough)))
    assert isinstance(others, ImageSet) and others.checks is None
    assert (others.pixels(slice(None)) == whole).all()
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    with pytest.raises(BenchError, match=r"images of mnist5k are not in .* here; give all"):
        pickle.loads(sent)
