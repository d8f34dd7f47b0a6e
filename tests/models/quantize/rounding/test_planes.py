"""Bit-Split against planes that the authors' release computed."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import unfold

from models.quantize.rounding.planes import Codes, Stitched, alternate, optimise, split, stitch

Golden = Callable[[str], dict[str, np.ndarray]]


def grouped(array: np.ndarray) -> Tensor:
    """Return (M, ...) of a layer with one group as (1, M, N)."""
    return torch.from_numpy(array).double().flatten(1)[None]


def test_digits_by_hand() -> None:
    codes = Codes(torch.tensor([[[5.0, -6.0, 0.0, 7.0]]]), torch.tensor([[[0.5]]]))
    planes, scale = split(codes, 4)
    assert planes[:, 0, 0].tolist() == [[1, -1, 0, 1], [0, -1, 0, 1], [1, 0, 0, 1]]
    assert scale.item() == 2.0  # of the digit that counts four steps
    assert stitch(planes)[0, 0].tolist() == [1.25, -1.5, 0.0, 1.75]
    assert Stitched(planes, scale).weight[0, 0].tolist() == [2.5, -3.0, 0.0, 3.5]


@pytest.mark.parametrize("bits", [3, 4, 5])
def test_small_layer_of_the_release(bits: int, golden: Golden) -> None:
    recorded = golden("bitsplit_tiny")
    patches, outputs = (torch.from_numpy(recorded[name]).flatten(1)[None] for name in ("X", "Y"))
    gram, cross = patches.mT @ patches, outputs.mT @ patches
    assert not gram[0, 17].any()  # a dead input
    codes = alternate(grouped(recorded["W"]), bits)
    assert np.array_equal(codes.integers[0], recorded[f"b{bits}_fwa_q"])
    np.testing.assert_allclose(codes.step[0, :, 0], recorded[f"b{bits}_fwa_alpha"], rtol=1e-12)
    start = split(codes, bits)
    assert np.array_equal(start.planes[:, 0], recorded[f"b{bits}_split_of_fwa"])
    for epoch, planes in enumerate(recorded[f"b{bits}_rr_planes"]):
        done = optimise(start, gram, cross, epoch + 1)
        assert np.array_equal(done.planes[:, 0], planes)
        np.testing.assert_allclose(
            done.scale[0, :, 0], recorded[f"b{bits}_rr_alpha"][epoch], rtol=1e-12
        )
        error = (outputs - patches @ done.weight.mT).square().sum()
        assert error.item() == pytest.approx(recorded[f"b{bits}_rr_err"][epoch], rel=1e-12)
        assert not done.planes[..., 17].any()  # its weights are nothing


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("bits", [3, 4])
def test_convolution_of_the_release(bits: int, dtype: torch.dtype, golden: Golden) -> None:
    recorded = golden("bitsplit_conv")
    weight = grouped(recorded["W"])
    patches = unfold(torch.from_numpy(recorded["act"]).double(), 3, padding=1, stride=2)
    patches = patches.mT.flatten(0, 1)[None]
    gram = patches.mT @ patches
    start = split(alternate(weight, bits), bits)
    assert np.array_equal(start.planes[:, 0], recorded[f"b{bits}_ofwa_planes"])
    start = Stitched(start.planes.to(dtype), start.scale.to(dtype))
    done = optimise(start, gram.to(dtype), (weight @ gram).to(dtype), 20)
    assert np.array_equal(done.planes[:, 0], recorded[f"b{bits}_planes"])
    error = ((weight - done.weight) @ patches.mT).square().sum()
    assert error.item() == pytest.approx(recorded[f"b{bits}_err"][20], rel=1e-4)
    # What it is for: a fourth of the error of rounding.
    assert recorded[f"b{bits}_err_fwa"] > 3 * error.item()


@pytest.mark.parametrize("bits", [3, 4])
def test_depthwise_layer_of_the_release(bits: int, golden: Golden) -> None:
    recorded = golden("bitsplit_tiny")
    patches = torch.from_numpy(recorded["dw_X"]).flatten(2).movedim(1, 0)  # (5, 40, 9)
    outputs = torch.from_numpy(recorded["dw_Y"]).T[:, :, None]
    gram, cross = patches.mT @ patches, outputs.mT @ patches
    planes = torch.from_numpy(recorded[f"dw_b{bits}_ofwa_planes"])[:, :, None]
    scale = torch.from_numpy(recorded[f"dw_b{bits}_ofwa_alpha"]).view(5, 1, 1)
    done = optimise(Stitched(planes, scale), gram, cross, 8)
    assert np.array_equal(done.planes[:, :, 0], recorded[f"dw_b{bits}_planes"])
    np.testing.assert_allclose(done.scale.flatten(), recorded[f"dw_b{bits}_alpha"], rtol=1e-10)


def test_the_error_never_rises_and_zeros_stay() -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn((1, 6, 130), generator=generator, dtype=torch.float64)  # over two blocks
    weight[0, 2] = 0
    patches = torch.randn((1, 200, 130), generator=generator, dtype=torch.float64)
    gram = patches.mT @ patches
    start = split(alternate(weight, 3), 3)
    errors = []
    for epochs in range(6):
        done = optimise(start, gram, weight @ gram, epochs)
        errors.append(((weight - done.weight) @ patches.mT).square().sum().item())
    assert errors == sorted(errors, reverse=True)
    assert errors[5] < 0.7 * errors[0]
    assert not done.weight[0, 2].any()
    assert bool(done.weight.isfinite().all())


def test_what_is_not_finite_ends_too() -> None:
    weight, gram = torch.full((1, 2, 40), torch.nan), torch.ones((1, 40, 40))
    done = optimise(split(alternate(weight, 3), 3), gram, weight @ gram, 2)
    assert done.planes.shape == (2, 1, 2, 40)
