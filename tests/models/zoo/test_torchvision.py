"""torchvision's detectors: what the entries say is what torchvision says."""

from pathlib import Path

import pytest
from torchvision.models.detection import (
    FasterRCNN_ResNet50_FPN_Weights,
    MaskRCNN_ResNet50_FPN_Weights,
    RetinaNet_ResNet50_FPN_Weights,
)

from models.errors import BenchError
from models.networks import torchvision_detectors
from models.zoo import entry
from models.zoo.fetch import FOLDER_VARIABLE
from models.zoo.identity import HubFile, PublishedPrecision
from models.zoo.torchvision import SIZE

THEIRS = {
    "retinanet_resnet50_fpn": RetinaNet_ResNet50_FPN_Weights.COCO_V1,
    "fasterrcnn_resnet50_fpn": FasterRCNN_ResNet50_FPN_Weights.COCO_V1,
    "maskrcnn_resnet50_fpn": MaskRCNN_ResNet50_FPN_Weights.COCO_V1,
}


@pytest.mark.parametrize("name", THEIRS)
def test_the_file_and_its_map_are_those_of_torchvision(name: str) -> None:
    theirs = THEIRS[name]
    (weights,) = entry(name).weights.values()
    assert isinstance(weights.locate, HubFile) and weights.locate.url == theirs.url
    published = weights.published
    assert isinstance(published, PublishedPrecision)
    assert published.map == theirs.meta["_metrics"]["COCO-val2017"]["box_map"]
    parameters = f"{theirs.meta['num_params'] / 1e6:.1f} M parameters"
    assert entry(name).task == "detection" and parameters in entry(name).summary
    assert SIZE == torchvision_detectors.SIZE == weights.preprocessing.size
    assert weights.preprocessing.fit == "letterbox"


def test_the_identity_is_the_hash_in_the_name() -> None:
    identities = [weights.identity for n in THEIRS for weights in entry(n).weights.values()]
    assert identities == ["sha256:eeacb38b", "sha256:258fb6c6", "sha256:bf2d0c1e"]


def test_a_file_of_another_hash_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    (weights,) = entry("retinanet_resnet50_fpn").weights.values()
    (tmp_path / "retinanet_resnet50_fpn_coco-eeacb38b.pth").write_bytes(b"damaged")
    with pytest.raises(BenchError, match=r"which should begin with eeacb38b; remove it"):
        weights.path()
