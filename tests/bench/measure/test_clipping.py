"""A cell whose clipping takes most of the signal says so."""

import logging
from collections.abc import Callable

import pytest
import torch
from torch import nn

from bench.config.schema import Config
from bench.measure.clipping import clipping_warnings
from models.quantize.network import QuantizedNetwork, quantize
from models.quantize.spec import QuantSpec
from tests.bench.cells_of import run_cell


def clipped_to(high: float) -> QuantizedNetwork:
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.ReLU()).requires_grad_(False)
    network[0].weight.copy_(torch.eye(3)[:, :, None, None])
    network[0].bias.zero_()
    quantized = quantize(network, QuantSpec(32, 16), torch.ones(2, 3, 4, 4))
    quantized.quantizers["2"].set_range(torch.tensor(0.0), torch.tensor(high))
    return quantized


@pytest.mark.parametrize(
    ("high", "percent"),
    [(1.0, None), (0.7, None), (0.65, "10"), (0.4, "30"), (0.1, "80"), (0.0, "90")],
)
def test_the_share_that_is_lost(
    high: float, percent: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    quantized, images = clipped_to(high), torch.ones(2, 3, 4, 4)
    with caplog.at_level(logging.DEBUG, "bench.measure.clipping"):
        found = clipping_warnings(quantized, QuantSpec(8, 8, a_range="mse"), images)
    line = (
        f"quant.a_range=mse clips {percent} % or more of the signal's energy off at the worst of 2 "
        "places; compare quant.a_range=minmax"
    )
    assert found == ([line] if percent else [])
    lost = 100 * (1 - high) ** 2
    assert f"clipping removes {lost:.2f} % of the energy at 2" in caplog.text
    assert clipping_warnings(quantized, QuantSpec(8, 8), images) == []
    assert clipping_warnings(quantized, QuantSpec(8, 32, a_range="mse"), images) == []


@pytest.mark.thorough
def test_a_result_carries_it(make_fast: Callable[..., Config]) -> None:
    method = {"name": "real", "images": 16}
    clipped = run_cell(make_fast({"method": method, "quant.a_range": "entropy"})).result
    assert clipped is not None
    (line,) = clipped.warnings
    assert line.startswith("quant.a_range=entropy clips 30 % or more of the signal's energy")
    whole = run_cell(make_fast({"method": method, "quant.a_range": "percentile"})).result
    assert whole is not None
    assert whole.warnings == []
