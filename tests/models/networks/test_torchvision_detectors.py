"""torchvision's detectors as they are with their COCO weights: frozen, exact, in two halves."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from faster_coco_eval.core.mask import decode
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection import retinanet_resnet50_fpn as of_torchvision
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.ops import FrozenBatchNorm2d

from bench.statistics.masks import pasted
from models.detection import FoundBoxes, rows_of
from models.errors import BenchError
from models.networks import torchvision_detectors
from models.networks.torchvision_detectors import (
    SquareMaskRCNN,
    convert_maskrcnn,
    convert_retinanet,
    fasterrcnn_resnet50_fpn,
    maskrcnn_resnet50_fpn,
    retinanet_resnet50_fpn,
)
from models.quantize.network import quantize
from models.quantize.spec import QuantSpec


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision_detectors, "SIZE", 96)


@pytest.mark.parametrize(
    ("build", "parameters"),
    [
        (retinanet_resnet50_fpn, 34_014_999),
        (fasterrcnn_resnet50_fpn, 41_755_286),
        (maskrcnn_resnet50_fpn, 44_401_393),
    ],
)
def test_batchnorms_are_frozen_and_exact(build: object, parameters: int) -> None:
    network = build()  # type: ignore[operator]
    frozen = [m for m in network.modules() if isinstance(m, FrozenBatchNorm2d)]
    assert len(frozen) == 53 and all(norm.eps == 0 for norm in frozen)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in network.modules())
    assert sum(p.numel() for p in network.parameters()) == parameters, "as torchvision counts"


@pytest.mark.thorough
def test_the_two_halves_are_torchvisions_retinanet() -> None:
    ours = retinanet_resnet50_fpn().eval()
    theirs = of_torchvision(
        weights=None,
        weights_backbone=None,
        fixed_size=(96, 96),
        image_mean=[0.0] * 3,
        image_std=[1.0] * 3,
        score_thresh=0.0095,
    ).eval()
    state = _drawn(ours)
    for name in ("classification_head.cls_logits", "regression_head.bbox_reg"):
        state[f"head.{name}.weight"] *= 30  # else nothing is found
    ours.load_state_dict(state)
    theirs.load_state_dict(state, strict=False)
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0.0
    ours.score_thresh = 0.0095
    images = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        raw = ours.raw(images)
        found, expected = ours.detections(raw), theirs(list(images))
    anchors = 9 * (12**2 + 6**2 + 3**2 + 2**2 + 1)
    assert raw.shape == (2, anchors * (91 + 4))
    for one, other in zip(found, expected, strict=True):
        assert len(one["boxes"]) == len(other["boxes"]) > 10
        assert torch.equal(one["labels"], other["labels"])
        assert torch.allclose(one["boxes"], other["boxes"], atol=1e-3)
        assert torch.allclose(one["scores"], other["scores"], atol=1e-5)


@pytest.mark.thorough
def test_names_of_the_released_files_are_brought_up_to_date() -> None:
    new = retinanet_resnet50_fpn().state_dict()
    old = {_old(name): tensor for name, tensor in new.items()}
    assert "head.classification_head.conv.6.weight" in old and old.keys() != new.keys()
    assert "backbone.fpn.inner_blocks.2.bias" in old
    assert _same(convert_retinanet(old), new) and _same(convert_retinanet(new), new)

    new = maskrcnn_resnet50_fpn().state_dict()
    old = {
        re.sub(r"mask_head\.(\d)\.0\.", lambda m: f"mask_head.mask_fcn{int(m[1]) + 1}.", n): t
        for n, t in new.items()
    }
    assert "roi_heads.mask_head.mask_fcn4.weight" in old
    assert _same(convert_maskrcnn(old), new)


def test_other_files_are_refused_in_a_line() -> None:
    with pytest.raises(BenchError, match=r"not those of torchvision's retinanet_resnet50_fpn: Err"):
        convert_retinanet({"fc.weight": torch.zeros(3)})


@pytest.mark.thorough
def test_images_pass_a_detector_of_two_stages_as_they_are() -> None:
    network = fasterrcnn_resnet50_fpn().eval()
    images = list(torch.randn(2, 3, 96, 96))
    batch, _ = network.transform(images)
    assert torch.equal(batch.tensors, torch.stack(images))
    with torch.no_grad():
        assert [set(found) for found in network(images)] == [{"boxes", "scores", "labels"}] * 2


class _Backbone(nn.Sequential):
    out_channels = 8

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 8, 3, stride=8, padding=1), nn.ReLU())


def _tiny(build: Callable[..., MaskRCNN], **options: Any) -> MaskRCNN:
    """Return a Mask R-CNN of 40,000 parameters that finds a lot with random weights."""
    torch.manual_seed(0)
    heads = {
        "rpn_anchor_generator": AnchorGenerator(((16, 32),), ((1.0, 2.0),)),
        "box_head": TwoMLPHead(8 * 7**2, 16),
        "box_predictor": FastRCNNPredictor(16, 4),
        "mask_head": MaskRCNNHeads(8, (8,), 1),
        "mask_predictor": MaskRCNNPredictor(8, 8, 4),
        "box_score_thresh": 0.26,
        "box_detections_per_img": 20,
    }
    return build(_Backbone(), None, **heads, **options).eval()


@torch.no_grad()
def test_masks_are_those_that_torchvision_pastes() -> None:
    ours = _tiny(SquareMaskRCNN, size=64)
    square = {"fixed_size": (64, 64), "image_mean": [0.0] * 3, "image_std": [1.0] * 3}
    theirs = _tiny(MaskRCNN, **square)
    theirs.load_state_dict(ours.state_dict())
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    network = rows_of(ours, 64)
    assert isinstance(network, FoundBoxes)
    outputs = network(images)
    assert outputs.shape == (2, 100 * (6 + 28**2))
    for found, expected in zip(network.detections(outputs), theirs(list(images)), strict=True):
        assert len(found["boxes"]) == len(expected["boxes"]) > 5
        assert torch.equal(found["boxes"], expected["boxes"])
        pairs = zip(found["masks"], found["boxes"], strict=True)
        masks = [decode(pasted(mask.numpy(), box.numpy(), 64, 64)) for mask, box in pairs]
        assert np.array_equal(np.stack(masks), (expected["masks"][:, 0] > 0.5).numpy())


@torch.no_grad()
def test_a_mask_rcnn_becomes_one_of_few_centroids() -> None:
    network = rows_of(_tiny(SquareMaskRCNN, size=64), 64)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    spec = QuantSpec(2, 32, first_bits=32, rounding="product", rounding_centroids=4)
    quantized = quantize(network, spec, images).network
    weights = {
        name: module.weight
        for name, module in quantized.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    }
    mask = next(weight for name, weight in weights.items() if "mask_head" in name)
    assert len(mask.flatten(2).flatten(0, 1).unique(dim=0)) <= 4
    assert not torch.equal(quantized(images), network(images))


def _drawn(network: nn.Module) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    state = network.state_dict()
    for name, tensor in state.items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2, generator=generator)
    return state


def _old(name: str) -> str:
    name = re.sub(r"conv\.(\d)\.0\.", lambda match: f"conv.{2 * int(match[1])}.", name)
    return re.sub(r"(inner|layer)_blocks\.(\d)\.0\.", r"\1_blocks.\2.", name)


def _same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
