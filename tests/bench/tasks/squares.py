"""A set of bright squares on grey canvases, and a network that finds them: a cell in a moment."""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from bench.data.listing import Labels, Listing, Side, fingerprint_of
from bench.data.options import Options
from models.preprocessing import Preprocessing
from tests.bench.tasks.examples import truth

SIDE, SIZE = 8, 32
PLACES = SIZE // SIDE
IMAGES = {"train": 12, "eval": 20}

DATA: dict[str, Any] = {"name": "tests.bench.tasks.squares:Squares", "limit": None, "subset": None}
MODEL = {"name": "tests.bench.tasks.squares:finder", "weights": "none"}


class Squares:
    """Canvases of 32 x 32 with bright squares of 8 x 8 in some of the 16 places of a grid."""

    task: ClassVar[str] = "detection"
    keys: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, options: Options) -> None:
        self.options = options

    def scan(self, side: Side) -> Listing:
        truths = tuple(
            truth(*((SIDE * x, SIDE * y, SIDE, SIDE) for y, x in np.argwhere(bright)), category=3)
            for _, bright in _canvases(side)
        )
        return Listing(
            name="squares",
            side=side,
            files=tuple(f"squares/{side}/{place:02d}" for place in range(IMAGES[side])),
            labels=_labels(side),
            classes=1,
            fingerprint=fingerprint_of(("squares", side)),
            stamp=fingerprint_of(()),
            truths=truths,
        )

    def reader(self, listing: Listing) -> Callable[[int], Image.Image]:
        canvases = [canvas for canvas, _ in _canvases(listing.side)]
        places = [int(name.rpartition("/")[2]) for name in listing.files]
        return lambda index: Image.fromarray(canvases[places[index]])


def _labels(side: Side) -> Labels:
    return np.zeros(IMAGES[side], dtype=np.int64)


def _canvases(side: Side) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (32, 32, 3) pixels of each canvas, and (4, 4) where there are squares."""
    rng = np.random.default_rng(0 if side == "train" else 1)
    found = []
    for _ in range(IMAGES[side]):
        bright = rng.random((PLACES, PLACES)) < 0.2
        level = np.where(bright, 200, 60).repeat(SIDE, axis=0).repeat(SIDE, axis=1)
        noise = rng.integers(-40, 41, (SIZE, SIZE, 3))
        found.append(((level[..., None] + noise).astype(np.uint8), bright))
    return found


class Finder(nn.Module):
    """Looks at each place of the grid in shades of grey, and takes what is bright for a square."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 2, 2, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(2)
        self.relu = nn.ReLU()
        self.towers = nn.ModuleList([nn.Conv2d(2, 1, SIDE // 2, stride=SIDE // 2)])

    def raw(self, images: Tensor) -> Tensor:
        x = self.relu(self.norm(self.stem(images)))
        for tower in self.towers:
            x = tower(x)
        return x.flatten(1)

    def detections(self, outputs: Tensor) -> list[dict[str, Tensor]]:
        found = []
        for row in outputs.sigmoid():
            places = (row > 0.5).nonzero().flatten()
            corners = SIDE * torch.stack([places % PLACES, places // PLACES], dim=1).float()
            boxes = torch.cat([corners, corners + SIDE], dim=1)
            labels = torch.full_like(places, 3)
            found.append({"boxes": boxes, "scores": row[places], "labels": labels})
        return found

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        return self.detections(self.raw(torch.stack(images)))


def finder() -> nn.Module:
    """Return the network with weights that make the mean of a place, in 0..1, its score."""
    network = Finder()
    with torch.no_grad():
        network.stem.weight.fill_(1 / 12)
        network.stem.weight[1] *= torch.tensor([0.5, 1.0, 1.5]).view(3, 1, 1)
        network.norm.running_mean.fill_(0.3)  # type: ignore[union-attr]
        network.norm.running_var.fill_(0.04)  # type: ignore[union-attr]
        (tower,) = network.towers
        assert isinstance(tower, nn.Conv2d) and tower.bias is not None
        tower.weight.fill_(1 / 16)
        tower.bias.fill_(-2.0)
    return network


finder.preprocessing = Preprocessing(  # type: ignore[attr-defined]
    SIZE, SIZE, "bilinear", (0.0,) * 3, (1.0,) * 3
)
finder.task = "detection"  # type: ignore[attr-defined]
