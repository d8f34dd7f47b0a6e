"""Train a small classifier from scratch, in float: the project's own weights come from here."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

from methods.base import Progress, no_progress
from methods.training.fresh import drawn_anew
from methods.training.loop import Training
from methods.training.schedule import Schedule
from methods.training.strategy import Plain
from methods.training.surroundings import held
from models.checksum import sha256_of
from models.clips import COLOURS, Clip
from models.errors import BenchError
from models.preprocessing import Preparation


class LabelledImages(NamedTuple):
    """images: (N, 3, H, W) uint8, or texts as ids, (N, words) int32. labels: (N,) int64.

    clip: what is kept of each where they are clips, which have the channels of all frames.
    """

    images: np.ndarray
    labels: np.ndarray
    clip: Clip | None = None


def train(
    network: nn.Module,
    data: LabelledImages,
    preprocessing: Preparation,
    schedule: Schedule,
    seed: int,
    progress: Progress = no_progress,
) -> nn.Module:
    """Train a copy of `network` from scratch, on the device of its parameters.

    The copy's layers are initialised anew from `seed`, which also orders and warps the images: the
    result depends on the arguments alone, on one machine with one number of threads.

    progress: called with the steps done and the steps in all, after an epoch with its mean loss.
    Returns the trained copy, in eval mode, its parameters not requiring gradients.
    Raises BenchError when the arrays do not fit each other, when there are fewer images than one
    batch, and when the loss is no longer finite.
    """
    _check(data)
    generator = torch.Generator().manual_seed(seed)
    device = next(network.parameters()).device
    network = drawn_anew(network, generator).to(memory_format=torch.channels_last)
    network = network.train().requires_grad_(True)
    Training(
        network=network,
        strategy=Plain(network, (), schedule.label_smoothing),
        images=held(torch.tensor(data.images, device=device)),
        targets=torch.tensor(data.labels, device=device),
        normalise=preprocessing.normalise,
        schedules=(schedule,),
        generator=generator,
        progress=progress,
        clip=data.clip,
    ).run()
    return network.eval().requires_grad_(False)


def save_weights(network: nn.Module, path: Path) -> str:
    """Write the state dict of `network` to `path` as safetensors; return the file's sha256.

    The same weights give the same bytes. Folders on the way to `path` are created.
    """
    state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    # save_file would leave the file readable by its owner alone.
    path.write_bytes(save(state))
    return sha256_of(path)


def _check(data: LabelledImages) -> None:
    images, labels, clip = data
    channels = COLOURS * (clip.frames if clip else 1)
    are_images = images.ndim == 4 and images.shape[1] == channels and images.dtype == np.uint8
    if not are_images and (images.ndim != 2 or images.dtype != np.int32):
        raise BenchError(
            f"training images are {images.dtype} of shape {images.shape}; "
            f"give uint8 of shape (N, {channels}, height, width), or ids, int32 of shape (N, words)"
        )
    if labels.shape != images.shape[:1] or labels.dtype != np.int64:
        raise BenchError(
            f"training labels are {labels.dtype} of shape {labels.shape}; "
            f"give int64 of shape ({len(images)},), one for each image"
        )
