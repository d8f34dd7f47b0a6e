"""Value-aware quantization against what the release's kernels compute."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from models.errors import NotApplicable
from models.quantize.ranges import WeightFormat
from models.quantize.rounding.base import Layer, Rounded
from models.quantize.rounding.outlier import Outlier, threshold

Golden = Callable[[str], dict[str, np.ndarray]]


def rounded(weight: torch.Tensor, bits: int, ratio: float, granularity: str = "tensor") -> Rounded:
    weight_format = WeightFormat(bits, "symmetric", granularity)
    return Outlier(ratio).quantize(Layer(weight, weight_format, None, torch.Generator()))


@pytest.mark.parametrize("ratio", ["0.0", "0.01", "0.02", "0.03", "0.05"])
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_weights_of_the_release(bits: int, ratio: str, golden: Golden) -> None:
    recorded = golden("outlier_quant")
    weight, key = torch.from_numpy(recorded["W"]), f"W_b{bits}_r{ratio}"
    end = threshold(weight.view(1, -1), float(ratio)).item()
    large = weight.abs() >= end
    count = recorded[f"{key}_nbig"].item()
    assert end == pytest.approx(recorded[f"{key}_th"].item(), rel=1e-7)
    assert large.sum().item() == count
    made = rounded(weight, bits, float(ratio))
    error = (made.weight - weight).square()
    # The release keeps large values in 32 bits; in 16 they have an error of their own.
    assert error[~large].sum().item() == pytest.approx(recorded[f"{key}_sse"].item(), rel=1e-5)
    assert torch.equal(made.weight[large], weight[large].half().float())
    assert made.size_bits == weight.numel() * bits + count * (16 + 13)  # 4,608 places
    if f"{key}_out" in recorded:
        wanted = torch.from_numpy(recorded[f"{key}_out"])
        assert torch.allclose(made.weight[~large], wanted[~large], atol=1e-7)
        assert torch.allclose(made.weight, wanted, atol=2e-4)


def test_activations_have_the_same_thresholds(golden: Golden) -> None:
    recorded = golden("outlier_quant")  # most of them are 0, which are not counted
    values = torch.from_numpy(recorded["act"]).view(1, -1)
    for ratio in ("0.0", "0.01", "0.05"):
        end = threshold(values, float(ratio))
        assert end.item() == pytest.approx(recorded[f"act_b4_r{ratio}_th"].item(), rel=1e-7)
        assert (values >= end).sum().item() == recorded[f"act_b4_r{ratio}_nbig"].item()


def test_by_hand() -> None:
    # The largest of each row is kept; the step is it / 3: 1 and 2. A tie goes away from 0.
    weight = torch.tensor([[3.0, 1.5, -0.5, 0.25], [0, -6, 2.9, 0], [0, 0, 0, 0]])
    made = rounded(weight, 3, 0.25, "channel")
    assert made.weight.tolist() == [[3, 2, -1, 0], [0, -6, 2, 0], [0, 0, 0, 0]]
    assert made.size_bits == 12 * 3 + 2 * (16 + 4)


def test_what_it_cannot_do() -> None:
    with pytest.raises(NotApplicable, match=r"set quant\.w_scheme=symmetric$"):
        Outlier().check(WeightFormat(4, "affine", "tensor"))
    with pytest.raises(NotApplicable, match=r"set quant\.w_range=minmax$"):
        Outlier().check(WeightFormat(4, "symmetric", "tensor", "mse"))
    with pytest.raises(NotApplicable, match="one is beyond 65504"):
        rounded(torch.tensor([[1e6, 1.0]]), 4, 0.01)
