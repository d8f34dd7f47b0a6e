"""torchvision's detectors and their COCO weights, which are fetched when first used."""

from typing import NamedTuple

from models.preprocessing import Preprocessing
from models.zoo.identity import HubFile, PublishedPrecision, Weights, ZooEntry

URL = "https://download.pytorch.org/models"
# `models.networks.torchvision_detectors.SIZE`, which is not imported: it would bring torchvision.
SIZE = 1088


class Detector(NamedTuple):
    """builder: in torchvision. file: of COCO_V1. box_map: its float box mAP in percent."""

    builder: str
    title: str
    file: str
    box_map: float


DETECTORS = (
    Detector(
        "retinanet_resnet50_fpn",
        "RetinaNet, ResNet-50 FPN, 34.0 M parameters",
        "retinanet_resnet50_fpn_coco-eeacb38b.pth",
        36.4,
    ),
    Detector(
        "fasterrcnn_resnet50_fpn",
        "Faster R-CNN, ResNet-50 FPN, 41.8 M parameters",
        "fasterrcnn_resnet50_fpn_coco-258fb6c6.pth",
        37.0,
    ),
    Detector(
        "maskrcnn_resnet50_fpn",
        "Mask R-CNN, ResNet-50 FPN, 44.4 M parameters",
        "maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth",
        37.9,
    ),
)


def torchvision_entries() -> tuple[ZooEntry, ...]:
    """Return the entries of torchvision's detectors."""
    return tuple(_entry(detector) for detector in DETECTORS)


def _entry(detector: Detector) -> ZooEntry:
    preprocessing = Preprocessing(
        size=SIZE,
        resize=SIZE,
        interpolation="bilinear",
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        fit="letterbox",
    )
    short = detector.builder.partition("_")[0]
    weights = Weights(
        tag="coco_v1",
        source=f"torchvision, {detector.file}",
        locate=HubFile(f"{URL}/{detector.file}"),
        sha256=None,
        preprocessing=preprocessing,
        published=PublishedPrecision(
            map=detector.box_map,
            data="coco",
            images=5000,
            source="torchvision, box mAP of COCO_V1 on COCO val2017, images at 800 to 1333 px",
        ),
        convert=f"models.networks.torchvision_detectors:convert_{short}",
    )
    return ZooEntry(
        name=detector.builder,
        build=f"models.networks.torchvision_detectors:{detector.builder}",
        classes=90,
        weights={weights.tag: weights},
        preprocessing=preprocessing,
        summary=f"{detector.title}, at {SIZE} px, COCO",
        task="detection",
    )
