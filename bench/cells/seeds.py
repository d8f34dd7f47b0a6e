"""One seed a cell, one independent random stream a purpose.

A stream depends on the cell's seed and the purpose's name only, so that a change of bit-width,
or one more draw for another purpose, leaves it as it was.
"""

import hashlib

import numpy as np
import torch


def stream_seed(seed: int, purpose: str) -> int:
    """Return a 63-bit seed for `purpose` (say, "synthesis", "calibration" or "training")."""
    digest = hashlib.sha256(f"{purpose}:{seed}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def torch_generator(seed: int, purpose: str) -> torch.Generator:
    return torch.Generator().manual_seed(stream_seed(seed, purpose))


def numpy_generator(seed: int, purpose: str) -> np.random.Generator:
    return np.random.default_rng(stream_seed(seed, purpose))
