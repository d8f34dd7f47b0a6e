"""The project's own recipe for training a small classifier from scratch."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional

from models.errors import BenchError
from models.preprocessing import Preprocessing
from models.weights import sha256_of

Progress = Callable[[int, int, float], None]


@dataclass(frozen=True)
class TrainRecipe:
    """SGD with momentum, one learning-rate cycle, and a random affine warp of every image.

    epochs: passes over the training images; the weights after the last one are the result.
    batch_size: images a step; an incomplete last batch of an epoch is left out.
    lr: peak of the learning rate, reached after the `warmup` fraction (0..1, exclusive of 1) of
        all steps by half a cosine from zero, and left towards zero by the other half.
    weight_decay: on every parameter with more than one dimension (not on BatchNorm or biases).
    label_smoothing: 0..1, the share of the target spread over all classes.
    max_shift: pixels, each axis. max_rotation: degrees. max_scale: fraction of the size, below 1.
        The warp is uniform within plus and minus these; outside the image is black.
    """

    epochs: int = 12
    batch_size: int = 64
    lr: float = 0.2
    momentum: float = 0.9
    weight_decay: float = 5e-4
    nesterov: bool = True
    warmup: float = 0.25
    label_smoothing: float = 0.05
    max_shift: float = 2.0
    max_rotation: float = 10.0
    max_scale: float = 0.1

    def __post_init__(self) -> None:
        """Raises BenchError naming the field that is out of range."""
        accepted = {
            "epochs": self.epochs >= 1,
            "batch_size": self.batch_size >= 2,
            "lr": 0 < self.lr < math.inf,
            "momentum": 0 <= self.momentum < 1 and (self.momentum > 0 or not self.nesterov),
            "weight_decay": 0 <= self.weight_decay < math.inf,
            "warmup": 0 <= self.warmup < 1,
            "label_smoothing": 0 <= self.label_smoothing < 1,
            "max_shift": 0 <= self.max_shift < math.inf,
            "max_rotation": 0 <= self.max_rotation <= 180,
            "max_scale": 0 <= self.max_scale < 1,
        }
        for field, fine in accepted.items():
            if not fine:
                raise BenchError(
                    f"training recipe: {field}={getattr(self, field)!r} is out of range; "
                    "see TrainRecipe for the range of each field"
                )


def learning_rate(recipe: TrainRecipe, step: int, steps: int) -> float:
    """Return the learning rate of `step` (0..steps-1) of the one cosine cycle."""
    peak = recipe.warmup * steps
    # The middle of the step, so that neither the first nor the last has a rate of zero.
    time = step + 0.5
    if time < peak:
        return recipe.lr * 0.5 * (1 - math.cos(math.pi * time / peak))
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * (time - peak) / (steps - peak)))


def warp(pixels: Tensor, recipe: TrainRecipe, generator: torch.Generator) -> Tensor:
    """Rotate, scale and shift each image by its own random amount, black beyond the border.

    pixels: (N, 3, H, W) float32, any device. The random numbers come from `generator`, on the
    CPU, so that the draws are the same on every device.
    """
    count, _, height, width = pixels.shape
    draws = torch.rand(count, 4, generator=generator) * 2 - 1
    angle = draws[:, 0] * math.radians(recipe.max_rotation)
    scale = 1 + draws[:, 1] * recipe.max_scale
    # The grid's coordinates run from -1 to 1: a pixel is 2 / width of them.
    shift_x = draws[:, 2] * recipe.max_shift * 2 / width
    shift_y = draws[:, 3] * recipe.max_shift * 2 / height
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    # Without the aspect ratio a rotation in grid coordinates would shear an oblong image.
    rows = [cos, -sin * height / width, shift_x, sin * width / height, cos, shift_y]
    theta = torch.stack(rows, dim=1).view(count, 2, 3).to(pixels.device)
    grid = functional.affine_grid(theta, list(pixels.shape), align_corners=False)
    return functional.grid_sample(pixels, grid, mode="bilinear", align_corners=False)


def train(
    network: nn.Module,
    images: np.ndarray,
    labels: np.ndarray,
    preprocessing: Preprocessing,
    recipe: TrainRecipe,
    seed: int,
    progress: Progress | None = None,
) -> nn.Module:
    """Train a copy of `network` from scratch, on the device of its parameters.

    The copy's layers are initialised anew from `seed`, which also orders and warps the images: the
    result depends on the arguments alone, on one machine with one number of threads.

    images: (N, 3, H, W) uint8. labels: (N,) int64, class indices.
    progress: called after each epoch with (epoch from 1, epochs, mean loss of the epoch).
    Returns the trained copy, in eval mode, its parameters not requiring gradients.
    Raises BenchError when the arrays do not fit each other, when there are fewer images than one
    batch, and when the loss is no longer finite.
    """
    _check(images, labels, recipe)
    generator = torch.Generator().manual_seed(seed)
    network = _fresh(network, generator)
    device = next(network.parameters()).device
    pixels = torch.tensor(images, device=device)
    targets = torch.tensor(labels, device=device)
    optimiser = _optimiser(network, recipe)
    loss_of = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
    batches = len(pixels) // recipe.batch_size
    steps = recipe.epochs * batches

    deterministic = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True)
    with deterministic, torch.random.fork_rng():
        torch.manual_seed(seed)  # for layers that draw by themselves, such as dropout
        for epoch in range(recipe.epochs):
            order = torch.randperm(len(pixels), generator=generator)
            total = torch.zeros((), device=device)
            for batch in range(batches):
                chosen = order[batch * recipe.batch_size :][: recipe.batch_size].to(device)
                warped = warp(pixels[chosen].float(), recipe, generator)
                inputs = preprocessing.normalise(warped).to(memory_format=torch.channels_last)
                for group in optimiser.param_groups:
                    group["lr"] = learning_rate(recipe, epoch * batches + batch, steps)
                loss = loss_of(network(inputs), targets[chosen])
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                total += loss.detach()
            mean_loss = float(total) / batches
            if not math.isfinite(mean_loss):
                raise BenchError(
                    f"training diverged: the loss of epoch {epoch + 1} is {mean_loss}; "
                    f"lower lr (now {recipe.lr})"
                )
            if progress is not None:
                progress(epoch + 1, recipe.epochs, mean_loss)
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


def _check(images: np.ndarray, labels: np.ndarray, recipe: TrainRecipe) -> None:
    if images.ndim != 4 or images.shape[1] != 3 or images.dtype != np.uint8:
        raise BenchError(
            f"training images are {images.dtype} of shape {images.shape}; "
            "give uint8 of shape (N, 3, height, width)"
        )
    if labels.shape != images.shape[:1] or labels.dtype != np.int64:
        raise BenchError(
            f"training labels are {labels.dtype} of shape {labels.shape}; "
            f"give int64 of shape ({len(images)},), one for each image"
        )
    if len(images) < recipe.batch_size:
        raise BenchError(
            f"{len(images)} training images do not fill one batch of {recipe.batch_size}; "
            "lower batch_size"
        )


def _fresh(network: nn.Module, generator: torch.Generator) -> nn.Module:
    """Return a channels-last copy in training mode with newly drawn weights (He et al., 2015)."""
    device = next(network.parameters()).device
    fresh = copy.deepcopy(network).cpu()
    with torch.no_grad():
        for module in fresh.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", generator=generator)
            elif isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="linear", generator=generator)
            elif isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
            if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                module.bias.zero_()
    fresh = fresh.to(device=device).to(memory_format=torch.channels_last)
    return fresh.train().requires_grad_(True)


def _optimiser(network: nn.Module, recipe: TrainRecipe) -> torch.optim.SGD:
    decayed = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": decayed},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.SGD(
        groups,
        lr=recipe.lr,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.nesterov,
    )
