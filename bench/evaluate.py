"""Run a network over an evaluation set and say which images it gets right."""

from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from bench.data import ImageSet
from methods.base import Progress
from models.errors import BenchError
from models.preprocessing import Preprocessing


class Correctness(NamedTuple):
    """Whether the label is the best class, and among the best five: boolean (N,) arrays."""

    top1: np.ndarray
    top5: np.ndarray


@torch.inference_mode()
def evaluate(
    network: nn.Module,
    images: ImageSet,
    preprocessing: Preprocessing,
    device: torch.device,
    memory_format: torch.memory_format,
    batch_size: int,
    progress: Progress,
) -> Correctness:
    """Return the correctness of each image, in the order of the set.

    Pixels cross to the device as uint8 and are normalised there. Raises BenchError when a label
    is beyond the network's classes, or when a logit is not finite.
    """
    top1, top5 = [], []
    total = len(images)
    for start in range(0, total, batch_size):
        pixels = torch.from_numpy(np.ascontiguousarray(images.images[start : start + batch_size]))
        labels = torch.tensor(images.labels[start : start + batch_size], device=device)
        batch = preprocessing.normalise(pixels.to(device)).contiguous(memory_format=memory_format)
        logits = network(batch)
        if int(labels.max()) >= logits.shape[1]:
            raise BenchError(
                f"{images.listing.name} has a label {int(labels.max())} and the network only "
                f"{logits.shape[1]} classes; choose a data set that belongs to the model"
            )
        if not bool(torch.isfinite(logits).all()):
            raise BenchError(f"a logit is not finite at images {start}..{start + len(labels) - 1}")
        best = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels[:, None]
        top1.append(best[:, 0].cpu().numpy())
        top5.append(best.any(dim=1).cpu().numpy())
        progress(min(start + batch_size, total), total, None)
    return Correctness(np.concatenate(top1), np.concatenate(top5))
