"""What of a quantizer has an effect at its bit-widths, and what its results are found by."""

from dataclasses import replace

from models.quantize.identity import effective, identity
from models.quantize.spec import QuantSpec

OTHER = {
    "w_scheme": "symmetric",
    "a_scheme": "symmetric",
    "w_granularity": "tensor",
    "a_granularity": "channel",
    "sites": "all",
}


def test_nothing_is_idle_below_32_bits() -> None:
    spec = QuantSpec(4, 8, **OTHER)
    assert effective(spec) == spec


def test_what_float_weights_make_idle() -> None:
    spec = QuantSpec(32, 8, **OTHER)
    assert effective(spec) == replace(spec, w_scheme="affine", w_granularity="channel")


def test_what_float_activations_make_idle() -> None:
    spec = QuantSpec(4, 32, **OTHER)
    assert effective(spec) == replace(spec, a_scheme="affine", a_granularity="tensor", sites="relu")


def test_a_float_network_has_one_spec() -> None:
    assert effective(QuantSpec(32, 32, **OTHER)) == QuantSpec(32, 32)


def test_a_range_estimator_that_has_changed_is_part_of_the_identity() -> None:
    old = {"w_bits": 4, "a_bits": 8}
    assert identity(QuantSpec(4, 8, a_range="mse")) == {
        **old,
        **{"a_range": "mse", "a_range_version": 2},
    }
    assert identity(QuantSpec(4, 8, w_range="entropy")) == {
        **old,
        **{"w_range": "entropy", "w_range_version": 2},
    }
    for name in ("minmax", "percentile"):
        assert not {"w_range_version", "a_range_version"} & set(
            identity(QuantSpec(4, 8, w_range=name, a_range=name))
        )
    assert identity(QuantSpec(4, 8, a_range="ema")) == {**old, "a_range": "ema"}
    assert identity(QuantSpec(32, 8, w_range="mse")) == {"w_bits": 32, "a_bits": 8}
    assert identity(QuantSpec(4, 32, a_range="mse")) == {"w_bits": 4, "a_bits": 32}


def test_candidates_without_mixed_precision_change_no_identity() -> None:
    assert identity(QuantSpec(4, 8, w_candidates=(3, 5))) == {"w_bits": 4, "a_bits": 8}
    mixed = identity(QuantSpec("mixed", 8, mean_bits=4, w_candidates=(3, 5)))
    assert mixed == {"w_bits": "mixed", "a_bits": 8, "mean_bits": 4, "w_candidates": (3, 5)}
