"""Two images with an object each, whose masks are polygons, and a network that finds both."""

import json
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from models.preprocessing import Preprocessing

SIZE, MASK = 32, 28
MODEL = {"name": "tests.bench.tasks.masked:masked", "weights": "none"}


def write(root: Path, change: dict[str, Any] | None = None) -> dict[str, Any]:
    """Write the images under `root`, with `change` in the second object; return the `data` node."""
    (root / "val").mkdir(parents=True)
    for name, size, colour in (("a", (40, 20), 10), ("b", (16, 16), 20)):
        Image.new("RGB", size, (colour,) * 3).save(root / "val" / f"{name}.png")
    images = [
        {"id": 4, "file_name": "a.png", "width": 40, "height": 20},
        {"id": 7, "file_name": "b.png", "width": 16, "height": 16},
    ]
    first = {"id": 1, "image_id": 4, "category_id": 3, **square(10, 5)}
    second = {"id": 2, "image_id": 7, "category_id": 90, **square(2, 2), **(change or {})}
    content = {
        "images": images,
        "categories": [{"id": 3}, {"id": 90}],
        "annotations": [first, {k: v for k, v in second.items() if v is not None}],
    }
    (root / "val.json").write_text(json.dumps(content))
    return {"name": "coco", "root": str(root), "label": None, "limit": None, "subset": None}


def square(left: float, top: float) -> dict[str, Any]:
    """Return box, area and polygon of 10 x 10 pixels."""
    right, bottom = left + 10, top + 10
    polygon = [left, top, right, top, right, bottom, left, bottom]
    return {"bbox": [left, top, 10, 10], "area": 100, "segmentation": [polygon]}


class Masked(nn.Module):
    """Finds both objects as they are, and in the second the right half of its box alone."""

    mask_side = MASK

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 2, 3)

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        found = []
        for image in images:
            self.stem(image[None])
            # In pixels of the input: an original one of the first is 0.8, of the second 2.
            corners = {10: (8.0, 4.0, 16.0, 12.0), 20: (4.0, 4.0, 24.0, 24.0)}
            colour = round(255 * float(image[0, 0, 0]))
            boxes = torch.tensor([corners[colour]] if colour in corners else []).view(-1, 4)
            masks = torch.ones(len(boxes), 1, MASK, MASK)
            masks[..., : MASK // 2] = float(colour == 10)
            labels = torch.full((len(boxes),), 3 if colour == 10 else 90)
            scores = torch.full((len(boxes),), 0.9)
            found.append({"boxes": boxes, "scores": scores, "labels": labels, "masks": masks})
        return found


def masked() -> nn.Module:
    """Return the network, with weights that change nothing."""
    network = Masked()
    for parameter in network.parameters():
        nn.init.constant_(parameter, 0.1)
    return network


masked.preprocessing = Preprocessing(  # type: ignore[attr-defined]
    SIZE, SIZE, "bilinear", (0.0,) * 3, (1.0,) * 3, fit="letterbox"
)
masked.task = "detection"  # type: ignore[attr-defined]
