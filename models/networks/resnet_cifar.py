"""ResNet for 32x32 images, as pytorchcv builds it."""

from pathlib import Path

from pytorchcv.models.resnet_cifar import resnet20_cifar10
from torch import nn

FILES = Path(__file__).parent.parent / "files"


def resnet20() -> nn.Module:
    """Return an untrained ResNet-20 with 10 outputs: (N, 3, 32, 32) to (N, 10)."""
    network: nn.Module = resnet20_cifar10(num_classes=10)
    return network


def locate_resnet20() -> Path:
    """Return the path of the weights trained by this project on 4,000 digits."""
    return FILES / "resnet20_mnist5k.safetensors"
