"""The VGG for 32x32 images of papers on quantization."""

from torch import nn

_STAGES = (128, 256, 512)


def vgg() -> nn.Module:
    """Return an untrained VGG with 10 outputs: (N, 3, 32, 32) to (N, 10).

    2x128C3 - MP2 - 2x256C3 - MP2 - 2x512C3 - MP2 - 1024FC - 10FC, BatchNorm and ReLU behind each
    layer but the last. Source: the release of Bayesian Bits (van Baalen et al., NeurIPS 2020;
    models/cifar_models.py).
    """
    features: list[nn.Module] = []
    before = 3
    for width in _STAGES:
        for inputs in (before, width):
            convolution = nn.Conv2d(inputs, width, 3, padding=1, bias=False)
            features += [convolution, nn.BatchNorm2d(width), nn.ReLU()]
        features.append(nn.MaxPool2d(2))
        before = width
    classifier = nn.Sequential(
        nn.Linear(before * 4 * 4, 1024, bias=False),
        nn.BatchNorm1d(1024),
        nn.ReLU(),
        nn.Linear(1024, 10),
    )
    return nn.Sequential(nn.Sequential(*features), nn.Flatten(), classifier)
