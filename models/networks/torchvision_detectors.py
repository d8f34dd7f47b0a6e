"""torchvision's detectors with a ResNet-50, as they are with their COCO_V1 weights.

These differ from what the builders return without weights: BatchNorm is frozen, with an eps of 0
(torchvision, `overwrite_eps`). Images come normalised and square, of one size, so the step that
resizes and normalises them does neither.
"""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN, MaskRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from models.errors import BenchError, first_line
from models.networks.retinanet import CLEAR, SquareRetinaNet

SIZE = 1088
"""About what torchvision's own rule, 800 for the shorter side, makes of a photo of 4 : 3."""
CLASSES = 91
"""COCO's category ids with their gaps, and the background."""


class SquareMaskRCNN(MaskRCNN):
    """torchvision's Mask R-CNN for normalised images of `size` x `size` pixels.

    Its masks are those of the heads, (n, 1, 28, 28), each of what its box shows: pasting a hundred
    of them into images of 1088 pixels takes half a gigabyte, and COCO rates them in the image as it
    was.
    """

    mask_side = 28

    def __init__(self, backbone: nn.Module, classes: int, size: int, **options: Any) -> None:
        super().__init__(backbone, classes, fixed_size=(size, size), **CLEAR, **options)
        sizes = {"min_size": size, "max_size": size, "fixed_size": (size, size)}
        self.transform = _NothingBack(**sizes, **CLEAR)


class _NothingBack(GeneralizedRCNNTransform):
    """torchvision's step before a detector, for images that need no step behind it."""

    def postprocess(
        self, result: list[dict[str, Tensor]], *sizes: list[tuple[int, int]]
    ) -> list[dict[str, Tensor]]:
        return result


def retinanet_resnet50_fpn() -> nn.Module:
    """Return the RetinaNet of COCO's 91 ids, untrained."""
    levels = {"returned_layers": [2, 3, 4], "extra_blocks": LastLevelP6P7(256, 256)}
    return _exact(SquareRetinaNet(_backbone(**levels), CLASSES, SIZE))


def fasterrcnn_resnet50_fpn() -> nn.Module:
    """Return the Faster R-CNN of COCO's 91 ids, untrained."""
    return _exact(FasterRCNN(_backbone(), CLASSES, fixed_size=(SIZE, SIZE), **CLEAR))


def maskrcnn_resnet50_fpn() -> nn.Module:
    """Return the Mask R-CNN of COCO's 91 ids, untrained."""
    return _exact(SquareMaskRCNN(_backbone(), CLASSES, SIZE))


def convert_retinanet(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state of the file under the names that today's layers have."""
    return _renamed(retinanet_resnet50_fpn, state)


def convert_fasterrcnn(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state of the file under the names that today's layers have."""
    return _renamed(fasterrcnn_resnet50_fpn, state)


def convert_maskrcnn(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state of the file under the names that today's layers have."""
    return _renamed(maskrcnn_resnet50_fpn, state)


def _backbone(**levels: object) -> nn.Module:
    backbone: nn.Module = resnet_fpn_backbone(
        backbone_name="resnet50", weights=None, norm_layer=FrozenBatchNorm2d, **levels
    )
    return backbone


def _exact(network: nn.Module) -> nn.Module:
    for module in network.modules():
        if isinstance(module, FrozenBatchNorm2d):
            module.eps = 0.0
    return network


def _renamed(build: Callable[[], nn.Module], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return `state` as a network has it that has loaded it: torchvision renames old layers."""
    network = build()
    try:
        network.load_state_dict(dict(state), strict=True)
    except RuntimeError as error:
        raise BenchError(
            f"the weights are not those of torchvision's {build.__name__}: {first_line(error)}; "
            "give its own file"
        ) from error
    return network.state_dict()
