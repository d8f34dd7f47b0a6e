"""MobileNetV2 for 32x32 images, from pytorchcv's blocks."""

from pytorchcv.models.mobilenetv2 import MobileNetV2
from torch import nn


def mobilenetv2() -> nn.Module:
    """Return an untrained MobileNetV2 x1.0 with 10 outputs: (N, 3, 32, 32) to (N, 10).

    The blocks and widths of the paper (Sandler et al., CVPR 2018, table 2): the first block has no
    expansion, and no shortcut has a convolution. The strides are those that most code for CIFAR-10
    uses: 1 instead of 2 in the stem and in the 24-channel blocks, so that the last blocks see 4
    pixels.
    """
    # A stage after the first starts with stride 2; the 24-channel blocks are in the first.
    stages = [
        [16, 24, 24],
        [32] * 3,
        [64] * 4 + [96] * 3,
        [160] * 3 + [320],
    ]
    network = MobileNetV2(
        channels=stages,
        init_block_channels=32,
        final_block_channels=1280,
        remove_exp_conv=True,
        in_size=(32, 32),
        num_classes=10,
    )
    network.features.init_block.conv.stride = (1, 1)
    network.features.final_pool = nn.AvgPool2d(4)
    return network
