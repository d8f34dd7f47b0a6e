"""Clips are images of more channels: their frames, a frame of each segment, and mean logits."""

import torch
from torch import Tensor, nn

from models.clips import Clip, as_frames, averaging, consensus, drawn


def numbered(clips: int, frames: int) -> Tensor:
    """Clips of 2 x 2 pixels, of which each has the value 100 clip + 10 frame + colour."""
    at = [100 * clip + 10 * frame for clip in range(clips) for frame in range(frames)]
    values = torch.tensor(at)[:, None] + torch.arange(3)
    return values.view(clips, 3 * frames, 1, 1).expand(clips, 3 * frames, 2, 2)


def test_frames_stand_one_behind_the_other_and_images_are_themselves() -> None:
    frames = as_frames(numbered(2, 3))
    assert frames.shape == (6, 3, 2, 2)
    assert frames[:, 0, 0, 0].tolist() == [0, 10, 20, 100, 110, 120]
    assert frames[4, :, 1, 1].tolist() == [110, 111, 112]
    images = torch.zeros(5, 3, 2, 2)
    assert as_frames(images) is images


def test_the_consensus_is_the_mean_of_the_logits() -> None:
    logits = torch.tensor([[1.0, 0.0], [4.0, 2.0], [0.0, 6.0], [0.0, 8.0]])
    assert consensus(logits, 2).tolist() == [[2.5, 1.0], [0.0, 7.0]]
    assert consensus(logits, 1) is logits


def test_each_segment_draws_one_of_its_own_frames() -> None:
    clip, generator = Clip(segments=2, candidates=3), torch.Generator().manual_seed(0)
    stored = numbered(2, clip.frames)
    seen = set()
    for _ in range(60):
        both = drawn(stored, clip, generator)
        assert both.shape == (2, 6, 2, 2)
        frames = as_frames(both)
        assert torch.equal(frames[:, 2], frames[:, 0] + 2), "the colours of one frame"
        seen.add(tuple(frames[:, 0, 0, 0].tolist()))
    first = {(a, b) for a, b, _, _ in seen}
    assert first == {(a, b) for a in (0, 10, 20) for b in (30, 40, 50)}
    assert {c - 100 for _, _, c, _ in seen} == {0, 10, 20}
    assert any(a != c - 100 for a, _, c, _ in seen), "clips draw by themselves"


def test_where_one_frame_is_kept_nothing_is_drawn() -> None:
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    stored = numbered(2, 2)
    assert drawn(stored, Clip(segments=2), generator) is stored
    assert torch.equal(generator.get_state(), before)


def test_a_network_averages_inside_and_is_as_before_outside() -> None:
    network = nn.Flatten()
    frames = as_frames(numbered(2, 3)).float()
    with averaging(network, 3):
        assert network(frames)[:, 0].tolist() == [10.0, 110.0]
    assert torch.equal(network(frames), frames.flatten(1))
