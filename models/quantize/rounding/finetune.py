"""Finetune weights that share values, by distillation from the float network.

Written from Stock et al., ICLR 2020, sections 3.3 and 3.4, and from what the authors' release
computes (facebookresearch/kill-the-bits, src/quantize.py, optim/centroid_sgd.py). The loss is
KL(teacher || student) of the class probabilities, the mean over images; no label is used. The
gradient of each weight is replaced by the mean over those that share its value, then follows SGD
with momentum and weight decay. The release streams augmented training images, 128 a step; here it
is the calibration images, `_BATCH` of them drawn for a step, or all where there are no more.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import kl_div
from torch.nn.modules.batchnorm import _BatchNorm

_BATCH = 64
_MOMENTUM = 0.9
_WEIGHT_DECAY = 1e-4
_LAYER_RATE = 5  # times the rate of the network: 0.05 and 0.01 in the release
_DECAY, _PARTS = 0.1, 3  # of the network's rate, in each part of its steps after the first


class Finetuning(NamedTuple):
    """Steps after each layer, steps of all layers at the end, and the learning rate of the latter.

    After a layer only its own values learn, BatchNorm as it is, at a constant rate five times as
    high. At the end all values learn and BatchNorm's running statistics follow the student's; the
    rate falls to a tenth twice.
    """

    layer_steps: int
    network_steps: int
    rate: float


class Student:
    """A network on its way to few values, and what its float form says of the images.

    network: in eval mode and frozen, still in float; what it becomes is finetuned in place.
    images: (N, 3, H, W), normalised. generator: draws the images of a step.
    """

    def __init__(
        self, network: nn.Module, images: Tensor, how: Finetuning, generator: torch.Generator
    ) -> None:
        self._network = network
        self._images = images
        self._how = how
        self._generator = generator
        with torch.no_grad():
            logits = [network(batch) for batch in images.split(_BATCH)]
        self._teacher = torch.cat(logits).log_softmax(1)

    def learn_layer(self, weight: nn.Parameter, shared: Tensor) -> None:
        """Finetune `weight`, whose equal numbers in `shared`, of its shape, share a value."""
        rates = [_LAYER_RATE * self._how.rate] * self._how.layer_steps
        self._learn({weight: shared}, rates)

    def learn_network(self, shared: Mapping[nn.Parameter, Tensor]) -> None:
        """Finetune all weights of `shared`; BatchNorm is in training mode meanwhile."""
        steps = self._how.network_steps
        rates = [self._how.rate * _DECAY ** (_PARTS * step // steps) for step in range(steps)]
        adapting = [m for m in self._network.modules() if isinstance(m, _BatchNorm)]
        for layer in adapting:
            layer.train(len(self._images) > 1)  # of one image there may be no variance
        self._learn(shared, rates)
        for layer in adapting:
            layer.eval()

    def _learn(self, shared: Mapping[nn.Parameter, Tensor], rates: list[float]) -> None:
        if not (shared and rates):
            return
        weights = list(shared)
        averages = [_Average(labels) for labels in shared.values()]
        update = torch.optim.SGD(weights, lr=1.0, momentum=_MOMENTUM, weight_decay=_WEIGHT_DECAY)
        for weight in weights:
            weight.requires_grad_(True)
        for rate in rates:
            update.param_groups[0]["lr"] = rate
            with torch.enable_grad():
                gradients = torch.autograd.grad(self._loss(), weights)
            for weight, average, gradient in zip(weights, averages, gradients, strict=True):
                weight.grad = average(gradient)
            update.step()
        for weight in weights:
            weight.requires_grad_(False)
            weight.grad = None
            weight.data = weight.data.half().to(weight)  # as a codebook is stored

    def _loss(self) -> Tensor:
        drawn = torch.randperm(len(self._images), generator=self._generator)[:_BATCH]
        drawn = drawn.to(self._images.device)
        student = self._network(self._images[drawn]).log_softmax(1)
        return kl_div(student, self._teacher[drawn], reduction="batchmean", log_target=True)


class _Average:
    """The mean over the places of a weight that have the same label."""

    def __init__(self, labels: Tensor) -> None:
        self._labels = labels.flatten()
        self._counts = self._labels.bincount().clamp(min=1)

    def __call__(self, values: Tensor) -> Tensor:
        sums = values.new_zeros(len(self._counts)).index_add_(0, self._labels, values.flatten())
        return (sums / self._counts)[self._labels].view_as(values)
