"""What the quantizer can be asked for, and what it says to the rest."""

from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from models.errors import BenchError
from models.quantize.identity import identity
from models.quantize.spec import QuantSpec
from tests.models.quantize.test_identity import OTHER


def refusal(**keys: Any) -> str:
    with pytest.raises(BenchError) as caught:
        QuantSpec(**({"w_bits": 4, "a_bits": 4} | keys))
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("bits", [*range(2, 17), 32])
def test_legal_bits(bits: int) -> None:
    assert QuantSpec(bits, 8).w_bits == bits
    assert QuantSpec(8, bits).a_bits == bits


@pytest.mark.parametrize("key", ["w_bits", "a_bits"])
@pytest.mark.parametrize("bits", [-4, 0, 1, 17, 31, 33])
def test_impossible_number_of_bits(key: str, bits: int) -> None:
    message = refusal(**{key: bits})
    assert message == f"quant.{key}={bits} is impossible; give 2..16, or 32 for float"


@pytest.mark.parametrize("key", ["w_bits", "a_bits"])
@pytest.mark.parametrize("bits", ["fp8", "int8", "8", 4.5, 4.0, True, False, None])
def test_formats_that_are_not_integers(key: str, bits: object) -> None:
    message = refusal(**{key: bits})
    assert message.startswith(f"quant.{key}={bits!r} is not a format this quantizer can represent")
    assert "2..16 bits or 32 for float" in message


@pytest.mark.parametrize(
    ("key", "value", "close"),
    [
        ("w_scheme", "symetric", "symmetric"),
        ("a_scheme", "afine", "affine"),
        ("w_granularity", "chanel", "channel"),
        ("a_granularity", "tensors", "tensor"),
        ("w_range", "min_max", "minmax"),
        ("sites", "relus", "relu"),
    ],
)
def test_unknown_choice_names_the_closest(key: str, value: str, close: str) -> None:
    message = refusal(**{key: value})
    assert message == f"quant.{key}={value} cannot be represented; did you mean {close!r}?"


@pytest.mark.parametrize(
    ("key", "value", "options"),
    [
        ("sites", None, "all, integer, relu"),
        ("a_range", 99.9, "aciq_gauss, aciq_laplace, alternating"),
        ("w_scheme", 7, "affine, symme"),
    ],
)
def test_far_off_choice_lists_them(key: str, value: object, options: str) -> None:
    assert f"choose one of: {options}" in refusal(**{key: value})


@pytest.mark.parametrize(
    ("w_bits", "a_bits", "label", "is_float"),
    [
        (4, 8, "W4A8", False),
        (32, 8, "W32A8", False),
        (2, 32, "W2A32", False),
        (32, 32, "W32A32", True),
    ],
)
def test_label_and_float(w_bits: int, a_bits: int, label: str, is_float: bool) -> None:
    spec = QuantSpec(w_bits, a_bits)
    assert (spec.label, spec.is_float) == (label, is_float)


def test_as_dict_makes_it_again() -> None:
    spec = QuantSpec(3, 5, **OTHER)
    assert QuantSpec(**spec.as_dict()) == spec


def test_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        QuantSpec(4, 4).w_bits = 8  # type: ignore[misc]


def test_a_budget_is_the_same_however_it_is_said() -> None:
    said = QuantSpec("mixed", 8, budget={"size_mb": 2.5})  # type: ignore[arg-type]
    assert said == QuantSpec("mixed", 8, size_mb=2.5)
    assert identity(said) == {"w_bits": "mixed", "a_bits": 8, "size_mb": 2.5}
    both = {"bops": 1e9, "activations_mb": 2}
    spec = QuantSpec("mixed", "mixed", mean_bits=3, budget=both)  # type: ignore[arg-type]
    assert spec.limits == {"mean_bits": 3, **both}
    assert spec.label == "MP3+1GBOPs/AMP2MiB"
    assert QuantSpec(**spec.as_dict()) == spec
    assert identity(spec) == {
        **{"w_bits": "mixed", "a_bits": "mixed", "mean_bits": 3},
        **{"budget": {"activations_mb": 2, "bops": 1e9}},
    }
    assert (
        refusal(w_bits="mixed", size_mb=1.0, budget={"size_mb": 2})
        == "quant.size_mb=1.0 and quant.budget.size_mb=2: give one"
    )
    assert refusal(w_bits="mixed", budget={"bop": 2}) == (
        "quant.budget has no cost 'bop'; did you mean 'bops'?"
    )
    assert refusal(w_bits="mixed", budget={"bops": 0}) == (
        "quant.budget.bops=0; give a positive number"
    )
    assert refusal(w_bits="mixed", budget=4) == (
        "quant.budget=4; give a mapping, as in {size_mb: 2.5}"
    )
    assert refusal(budget={"bops": 1}).startswith("quant.budget has a meaning with quant=mixed on")


def test_a_budget_is_a_positive_number() -> None:
    assert refusal(w_bits="mixed", size_mb=0) == "quant.size_mb=0; give a positive number"
    assert refusal(w_bits="mixed", mean_bits="4") == "quant.mean_bits='4'; give a positive number"


def test_a_budget_without_mixed_precision_is_a_mistake() -> None:
    assert refusal(mean_bits=4).startswith("quant.mean_bits has a meaning with quant=mixed only")


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        ([2, 4, 4], "quant.w_candidates=[2, 4, 4]; give one or more, each once"),
        ([], "quant.w_candidates=[]; give one or more, each once"),
        ([1, 4], "quant.w_candidates=1 is impossible; give 2..16, or 32 for float"),
    ],
)
def test_impossible_candidates(candidates: list[int], message: str) -> None:
    assert refusal(w_bits="mixed", mean_bits=4, w_candidates=candidates) == message


@pytest.mark.parametrize("steps", ["many", None, 0, -1, 1.5, 1000.0, True])
def test_rounding_iterations_are_a_whole_number(steps: object) -> None:
    said = f"quant.rounding_iterations={steps!r}; give a whole number, 1 or more"
    assert refusal(rounding_iterations=steps) == said
    assert QuantSpec(4, 4, rounding_iterations=1).rounding_iterations == 1


@pytest.mark.parametrize("rate", ["1e-3", None, 0, -0.1, float("nan"), True])
def test_rounding_rate_is_a_positive_number(rate: object) -> None:
    said = f"quant.rounding_rate={rate!r}; give a positive number"
    assert refusal(rounding_rate=rate) == said
    assert QuantSpec(4, 4, rounding_rate=1).rounding_rate == 1


@pytest.mark.parametrize("candidates", [5, None, "24", {2: 4}])
def test_candidates_are_a_list(candidates: object) -> None:
    said = f"quant.w_candidates={candidates!r}; give a list, as in [2,4,8]"
    assert refusal(w_bits="mixed", mean_bits=4, w_candidates=candidates) == said
    assert refusal(w_candidates=candidates) == said
