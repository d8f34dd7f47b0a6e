"""Cells of a network that reads texts."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from models.networks.word_bag import WordBag
from models.preprocessing import Words
from tests.bench.conftest import Finished, records

Bench = Callable[..., Finished]
TEXTS = ("run", "model=word_bag", "data=topics", "data.limit=60", "tracking=none", "gate=warn")


def small_table() -> nn.Module:
    torch.manual_seed(0)
    return WordBag(vocabulary=50, width=4, classes=20)


small_table.preprocessing = Words(size=20, vocabulary=51)  # type: ignore[attr-defined]


@pytest.mark.thorough
def test_a_table_at_four_bits(bench_main: Bench, workplace: Path) -> None:
    typed = ("method=real", "method.images=8", "quant=fp32", "quant.first_bits=4")
    done = bench_main(*TEXTS, *typed)
    assert (done.status, done.err) == (0, "")
    found = next(r for r in records(workplace / "outputs").values() if r["method"] == "real")
    assert found["total"] == 60 and found["top1"] > 60
    assert found["size_mb"] == pytest.approx((320_000 * 4 + 1_280 * 32) / 2**23, rel=1e-3)
    assert abs(found["top1"] - found["fp32_top1"]) <= 5


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("method=gaussian",), "method 'gaussian' makes images, and word_bag takes texts"),
        (("data=mnist5k",), "mnist5k has images and the network takes texts"),
        (("model=resnet20",), "topics has texts and the network takes images"),
        (
            ("method=haq", "quant=mixed", "quant.a_bits=32", "quant.mean_bits=4"),
            "method haq knows no price of a table of embeddings",
        ),
        (
            ("evaluate.engine=onnxruntime",),
            "topics has texts, and a file of integers is compared image by image",
        ),
        (
            ("model=tests.bench.measure.test_texts:small_table", "model.weights=none"),
            "a table of fewer rows than the 51 ids",
        ),
    ],
)
def test_what_has_no_meaning(
    bench_main: Bench, workplace: Path, typed: tuple[str, ...], said: str
) -> None:
    done = bench_main(*TEXTS, *typed)
    assert said in done.out + done.err


TRAIN = ("train", "model=word_bag", "data=topics", "data.subset=128", "data.limit=40")


def test_training_a_bag_of_words(bench_main: Bench, workplace: Path) -> None:
    done = bench_main(*TRAIN, "train=words", "train.epochs=1")
    assert (done.status, done.err) == (0, "")
    assert "of 40 images" in done.out
    name = "word_bag_topics_subset128_seed0.safetensors"
    assert (workplace / "outputs" / "trained" / name).stat().st_size > 1_280_000


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("train=default",), "augment=affine moves the pixels of images, and texts have none"),
        (("model=resnet20",), "topics has texts and the network takes images"),
    ],
)
def test_what_cannot_be_trained(
    bench_main: Bench, workplace: Path, typed: tuple[str, ...], said: str
) -> None:
    done = bench_main(*TRAIN, *typed)
    assert done.status != 0 and said in done.out + done.err


@pytest.mark.thorough
def test_a_table_trained_as_codes(bench_main: Bench, workplace: Path) -> None:
    few = ("data.subset=128", "method.images=8", "method.schedule.epochs=1")
    coded = ("method=dpq", "method.centroids=16", "method.columns=16", "quant=fp32")
    done = bench_main(*TEXTS, *few, *coded, "quant.first_bits=2")
    assert (done.status, done.err) == (0, "")
    found = next(r for r in records(workplace / "outputs").values() if r["method"] == "dpq")
    size = 5_000 * 4 * 4 + 32 * 16 * 64 + 32 * 1_280  # codes, centroids, and the classifier
    assert found["size_mb"] == pytest.approx(size / 2**23, rel=1e-3)
