"""HAQ's thresholds against its release's, and by hand."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from models.quantize.activation import ActivationQuantizer
from models.quantize.cumulative import cumulative_threshold, haq_threshold
from models.quantize.ranges import WeightFormat, estimate, quantize_weight

Golden = Callable[[str], dict[str, np.ndarray]]


@pytest.mark.parametrize("name", ["gauss", "laplace", "tailed", "few"])
def test_weights_are_those_of_the_release(golden: Golden, name: str) -> None:
    arrays = golden("haq_ranges")
    weight = torch.from_numpy(arrays[f"w_{name}"])
    clips = []
    for bits in (2, 3, 4, 5, 8):
        low, high = estimate(weight, "haq", bits, None, "symmetric")
        wanted = arrays[f"w_{name}_b{bits}_range"]
        assert high.item() == -low.item() == pytest.approx(wanted, rel=1e-6)
        clips.append(high.item() < weight.abs().max())
    assert clips[3:] == [False, False]  # from 5 bits on nothing is clipped
    for bits in (3, 8):
        found = quantize_weight(weight, WeightFormat(bits, "symmetric", "tensor", "haq"))
        np.testing.assert_allclose(found, arrays[f"w_{name}_b{bits}_out"], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["relu", "wide", "signed"])
def test_activations_are_those_of_the_release(golden: Golden, name: str) -> None:
    arrays = golden("haq_ranges")
    x = torch.from_numpy(arrays[f"a_{name}"])
    for bits in (2, 3, 4, 5, 6, 8):
        quantizer = ActivationQuantizer(bits, "symmetric", "tensor", "haq")
        out = quantizer(x)
        assert quantizer.high.item() == pytest.approx(arrays[f"a_{name}_b{bits}_range"], rel=1e-6)
        assert quantizer.low.item() == (-quantizer.high.item() if name == "signed" else 0)
        if bits in (3, 8):
            wanted = arrays[f"a_{name}_b{bits}_out"]
            np.testing.assert_allclose(out, wanted, rtol=1e-5, atol=1e-6)


def test_a_threshold_by_hand() -> None:
    """Of 16 values in 4 bins, 10, 4, 1, 1, with two knots: the shares are 5/8, 7/8, 15/16, 1.

    With three bins P is 5/8, 7/8, 1, 1 and Q 5/8, 13/16, 1, 1; with four P is C, and Q 5/8, 3/4,
    7/8, 1. The divergences are (1/16) log2(14/13) - (1/16) log2(15/16), 0.0125, and
    (1/8) log2(7/6) + (1/16) log2(15/14), 0.0340: three bins, and half a one.
    """
    values = np.repeat([0.0, 1.5, 2.5, 4.0], [10, 4, 1, 1])
    assert cumulative_threshold(values, 2) == 3.5
    assert cumulative_threshold(values, 3) == 4.5  # one candidate, half a bin above the largest
    assert cumulative_threshold(values, 4) == 4.0  # none


def test_what_has_no_threshold_keeps_its_largest() -> None:
    assert cumulative_threshold(np.zeros(9), 2) == 0
    assert cumulative_threshold(np.full(400, -2.5), 2) == 2.5
    assert cumulative_threshold(np.linspace(2, 5, 400), 2) == 5  # none in the first bin
    assert np.isnan(cumulative_threshold(np.array([1.0, np.nan]), 2))
    assert np.isinf(cumulative_threshold(np.array([1.0, np.inf]), 2))


def test_bits_of_an_activation_are_counted_without_its_sign() -> None:
    size = np.abs(np.random.default_rng(3).normal(size=4000))
    assert haq_threshold(size, 5, False, True) == size.max()
    assert haq_threshold(size, 5, True, True) == cumulative_threshold(size, 8) < size.max()
    assert haq_threshold(size, 5, True, False) == size.max()
    assert haq_threshold(10 * size, 8, False, True) == 6
    assert haq_threshold(10 * size, 8, True, False) == 10 * size.max()
