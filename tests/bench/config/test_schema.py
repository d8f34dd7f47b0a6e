from collections.abc import Callable
from typing import Any

import pytest

from bench.config.schema import Config, read_config
from models.errors import BenchError

Make = Callable[..., Config]


def test_the_default_config(make_config: Make) -> None:
    config = make_config()
    assert config.model.name == "resnet20"
    assert config.data == {"name": "mnist5k", "limit": None, "subset": None}
    assert config.method["name"] == "zeroq"
    assert (config.quant.w_bits, config.quant.a_bits, config.quant.sites) == (8, 8, "relu")
    assert (config.seed, config.gate, config.force, config.group) == (0, "stop", False, "adhoc")


def test_a_record_from_before_there_was_a_choice_of_precision_is_float32(
    make_config: Make,
) -> None:
    plain = make_config().model_dump(mode="json")
    del plain["runtime"]["precision"]
    assert read_config(plain).runtime.precision == "fp32"


def test_what_is_dumped_into_a_record_reads_back_the_same(make_config: Make) -> None:
    config = make_config({"quant.w_bits": 3, "tracking.tags": ["a"], "seed": 7})
    assert read_config(config.model_dump(mode="json")) == config


def test_no_record_has_a_shard(make_config: Make) -> None:
    assert make_config().shard is None
    assert "shard" not in make_config().model_dump()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": -1}, "config seed=-1: Input should be greater than or equal to 0"),
        ({"gate": "no"}, "config gate='no': Input should be 'stop' or 'warn'"),
        (
            {"runtime.batch_size": 0},
            "config runtime.batch_size=0: Input should be greater than 0",
        ),
        (
            {"runtime.precision": "fp16"},
            "config runtime.precision='fp16': Input should be 'fp32', 'tf32' or 'bf16'",
        ),
        (
            {"runtime.compile": "maybe"},
            "config runtime.compile='maybe': give true, false or auto",
        ),
        (
            {"runtime.compile": None},
            "config runtime.compile=None: give true, false or auto",
        ),
        (
            {"runtime.threds": 2},
            "config runtime.threds=2: Extra inputs are not permitted",
        ),
        ({"other": 1}, "config other=1: Extra inputs are not permitted"),
        (
            {"force": "perhaps"},
            "config force='perhaps': Input should be a valid boolean, unable to interpret input",
        ),
        ({"paths": {}}, "config paths.outputs: Field required"),
        ({"method": {}}, "method.name is missing; add it to the config of this method"),
        ({"shard": "1/4"}, "shard=1/4 divides a sweep, not one cell; list values with -m"),
    ],
)
def test_a_value_that_does_not_fit_is_one_line(
    make_config: Make, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(BenchError) as error:
        make_config(change)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("quant", "message"),
    [
        (
            {"w_bits": 8, "a_bits": 8, "w_bit": 4},
            "quant has no key 'w_bit'; did you mean 'w_bits'?",
        ),
        ({"w_bits": 8}, "quant.a_bits is missing; add it to the config of this quant"),
        ({"w_bits": 17, "a_bits": 8}, "quant.w_bits=17 is impossible; give 2..16, or 32 for float"),
    ],
)
def test_a_quantizer_that_does_not_exist(
    make_config: Make, quant: dict[str, Any], message: str
) -> None:
    with pytest.raises(BenchError) as error:
        make_config({"quant": quant})
    assert str(error.value) == message
