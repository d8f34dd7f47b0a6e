import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.data import digits_canvas, mnist5k
from models.zoo import sha256_of
from tests.bench.conftest import FAST, Finished, records
from tests.bench.data.images import write_tree

Bench = Callable[..., Finished]


@pytest.mark.slow
def test_one_epoch_gives_weights_that_run(
    bench_main: Bench, outputs: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = mnist5k.split  # a quarter of the training side is enough to learn from
    quarter = {"train": 4, "eval": 1}
    gentle = ("train.batch_size=16", "train.lr=0.05")
    monkeypatch.setattr(
        mnist5k, "split", lambda labels, side: split(labels, side)[:: quarter[side]]
    )
    place = f"paths.outputs={outputs}"
    done = bench_main("train", "train.epochs=1", *gentle, "seed=3", place)
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()[-4:]  # the first says how long training took, where it is slow
    path = outputs / "trained" / "resnet20_mnist5k_seed3.safetensors"
    top1 = re.fullmatch(r"top-1 (\d+\.\d\d) % \[\d+\.\d\d, \d+\.\d\d\] of 1000 images", lines[0])
    assert top1 is not None
    assert float(top1.group(1)) > 50
    assert re.fullmatch(rf"trained in \d+ s; {re.escape(str(path))}", lines[1])
    assert lines[2] == f"sha256 {sha256_of(path)}"
    assert lines[3] == f"use it: bench run model=resnet20 model.weights={path} ..."

    measured = bench_main("run", *FAST, "data.limit=null", "quant=fp32", place,
                          f"model.weights={path}")  # fmt: skip
    assert measured.status == 0
    (record,) = records(outputs).values()
    assert f"{record['top1']:.2f}" == top1.group(1)
    assert record["weights_sha256"] == sha256_of(path)
    assert record["weights"] == path.name
    assert record["fp32_expected"] is None
    assert list(workplace.iterdir()) == []


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epochs=0", "training schedule: epochs=0 is out of range; give 1 or more"),
        ("train.epochs=x", "epochs='x': Input should be a valid integer, unable to parse string"),
        ("+train.epoch=1", "train has no key 'epoch'; did you mean 'epochs'?"),
        ("seed=-1", "seed=-1: Input should be greater than or equal to 0"),
        ("runtime.batch_size=0", "batch_size=0: Input should be greater than 0"),
        ("runtime.device=banana", "runtime.device=banana cannot be used here: "),
        ("model=resnet21", "unknown model 'resnet21'; did you mean 'resnet20'?"),
        ("data=imagenet", "data.root is not set for data set 'imagenet'; "),
    ],
)
def test_a_bad_value_is_one_line(
    bench_main: Bench, outputs: Path, override: str, message: str
) -> None:
    done = bench_main("train", override, f"paths.outputs={outputs}")
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(f"error: {message}")
    assert done.err.count("\n") == 1
    assert not outputs.exists()


def test_a_network_of_32_pixels_on_a_subset(bench_main: Bench, outputs: Path) -> None:
    done = bench_main(
        *("train", "model=mobilenetv2_cifar", "data.subset=20", "data.limit=10"),
        *("train.epochs=1", "train.batch_size=10", f"paths.outputs={outputs}"),
    )
    assert (done.status, done.err) == (0, "")
    path = outputs / "trained" / "mobilenetv2_cifar_mnist5k_subset20_seed0.safetensors"
    assert f"use it: bench run model=mobilenetv2_cifar model.weights={path} ..." in done.out
    assert " of 10 images\n" in done.out

    network = ("run", *FAST, "data.limit=10", "quant=fp32", f"paths.outputs={outputs}")
    assert bench_main(*network, "model=mobilenetv2_cifar", f"model.weights={path}").status == 0
    refused = bench_main(*network, "model=mobilenetv2_cifar")
    assert refused.status == 1
    assert "model.weights=none is an untrained network" in refused.out


def folders(root: Path, sides: dict[str, list[str]]) -> tuple[str, str]:
    write_tree(root, {f"{side}/{name}": 2 for side, names in sides.items() for name in names})
    return "data=folder", f"data.root={root}"


DIGITS = [str(digit) for digit in range(10)]


@pytest.mark.parametrize(
    ("train", "test", "options", "message"),
    [
        (DIGITS[:9], DIGITS[:9], [], "pets has 9 classes and the network 10 outputs; choose"),
        (DIGITS[:9], DIGITS, [], "the training side of pets has no image of a class of the evalu"),
        (DIGITS, DIGITS, [], "the 20 training images of pets do not fill one batch of 64; lower"),
        (DIGITS, DIGITS, ["data.subset=21"], "data.subset=21 is more than the 20 images of the tr"),
        (DIGITS, DIGITS, ["data.subset=9"], "the training side of pets has no image of a class o"),
    ],
)
def test_data_that_do_not_fit_are_refused_before_they_are_decoded(
    bench_main: Bench,
    outputs: Path,
    tmp_path: Path,
    train: list[str],
    test: list[str],
    options: list[str],
    message: str,
) -> None:
    data = folders(tmp_path / "pets", {"train": train, "test": test})
    done = bench_main("train", *data, *options, f"paths.outputs={outputs}")
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(f"error: {message}")
    assert done.err.count("\n") == 1
    assert not (outputs / "cache" / "data").exists()


@pytest.fixture
def few_canvases(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(digits_canvas, "IMAGES", {"train": 8, "eval": 6})
    digits_canvas.canvases.cache_clear()
    yield
    digits_canvas.canvases.cache_clear()


@pytest.mark.usefixtures("few_canvases")
def test_a_detector(bench_main: Bench, outputs: Path) -> None:
    done = bench_main(
        *("train", "model=fpn_detector", "data=digits_canvas", "train=detector"),
        *("train.epochs=1", "train.batch_size=4", "data.limit=5", f"paths.outputs={outputs}"),
    )
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()[-4:]
    assert re.fullmatch(r"mAP \d+\.\d\d % \[\d+\.\d\d, \d+\.\d\d\] of 5 images", lines[0])
    path = outputs / "trained" / "fpn_detector_digits_canvas_seed0.safetensors"
    assert lines[2] == f"sha256 {sha256_of(path)}"


@pytest.mark.usefixtures("few_canvases")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("model=fpn_detector",), "mnist5k has labels and no boxes, and the network detects; cho"),
        (("data=digits_canvas",), "digits_canvas has boxes to be found, and the network classif"),
        (
            ("model=fpn_detector", "data=digits_canvas"),
            "train.augment=affine moves images and not their boxes; give train.augment=none",
        ),
    ],
)
def test_boxes_and_labels_are_not_mixed(
    bench_main: Bench, outputs: Path, words: tuple[str, ...], message: str
) -> None:
    done = bench_main("train", *words, f"paths.outputs={outputs}")
    assert done.status == 2 and done.err.startswith(f"error: {message}")
    assert done.err.count("\n") == 1
