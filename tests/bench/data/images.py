"""Tiny image folders for the tests."""

from pathlib import Path

import numpy as np
from PIL import Image

from models.preprocessing import Preprocessing


def preprocessing(size: int = 8, resize: int = 10, interpolation: str = "bicubic") -> Preprocessing:
    return Preprocessing(size, resize, interpolation, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))  # type: ignore[arg-type]


def write_image(path: Path, width: int = 13, height: int = 11, seed: int = 0) -> None:
    """Noise, so that a pixel's shift or another filter shows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def write_tree(root: Path, counts: dict[str, int]) -> Path:
    """Write `counts[folder]` images into each root/folder; return root."""
    seed = 0
    for folder, count in counts.items():
        for index in range(count):
            write_image(root / folder / f"{index:03d}.png", seed=seed)
            seed += 1
    return root
