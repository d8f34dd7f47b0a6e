"""Clips as images of more channels, seen frame by frame; the logits of a clip are their mean.

A clip is stored as (3 F, H, W): the three colours of its first frame, then those of the second. So
whatever turns, shifts or copies images treats all frames of a clip alike. A network sees single
frames, and a clip has the mean of their logits: the average consensus of "Temporal Segment
Networks" (Wang et al., ECCV 2016).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # what lists images imports no torch
    import torch
    from torch import Tensor, nn

COLOURS = 3


class Clip(NamedTuple):
    """What is kept of a clip.

    segments: equal parts of its time, of each of which one frame is seen.
    candidates: frames kept of each segment, of which a training step draws one.
    """

    segments: int
    candidates: int = 1

    @property
    def frames(self) -> int:
        return self.segments * self.candidates


def as_frames(images: "Tensor") -> "Tensor":
    """Return the frames (N F, 3, H, W) of clips (N, 3 F, H, W); images, and rows of
    words, are themselves.
    """
    if images.dim() != 4 or images.shape[1] == COLOURS:
        return images
    return images.unflatten(1, (-1, COLOURS)).flatten(0, 1)


def consensus(logits: "Tensor", segments: int) -> "Tensor":
    """Return the mean logits (N, K) of clips, of those of their frames (N segments, K)."""
    return logits if segments == 1 else logits.unflatten(0, (-1, segments)).mean(dim=1)


def drawn(clips: "Tensor", clip: Clip, generator: "torch.Generator") -> "Tensor":
    """Return (N, 3 S, H, W), one frame of each segment, of clips (N, 3 S candidates, H, W).

    generator: on the CPU, so that the draws are the same on every device.
    """
    import torch

    if clip.candidates == 1:
        return clips
    count, segments = len(clips), clip.segments
    chosen = torch.randint(clip.candidates, (count, segments), generator=generator)
    frames = clips.unflatten(1, (segments, clip.candidates, COLOURS))
    clip_at, segment_at = torch.arange(count)[:, None], torch.arange(segments)
    return frames[clip_at, segment_at, chosen].flatten(1, 2)


@contextmanager
def averaging(network: "nn.Module", segments: int) -> Iterator[None]:
    """Let `network` return the logits of clips inside, where it is given their frames in order."""
    if segments == 1:
        yield
        return
    hook = network.register_forward_hook(lambda _, args, logits: consensus(logits, segments))
    try:
        yield
    finally:
        hook.remove()
