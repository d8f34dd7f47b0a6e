from bench.cells.request import request_of
from bench.config.compose import compose
from bench.config.schema import read_config
from bench.papers.factors import Factor, open_factors


def factors(*words: str, **stated: object) -> dict[str, Factor]:
    request = request_of(read_config(compose(words)))
    return {factor.name: factor for factor in open_factors(request, stated)}


def test_level_0_is_what_the_cell_has() -> None:
    found = factors("method=real", "method.images=16", "recipe=dfq", "quant=w4a4")
    assert found["quantized places"].levels == ("all", "relu")
    assert found["weight grids"].words == (
        ("quant.w_granularity=tensor",),
        ("quant.w_granularity=channel",),
    )
    assert found["BatchNorm folded"].levels == ("true", "false")
    assert found["calibration images"].words[1] == ("method.images=64",)
    assert found["first and last layer"] == Factor(
        "first and last layer",
        ("as the others", "8 bits/8 bits"),
        (
            ("quant.first_bits=null", "quant.last_bits=null"),
            ("quant.first_bits=8", "quant.last_bits=8"),
        ),
    )
    ends = factors("quant.first_bits=8", "quant=w4a4")["first and last layer"]
    assert ends.levels == ("8 bits/as the others", "as the others")


def test_what_is_stated_is_no_choice() -> None:
    stated = {"sites": "relu", "first_bits": 8, "w_range": "unknown", "images": 64}
    found = factors("method=zeroq", "quant=w4a4", **stated)
    assert not {"quantized places", "first and last layer", "calibration images"} & found.keys()
    assert "weight range" in found


def test_what_is_float_is_no_choice() -> None:
    assert not any("weight" in name for name in factors("quant.w_bits=32", "quant.a_bits=4"))
    names = factors("quant.w_bits=4", "quant.a_bits=32").keys()
    assert not {"quantized places", "activation range", "activation scheme"} & names


def test_other_weights() -> None:
    found = factors("model=resnet18", "data=imagenet", "data.root=/x", "quant=w4a4")
    here, there = found["weights"].levels
    assert here != there
    assert next(iter(found)) == "weights"
    stated = {"weights": "pytorchcv-0.0.51"}
    known = factors("model=resnet18", "data=imagenet", "data.root=/x", "quant=w4a4", **stated)
    assert "weights" not in known
