from dataclasses import replace
from typing import Any

import pytest

from bench.cells.request import experiment_requests, float_config, request_of
from bench.cells.result import Result
from bench.papers.protocol import protocol_differences, stated
from tests.bench.papers.examples import find, published
from tests.bench.papers.records import WEIGHTS, record

JOBS = experiment_requests("dsg_resnet18")
FLOAT = 71.47


def result(method: str = "zeroq", **changes: Any) -> Result:
    return record(find(JOBS, method, 4)[0], 13_000, **changes)


def test_the_same_recipe() -> None:
    recipe = {
        "no_data": True,
        "no_finetuning": True,
        "w_range": "minmax",
        "sites": "relu",
        "fold": False,
        "images": 64,
        "iterations": 500,
        "learning_rate": 0.5,
        "first_bits": 4,  # a record says null where the layer is as all others
    }
    found = protocol_differences(published(weights=WEIGHTS, recipe=recipe), result(), FLOAT)
    assert found.texts == []
    assert "w_scheme" in found.unknown
    assert not set(recipe) & set(found.unknown)


@pytest.mark.parametrize(
    ("changes", "recipe", "words"),
    [
        ({}, {"sites": "all"}, "sites relu, there all"),
        ({}, {"first_bits": 8}, "first_bits 4, there 8"),
        ({}, {"fold": True}, "fold False, there True"),
        ({}, {"images": 32}, "images 64, there 32"),
        ({}, {"iterations": 10}, "iterations 500, there 10"),
        ({}, {"no_data": False}, "no real images here, there are"),
        ({}, {"no_finetuning": False}, "not fine-tuned here, there it is"),
        ({}, {"label": True}, "label False, there True"),
        ({"weights": "torchvision"}, {}, f"weights {WEIGHTS}, there torchvision"),
        ({"data": "cifar10"}, {}, "evaluated on imagenet, there on cifar10"),
    ],
)
def test_a_difference_is_named(changes: dict, recipe: dict, words: str) -> None:
    assert protocol_differences(published(**changes, recipe=recipe), result(), FLOAT).texts == [
        words
    ]


def test_a_float_network_is_compared_by_its_own_number() -> None:
    config = float_config(JOBS[0].config)
    floats = record(request_of(config), 35_000)
    there = published(method="float", w_bits=32, a_bits=32, weights=WEIGHTS, value=FLOAT)
    assert protocol_differences(there, floats, FLOAT) == ([], [])


def test_real_images() -> None:
    assert protocol_differences(
        published(recipe={"no_data": True}), result("real"), None
    ).texts == ["real images here, none there"]


def test_other_images_and_another_float_network() -> None:
    few = record(find(JOBS, "zeroq", 4)[0], 200, total=1000, fp32_top1=89.3)
    found = protocol_differences(published(), few, FLOAT).texts
    assert found == [
        "evaluated on 1,000 images, there on 50,000",
        "float top-1 89.30, there 71.47",
    ]
    assert protocol_differences(published(), result(fp32_top1=71.5), FLOAT).texts == []
    assert protocol_differences(published(), result(fp32_top1=89.3), None).texts == []


@pytest.mark.parametrize(
    ("there", "here", "same"),
    [
        ("pytorchcv-0.0.51", "pytorchcv-0.0.51", True),
        ("pytorchcv", "pytorchcv-0.0.51", True),  # of which version is not known
        ("pytorchcv-latest", "pytorchcv-0.0.51", False),
        ("torchvision", "resnet18.tv_in1k", True),
        ("unknown", "pytorchcv-0.0.51", True),
    ],
)
def test_weights(there: str, here: str, same: bool) -> None:
    found = protocol_differences(published(weights=there), result(weights=here), None)
    assert (found.texts == []) == same
    assert ("weights" in found.unknown) == (there == "unknown")


def test_what_neither_says_is_unknown_and_no_difference() -> None:
    recipe = {"sites": "unknown", "optimiser": "SGD", "size_mb": 5.0, "seeds": 20}
    found = protocol_differences(published(recipe=recipe), result(), FLOAT)
    assert found.texts == []
    assert found.unknown[:3] == ["weights", "sites", "optimiser"]
    assert not {"size_mb", "seeds", "w_bits", "a_bits"} & set(found.unknown)


def test_what_has_no_effect_is_not_asked() -> None:
    config = find(JOBS, "zeroq", 4)[0].config
    weights_only = config.model_copy(update={"quant": replace(config.quant, a_bits=32)})
    job = request_of(weights_only)
    unknown = protocol_differences(published(), record(job, 13_000), None).unknown
    assert "w_range" in unknown
    assert not {"a_scheme", "a_range", "sites"} & set(unknown)


def test_training() -> None:
    job = experiment_requests("coquant_cifar10_resnet18")[0]
    trained = record(job, 9000, total=10_000)
    recipe = {"no_finetuning": False, "no_data": False, "epochs": 200, "batch": 256}
    there = published(data="cifar10", recipe={**recipe, "weight_quantizer": "dorefa"})
    assert protocol_differences(there, trained, None).texts == [
        "batch 128, there 256",
        "weight_quantizer lsq, there dorefa",
    ]
    # Trained from scratch: there are no weights to ask for.
    assert "weights" not in protocol_differences(there, trained, None).unknown
    assert stated(trained, "optimiser") == (False, None)
