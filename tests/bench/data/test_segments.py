"""Which frames are kept, against figures worked out by the formulas of TSN's release."""

import pytest

from bench.data.segments import places
from models.clips import Clip


@pytest.mark.parametrize(
    ("count", "segments", "expected"),
    [
        (16, 4, [2, 6, 10, 14]),
        (300, 16, [9, 28, 46, 65, 84, 103, 121, 140, 159, 178, 196, 215, 234, 253, 271, 290]),
        (10, 4, [1, 3, 6, 8]),  # segments of 2.5 frames
        (3, 3, [0, 1, 2]),
        (3, 6, [0, 0, 1, 1, 2, 2]),  # fewer frames than segments
        (1, 4, [0, 0, 0, 0]),
    ],
)
def test_the_middle_of_each_segment_is_evaluated(
    count: int, segments: int, expected: list[int]
) -> None:
    assert places(count, Clip(segments), "eval") == expected


@pytest.mark.parametrize("count", [1, 5, 16, 29, 250, 300])
@pytest.mark.parametrize("segments", [1, 3, 16])
def test_they_are_those_of_the_release(count: int, segments: int) -> None:
    tick = count / float(segments)
    release = [int(tick / 2.0 + tick * at) for at in range(segments)]
    assert places(count, Clip(segments), "eval") == release


@pytest.mark.parametrize(
    ("count", "clip", "expected"),
    [
        (16, Clip(4, 4), list(range(16))),  # all that the release draws from
        (17, Clip(4, 4), list(range(16))),
        (16, Clip(4, 1), [2, 6, 10, 14]),
        (16, Clip(4, 2), [1, 3, 5, 7, 9, 11, 13, 15]),
        (60, Clip(3, 3), [3, 10, 16, 23, 30, 36, 43, 50, 56]),
        (8, Clip(4, 3), [0, 1, 1, 2, 3, 3, 4, 5, 5, 6, 7, 7]),  # segments of two frames
        (3, Clip(4, 2), [0] * 8),  # the release: the first frame
    ],
)
def test_candidates_are_spread_over_the_segments_of_a_training_clip(
    count: int, clip: Clip, expected: list[int]
) -> None:
    found = places(count, clip, "train")
    assert found == expected and len(found) == clip.frames
