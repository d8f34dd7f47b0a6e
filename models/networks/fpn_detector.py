"""A small RetinaNet (Lin et al., ICCV 2017) for 96x96 images, on torchvision's class."""

import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.models.resnet import BasicBlock
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from models.networks.retinanet import SquareRetinaNet

FILES = Path(__file__).parents[1] / "zoo" / "files"

SIZE = 96
_WIDTHS = (16, 32, 48, 96)
_FEATURES = 32
_TOWER = 2
_GROUPS = 8
_SMALLEST = 12.0
_RATIOS = (1.0, 1.6, 2.6)  # of height to width: digits stand
_PRIOR = 0.01


class Backbone(nn.Module):
    """A ResNet of four stages of one block, at strides 4, 8, 16 and 32."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, _WIDTHS[0], 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(_WIDTHS[0])
        self.relu = nn.ReLU(inplace=True)
        before = _WIDTHS[0]
        for number, width in enumerate(_WIDTHS, 1):
            shortcut = nn.Sequential(
                nn.Conv2d(before, width, 1, stride=2, bias=False), nn.BatchNorm2d(width)
            )
            setattr(self, f"layer{number}", nn.Sequential(BasicBlock(before, width, 2, shortcut)))
            before = width

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        for number in range(1, len(_WIDTHS) + 1):
            x = getattr(self, f"layer{number}")(x)
        return x


class FpnDetector(SquareRetinaNet):
    """Images of 96 x 96 pixels, normalised, to at most 100 boxes. Labels count from 1.

    Feature pyramid of five levels (P3 to P7, a ReLU function between the last two) with BatchNorm,
    heads of two convolutions with GroupNorm and an output, shared by the levels; nine anchors a
    place.
    """

    def __init__(self, categories: int) -> None:
        levels = {f"layer{stage}": str(stage - 2) for stage in (2, 3, 4)}
        extra = LastLevelP6P7(_FEATURES, _FEATURES)
        backbone = BackboneWithFPN(
            Backbone(), levels, list(_WIDTHS[1:]), _FEATURES, extra, nn.BatchNorm2d
        )
        sizes = tuple(
            tuple(_SMALLEST * 2 ** (level + third / 3) for third in range(3)) for level in range(5)
        )
        anchors = AnchorGenerator(sizes, (_RATIOS,) * len(sizes))
        head = RetinaNetHead(_FEATURES, 3 * len(_RATIOS), categories + 1, norm_layer=_norm)
        super().__init__(backbone, categories + 1, SIZE, anchors, head, most=100)
        for head in (self.head.classification_head, self.head.regression_head):
            head.conv = nn.Sequential(*list(head.conv)[:_TOWER])

    @torch.no_grad()
    def start(self) -> None:
        """Set the outputs of the heads as they have to begin: nothing is likely to be anywhere.

        A share of 0.01, without which the many places where nothing is would drown the rest
        (Lin et al., section 4.1).
        """
        logits = self.head.classification_head.cls_logits
        for layer in (logits, self.head.regression_head.bbox_reg):
            layer.weight.mul_(0.1)
        logits.bias.fill_(-math.log((1 - _PRIOR) / _PRIOR))


def _norm(channels: int) -> nn.Module:
    """Of the heads: all levels share them, and a BatchNorm would mix the statistics of levels."""
    return nn.GroupNorm(_GROUPS, channels)


def fpn_detector() -> nn.Module:
    """Return an untrained detector of ten categories: (N, 3, 96, 96), normalised, to boxes."""
    return FpnDetector(categories=10)


def locate_fpn_detector() -> Path:
    """Return the path of the weights trained by this project on 3,000 canvases of digits."""
    return FILES / "fpn_detector_digits_canvas.safetensors"
