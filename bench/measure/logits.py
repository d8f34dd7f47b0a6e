"""The logits of an evaluation set's first images: how far quantization moves them."""

import weakref

import torch
from torch import Tensor, nn

from bench.data.feed import Feed
from bench.machine.device import Device
from models.clips import as_frames, consensus
from models.preprocessing import Preparation, laid_out

COUNT = 128
"""Of how many images. A mean over 128,000 logits; more images would cost more and say the same."""


class FloatLogits:
    """Those of the last float network, kept for the next cells."""

    def __init__(self) -> None:
        self._network: weakref.ref[nn.Module] | None = None
        self._images = ""
        self._logits = torch.zeros(0)

    def of(
        self, network: nn.Module, feed: Feed, preprocessing: Preparation, device: Device
    ) -> Tensor:
        """Return the logits (images, classes) of `network`, float32 on the CPU.

        Never of a compiled network, whose sums come in another order.
        """
        images = feed.images.listing.fingerprint
        known = self._network is not None and self._network() is network
        if not known or self._images != images:
            self._logits = _logits(network, feed, preprocessing, device)
            self._network, self._images = weakref.ref(network), images
        return self._logits


def logit_mse(logits: Tensor, of_float: Tensor) -> float:
    """Return the mean squared difference of two sets of logits of the same images."""
    return float((logits.double() - of_float.double()).square().mean())


@torch.inference_mode()
def _logits(network: nn.Module, feed: Feed, preprocessing: Preparation, device: Device) -> Tensor:
    total = min(COUNT, len(feed.images))
    frames = feed.images.listing.frames
    size = min(max(1, device.images_at_once(preprocessing.places) // frames), total)
    parts = []
    for start in range(0, total, size):
        ready = preprocessing.normalise(as_frames(feed.pixels(start, min(start + size, total))))
        logits = network(laid_out(ready, device.memory_format))
        parts.append(consensus(logits, frames).float().cpu())
    return torch.cat(parts)
