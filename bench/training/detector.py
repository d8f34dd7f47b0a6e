"""Train a small detector from scratch, in float: the project's own weights come from here."""

from collections.abc import Sequence

import numpy as np
import torch

from bench.statistics.boxes import Truth
from methods.base import Progress, no_progress
from methods.training.detection import Detecting, packed
from methods.training.fresh import drawn_anew
from methods.training.loop import Training
from methods.training.schedule import Schedule
from methods.training.surroundings import held
from models.errors import BenchError
from models.networks.fpn_detector import FpnDetector
from models.preprocessing import Preparation


def train_detector(
    network: FpnDetector,
    images: np.ndarray,
    truths: Sequence[Truth],
    preprocessing: Preparation,
    schedule: Schedule,
    seed: int,
    progress: Progress = no_progress,
) -> FpnDetector:
    """Train a copy of `network` from scratch, on the device of its parameters.

    The copy's layers are initialised anew from `seed`, which also orders the images: the result
    depends on the arguments alone, on one machine with one number of threads. Crowds are no
    targets.

    images: (N, 3, H, W) uint8, as large as the network takes them. truths: one an image.
    progress: as of `bench.training.from_scratch.train`.
    Returns the trained copy, in eval mode, its parameters not requiring gradients.
    Raises BenchError when the arrays do not fit each other, when `schedule` would move images
    without their boxes, when there are fewer images than one batch, and when the loss is no longer
    finite.
    """
    _check(images, truths, schedule)
    generator = torch.Generator().manual_seed(seed)
    device = next(network.parameters()).device
    fresh = drawn_anew(network, generator)
    assert isinstance(fresh, FpnDetector)
    fresh.start()
    fresh = fresh.to(memory_format=torch.channels_last).train().requires_grad_(True)
    single = [~truth.crowd for truth in truths]
    targets = packed(
        [truth.boxes[kept] for truth, kept in zip(truths, single, strict=True)],
        [truth.classes[kept] for truth, kept in zip(truths, single, strict=True)],
    )
    Training(
        network=fresh,
        strategy=Detecting(fresh),
        images=held(torch.tensor(images, device=device)),
        targets=targets.to(device),
        normalise=preprocessing.normalise,
        schedules=(schedule,),
        generator=generator,
        progress=progress,
    ).run()
    return fresh.eval().requires_grad_(False)


def _check(images: np.ndarray, truths: Sequence[Truth], schedule: Schedule) -> None:
    if images.ndim != 4 or images.shape[1] != 3 or images.dtype != np.uint8:
        raise BenchError(
            f"training images are {images.dtype} of shape {images.shape}; "
            "give uint8 of shape (N, 3, height, width)"
        )
    if len(truths) != len(images):
        raise BenchError(f"{len(truths)} images have boxes and {len(images)} are there; give both")
    if schedule.augment != "none":
        raise BenchError(
            f"train.augment={schedule.augment} moves images and not their boxes; give "
            "train.augment=none"
        )
