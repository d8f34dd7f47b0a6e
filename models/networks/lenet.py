"""LeNet-5 as papers on pruning and quantization have it."""

from pathlib import Path

from torch import Tensor, nn

FILES = Path(__file__).parents[1] / "zoo" / "files"


class LeNet5(nn.Module):
    """32C5 - MP2 - 64C5 - MP2 - 512FC - 10FC, no padding and no BatchNorm.

    Input (N, C, 28, 28), of which the first channel is seen: digits are grey. Output (N, 10).
    Source: the release of Bayesian Bits (van Baalen et al., NeurIPS 2020; mnist_models.py).
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(64 * 4 * 4, 512),
            nn.ReLU(),
            nn.Linear(512, 10),
        )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(x[:, :1]))
        return logits


def locate_lenet5() -> Path:
    """Return the path of the weights trained by this project on 4,000 digits."""
    return FILES / "lenet5_mnist5k.safetensors"
