"""ResNets for 32x32 images, as pytorchcv builds them."""

from pathlib import Path

from pytorchcv.models.resnet_cifar import CIFARResNet, resnet20_cifar10
from torch import nn

FILES = Path(__file__).parents[1] / "zoo" / "files"


def resnet20() -> nn.Module:
    """Return an untrained ResNet-20 with 10 outputs: (N, 3, 32, 32) to (N, 10)."""
    network: nn.Module = resnet20_cifar10(num_classes=10)
    return network


def resnet8() -> nn.Module:
    """Return an untrained ResNet-8 with 10 outputs: (N, 3, 32, 32) to (N, 10).

    One block a stage, and a stem of stride 2: the stages see 16, 8 and 4 pixels. A pass has a
    thirteenth of the multiplications of ResNet-20's.
    """
    widths = (16, 32, 64)
    network = CIFARResNet(
        channels=[[width] for width in widths],
        init_block_channels=widths[0],
        bottleneck=False,
        num_classes=10,
    )
    network.features.init_block.conv.stride = (2, 2)
    network.features.final_pool = nn.AvgPool2d(4)
    return network


def resnet18() -> nn.Module:
    """Return an untrained ResNet-18 with 10 outputs: (N, 3, 32, 32) to (N, 10).

    The blocks and widths of the ImageNet network behind the stem that small images usually get: one
    3x3 convolution at stride 1 and no max-pool. The four stages see 32, 16, 8 and 4 pixels.
    """
    widths = (64, 128, 256, 512)
    network = CIFARResNet(
        channels=[[width] * 2 for width in widths],
        init_block_channels=widths[0],
        bottleneck=False,
        num_classes=10,
    )
    network.features.final_pool = nn.AvgPool2d(4)  # pytorchcv expects three stages, 8 pixels
    return network


def locate_resnet8() -> Path:
    """Return the path of the weights trained by this project on 2,000 clips of digits in motion."""
    return FILES / "resnet8_motion.safetensors"


def locate_resnet20() -> Path:
    """Return the path of the weights trained by this project on 4,000 digits."""
    return FILES / "resnet20_mnist5k.safetensors"
