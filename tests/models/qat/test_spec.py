"""What a recipe of quantized training may say, and the line for what it may not."""

import subprocess
import sys
from typing import Any

import pytest

from models.errors import BenchError
from models.qat.spec import QatSpec


def test_bits_come_back_as_a_tuple() -> None:
    assert QatSpec().check_bits([32, 8, 6, 4, 2]) == (32, 8, 6, 4, 2)
    assert QatSpec(weight_quantizer="dorefa", scheme="centered").check_bits((1,)) == (1,)


def test_a_recipe_survives_being_written_down() -> None:
    spec = QatSpec(weight_quantizer="lsq", granularity="channel", last_bits=None)
    assert QatSpec(**spec.as_dict()) == spec


@pytest.mark.parametrize(
    ("bits", "message"),
    [
        ([], "qat.bits is empty"),
        ([4, 4], r"qat.bits=\[4, 4\] repeats"),
        ([2, 8, 4], r"qat.bits=\[2, 8, 4\] must descend; give \[8, 4, 2\]"),
        ([17], "qat.bits=17 is impossible; give 1..16, or 32 for float"),
        ([8, 0], "qat.bits=0 is impossible"),
        ([31], "qat.bits=31 is impossible"),
        ([4.0], "qat.bits=4.0; give whole bits"),
        ([True], "qat.bits=True; give whole bits"),
        ([2, 1], "qat.bits=1 has no meaning with lsq weights: .*no positive level"),
    ],
)
def test_bits_that_are_refused(bits: list[Any], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        QatSpec().check_bits(bits)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"weight_quantizer": "lsqq"}, "unknown qat.weight_quantizer=lsqq; did you mean 'lsq'"),
        ({"activation_quantizer": "pakt"}, "did you mean 'pact'"),
        ({"scheme": "centred"}, "did you mean 'centered'"),
        ({"rescale": "const"}, "did you mean 'constant'"),
        ({"weight_surrogate": "invtan"}, "did you mean 'invtanh'"),
        ({"activation_surrogate": "x"}, "choose one of: acos, ewgs"),
        ({"variant": "paper"}, "choose one of: release, slides"),
        (
            {"granularity": "channel", "weight_quantizer": "dorefa"},
            "no meaning with qat.weight_quantizer=dorefa",
        ),
        ({"delta": -1.0}, "qat.delta=-1.0; give a number"),
        ({"delta": float("nan")}, "qat.delta=nan"),
        ({"delta": True}, "qat.delta=True"),
        ({"delta_unit": "rang"}, "did you mean 'range'"),
        ({"signed_inputs": "always"}, "choose one of: depthwise, never, observed"),
        ({"shortcuts": "floating"}, "did you mean 'float'"),
        ({"learned": "no"}, "qat.learned='no'; give true or false"),
        ({"last_bits": 1, "weight_quantizer": "uniform_static"}, "no meaning with uniform_static"),
        ({"batchnorm": "privat"}, "did you mean 'private'"),
        ({"clip_start": "max"}, "choose one of: percentile, release"),
        ({"shared_clip": True, "activation_quantizer": "lsq"}, "lsq, which has no clip; use pact"),
        ({"shared_clip": 1}, "qat.shared_clip=1; give true or false"),
        ({"first_bits": 20}, "qat.first_bits=20 is impossible"),
        ({"last_bits": 1}, "qat.last_bits=1 has no meaning with lsq"),
    ],
)
def test_choices_that_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        QatSpec(**given)


def test_a_recipe_is_read_without_torch() -> None:
    code = "import sys, models.qat.spec; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
