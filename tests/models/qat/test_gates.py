"""Hard-concrete gates give the figures of Bayesian Bits' release (tests/golden/README.md)."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from models.qat.gates import OPEN_ABOVE, drawn, is_open, probability

Golden = Callable[[str], dict[str, np.ndarray]]


def test_they_are_those_of_the_release(golden: Golden) -> None:
    figures = {k: torch.from_numpy(v) for k, v in golden("bayesian_bits").items() if "hc_" in k}
    phi = figures["hc_logalpha"]
    torch.testing.assert_close(drawn(phi, torch.tensor(0.5)), figures["hc_hardsigmoid"])
    torch.testing.assert_close(probability(phi), figures["hc_prob_pos"])
    assert torch.equal(is_open(phi), figures["hc_test_gate"].bool())
    samples = drawn(figures["hc_sample_logalpha"][:, None], figures["hc_u"])
    torch.testing.assert_close(samples, figures["hc_sample"])
    assert pytest.approx(float(figures["hc_test_threshold"]), abs=1e-12) == OPEN_ABOVE


def test_as_many_are_not_0_as_their_probability_says() -> None:
    draws = torch.rand(100_000, generator=torch.Generator().manual_seed(0))
    for phi in (-3.0, -1.0, 0.5, 2.0):
        share = float((drawn(torch.tensor(phi), draws) > 0).float().mean())
        assert share == pytest.approx(float(probability(torch.tensor(phi))), abs=0.01)


def test_draws_of_0_and_1_are_finite() -> None:
    phi = torch.zeros(2, requires_grad=True)
    drawn(phi, torch.tensor([0.0, 1.0])).sum().backward()
    assert phi.grad is not None and bool(torch.isfinite(phi.grad).all())
