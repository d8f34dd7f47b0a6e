"""The small detector: its parts, its two halves, and the weights that are shipped."""

import numpy as np
import pytest
import torch
from torch import nn

from bench.data.digits_canvas import canvases
from bench.statistics.average_precision import Detections, coco_numbers
from models.canonical import canonical
from models.detection import HeadOutputs
from models.networks.fpn_detector import FpnDetector, fpn_detector, locate_fpn_detector
from models.quantize.counting import count, weights_at
from models.quantize.coverage import coverage
from models.quantize.fold import fold_batchnorm
from models.quantize.network import quantize
from models.quantize.reach import out_of_reach
from models.quantize.spec import QuantSpec
from models.zoo import choose_weights, entry
from models.zoo.identity import PublishedPrecision
from models.zoo.weights import load


@pytest.fixture(scope="module")
def trained() -> FpnDetector:
    shipped = entry("fpn_detector")
    network = load(shipped, choose_weights(shipped, "default")).network
    assert isinstance(network, FpnDetector)
    return network


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    normalise = entry("fpn_detector").preprocessing.normalise
    return normalise(torch.tensor(canvases("eval").images[:40]))


def test_its_parts() -> None:
    network = fpn_detector()
    assert sum(parameter.numel() for parameter in network.parameters()) == 314_231
    kinds = [type(module) for module in network.modules()]
    assert (kinds.count(nn.Conv2d), kinds.count(nn.BatchNorm2d)) == (27, 19)


def test_the_shipped_weights_find_digits(trained: FpnDetector, images: torch.Tensor) -> None:
    assert locate_fpn_detector().stat().st_size < 2e6
    with torch.no_grad():
        found = trained(list(images))
    truths, detections = canvases("eval").truths[: len(images)], []
    for each in found:
        corners = each["boxes"].numpy()
        boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
        detections.append(Detections(boxes, each["scores"].numpy(), each["labels"].numpy()))
    published = entry("fpn_detector").weights["digits_canvas"].published
    assert isinstance(published, PublishedPrecision)
    # 40 of the 500 images: within what so few of them leave open.
    assert coco_numbers(truths, detections)["map"] == pytest.approx(published.map, abs=12)


def test_losses_of_an_image_that_is_empty(trained: FpnDetector, images: torch.Tensor) -> None:
    nothing = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    losses = trained.losses(images[:1], [nothing])
    assert set(losses) == {"classification", "bbox_regression"}
    assert losses["bbox_regression"].item() == 0 and torch.isfinite(losses["classification"])


def test_folding_computes_the_same(trained: FpnDetector, images: torch.Tensor) -> None:
    network = canonical(HeadOutputs(fpn_detector().eval(), 96), images[:1])
    network.detector.load_state_dict(trained.state_dict())
    with torch.no_grad():
        before = network(images[:2])
        assert len(fold_batchnorm(network, images[:1])) == 19
        assert torch.allclose(network(images[:2]), before, atol=1e-3)


def test_coverage_at_both_reaches(trained: FpnDetector, images: torch.Tensor) -> None:
    """Release: 17 of 27 convolutions; the ReLU between P6 and P7 is a function in both."""
    shares = {}
    for reach in ("all", "release"):
        spec = QuantSpec(8, 8, reach=reach)
        made = quantize(HeadOutputs(trained, 96), spec, images[:4])
        assert made.weight_bits is not None
        assert sum(bits == 8 for bits in made.weight_bits.values()) == (
            27 if reach == "all" else 17
        )
        weights = weights_at(made.network, made.weight_bits)
        bits = {quantizer: quantizer.bits for quantizer in made.quantizers.values()}
        shares[reach] = coverage(
            made.network, weights, count(made.network, weights, bits, images[:1])
        )
    whole, release = shares["all"], shares["release"]
    assert whole.weights == 100 > release.weights
    assert whole.multiplications == pytest.approx(100)
    # Places of P3 to P7: 144, 36, 9, 4 and 1.
    pyramid = 32 * (32 * 144 + 48 * 36 + 96 * 9) + 9 * 32 * 32 * (144 + 36 + 9)
    towers, outputs = 4 * 9 * 32 * 32 * 194, 9 * 32 * (99 + 36) * 194
    body = 27 * 16 * 48**2 + 9 * 32 * 32 * (4 + 1)  # the stem, P6 and P7
    for before, width, side in ((16, 16, 24), (16, 32, 12), (32, 48, 6), (48, 96, 3)):
        body += (9 * before * width + 9 * width**2 + before * width) * side**2
    quantized = (body + outputs) / (body + outputs + pyramid + towers)
    assert release.multiplications == pytest.approx(100 * quantized)
    assert whole.functions == ("relu in 'detector.backbone.fpn.extra_blocks'",)
    # The towers' ReLUs too, on five levels each.
    assert len(release.functions) == 1 + 4 * 5
    outside = out_of_reach(trained, "release")
    assert len([name for name in outside if ".fpn." in name]) == 6
    assert len([name for name in outside if "_head.conv." in name]) == 8
