"""Learned step and range with the bits they come to: the figures of tests/golden/README.md."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.qat.activations import MixedStepRangeActivation, StepRangeActivation, describe
from models.qat.bits import bits_of_ratio
from models.qat.learned import LearnedStepRange
from models.qat.mixed import MARGIN, MixedStepRange
from models.qat.spec import SURROGATES
from models.qat.surrogate import Surrogate
from models.qat.weights import MixedStepRangeWeight, StepRangeWeight

Golden = Callable[[str], dict[str, np.ndarray]]
STE = Surrogate()


def oihw(hwio: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(hwio.transpose(3, 2, 0, 1)))


def nchw(nhwc: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(nhwc.transpose(0, 3, 1, 2)))


def close(ours: Tensor, theirs: Tensor | np.ndarray, tolerance: float) -> bool:
    """Whether the two differ by rounding: relative to the largest value."""
    theirs = torch.as_tensor(theirs).reshape(ours.shape)
    scale = max(float(theirs.abs().max()), 1e-30)
    return float((ours - theirs).abs().max()) <= tolerance * scale


class Case:
    """A quantizer on an input, compared with what the release gives for it."""

    def __init__(self, arrays: dict[str, np.ndarray], key: str, is_weight: bool) -> None:
        self.arrays, self.key, self.is_weight = arrays, key, is_weight
        self.arranged = oihw if is_weight else nchw

    def placed(self, quantizer: MixedStepRange, bits: int) -> None:
        with torch.no_grad():
            for name, suffix in (("step", "d"), ("xmax", "xmax")):
                parameter = quantizer.get_parameter(f"{name}.{bits}")
                parameter.copy_(
                    torch.from_numpy(self.arrays[f"{self.key}_{suffix}"]).view_as(parameter)
                )

    def check(self, quantizer: MixedStepRange, bits: int, x: Tensor, upstream: Tensor) -> None:
        given = x.clone().requires_grad_()
        out = quantizer(given, bits)
        out.backward(upstream)
        arrays, key = self.arrays, self.key
        if f"{key}_y" in arrays:
            assert close(out.detach(), self.arranged(arrays[f"{key}_y"]), 1e-6)
        assert given.grad is not None
        assert close(given.grad, self.arranged(arrays[f"{key}_gx"]), 1e-5)
        step, xmax = quantizer.step[str(bits)], quantizer.xmax[str(bits)]
        scale = float(upstream.abs().sum()) * 1e-5  # of what is summed up
        for parameter, suffix in ((step, "gd"), (xmax, "gxmax")):
            assert parameter.grad is not None
            theirs = torch.from_numpy(arrays[f"{key}_{suffix}"]).reshape(parameter.shape)
            assert float((parameter.grad - theirs).abs().max()) <= scale, suffix
        values = x.numel() if self.is_weight else x[0].numel()
        step.grad = xmax.grad = None
        size = bits_of_ratio(*quantizer.grid(bits), quantizer.signed).mean() * values
        size.backward()
        assert float(size.detach()) == float(arrays[f"{key}_size_bits"])
        assert close(step.grad, arrays[f"{key}_dsize_dd"], 2e-5)  # type: ignore[arg-type]
        assert close(xmax.grad, arrays[f"{key}_dsize_dxmax"], 2e-5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "granularity", "bits"),
    [("w", "tensor", 3), ("wgran", "channel", 2), ("wgran", "channel", 8)],
)
def test_weights_start_as_the_release_does(
    kind: str, granularity: str, bits: int, golden: Golden
) -> None:
    """At 2 and 8 bits a step is out of its bounds: it is used as if it were in them."""
    arrays = golden("mixed_quantizer")
    weight, case = oihw(arrays["w"]), Case(arrays, f"init_{kind}_b{bits}", is_weight=True)
    quantizer = MixedStepRangeWeight([bits], STE, granularity, weight)
    for name, suffix in (("step", "d"), ("xmax", "xmax")):
        ours = quantizer.get_parameter(f"{name}.{bits}").detach()
        assert close(ours, arrays[f"{case.key}_{suffix}"], 1e-6)
    case.check(quantizer, bits, weight, oihw(arrays["g_w"]))


@pytest.mark.parametrize(("kind", "bits"), [("act", 3), ("relu", 4)])
def test_activations_start_as_the_release_does(kind: str, bits: int, golden: Golden) -> None:
    arrays = golden("mixed_quantizer")
    x, case = nchw(arrays[kind]), Case(arrays, f"init_{kind}_b{bits}", is_weight=False)
    quantizer = MixedStepRangeActivation([bits], STE, describe(x))
    assert quantizer.signed == (kind == "act")
    assert close(quantizer.step[str(bits)].detach(), arrays[f"{case.key}_d"], 1e-6)
    case.check(quantizer, bits, x, nchw(arrays["g_act"]))


@pytest.mark.parametrize("number", [0, 3])
@pytest.mark.parametrize("name", SURROGATES)
def test_all_surrogates_anywhere(name: str, number: int, golden: Golden) -> None:
    arrays = golden("mixed_quantizer")
    weight, case = oihw(arrays["w"]), Case(arrays, f"free{number}_{name}", is_weight=True)
    quantizer = MixedStepRangeWeight([4], Surrogate(name, 0.3), "tensor", weight)
    case.placed(quantizer, 4)
    case.check(quantizer, 4, weight, oihw(arrays["g_w"]))


def test_exact_zeros_of_an_unsigned_input_get_half(golden: Golden) -> None:
    arrays = golden("mixed_quantizer")
    x, case = nchw(arrays["relu"]), Case(arrays, "freerelu0_invtanh", is_weight=False)
    quantizer = MixedStepRangeActivation([4], Surrogate("invtanh", 5e-3), describe(x))
    case.placed(quantizer, 4)
    case.check(quantizer, 4, x, nchw(arrays["g_act"]))


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("lowest", [1, 2])
def test_bits_of_any_ratio(signed: bool, lowest: int, golden: Golden) -> None:
    arrays = golden("mixed_quantizer")
    ratio = torch.from_numpy(arrays["ratio"]).float()
    step = torch.full_like(ratio, 0.5).requires_grad_()
    xmax = (ratio * 0.5).requires_grad_()
    bits = bits_of_ratio(step, xmax, signed, lowest)
    bits.sum().backward()
    key = f"bits_{'s' if signed else 'u'}_min{lowest}"
    assert np.array_equal(bits.detach().numpy(), arrays[key])
    assert close(step.grad, arrays[f"{key}_dd"], 1e-6)  # type: ignore[arg-type]
    assert close(xmax.grad, arrays[f"{key}_dxmax"], 1e-6)  # type: ignore[arg-type]


def test_it_is_step_range_without_the_limit(golden: Golden) -> None:
    """Each as one operation or written out: the same value, and within bounds the same gradient."""
    weight, upstream = oihw(golden("mixed_quantizer")["w"]), oihw(golden("mixed_quantizer")["g_w"])
    x = nchw(golden("mixed_quantizer")["relu"])
    pairs: list[tuple[LearnedStepRange, MixedStepRange, Tensor]] = [
        (StepRangeWeight([4], STE, g, weight), MixedStepRangeWeight([4], STE, g, weight), weight)
        for g in ("tensor", "channel")
    ]
    of_x = describe(x)
    pairs.append((StepRangeActivation([4], STE, of_x), MixedStepRangeActivation([4], STE, of_x), x))
    for plain, mixed, values in pairs:
        gradients = []
        for quantizer in (plain, mixed):
            given = values.clone().requires_grad_()
            out = quantizer(given, 4)
            out.backward(upstream if values is weight else torch.ones_like(out))
            gradients.append((out.detach(), given.grad))
        assert torch.equal(gradients[0][0], gradients[1][0])
        assert torch.allclose(gradients[0][1], gradients[1][1], atol=1e-6)  # type: ignore[arg-type]
        assert plain.bits_in_use(4) == mixed.bits_in_use(4) == 4


def test_step_and_range_keep_their_distance() -> None:
    quantizer = MixedStepRangeWeight([4], STE, "channel", torch.randn(4, 2))
    with torch.no_grad():
        quantizer.step["4"].copy_(torch.tensor([[0.3], [0.1], [2.0], [1e-6]]))
        quantizer.xmax["4"].copy_(torch.tensor([[0.2], [0.1], [200.0], [0.5]]))
    quantizer.project()
    step, xmax = quantizer.step["4"].flatten(), quantizer.xmax["4"].flatten()
    wanted = torch.tensor([0.2 - MARGIN, 0.1 - MARGIN, 1 - MARGIN, 2.0**-12 + MARGIN])
    assert torch.allclose(step, wanted, atol=1e-8, rtol=0)
    wanted = torch.tensor([0.3 + MARGIN, 0.1 + MARGIN, 127 - MARGIN, 0.5])
    assert torch.allclose(xmax, wanted, atol=1e-6, rtol=0)
    assert quantizer.bits_in_use(4) == [3, 2, 8, 12]
    assert isinstance(quantizer.step["4"], nn.Parameter)


def test_a_grid_may_begin_at_other_bits() -> None:
    quantizer = MixedStepRangeWeight([6], STE, "tensor", torch.randn(4, 2))
    assert quantizer.bits_in_use(6) == 6
    quantizer.restart(6, 4)
    assert quantizer.bits_in_use(6) == 4
    assert quantizer.bits_in_use(32) == 32
