"""Which frames of a clip are kept: of equal segments of its time, as temporal segment networks do.

Source: "Temporal Segment Networks" (Wang et al., ECCV 2016) and its release (yjxiong/tsn-pytorch,
dataset.py). Of frames alone, not of optical flow or differences.
"""

from bench.data.listing import Side
from models.clips import Clip


def places(count: int, clip: Clip, side: Side) -> list[int]:
    """Return the places, 0..count - 1, of the frames that are kept of a clip of `count` frames.

    Of the eval side the frame in the middle of each segment, whose length may be a fraction; of a
    clip of fewer frames than segments some are there twice. Of the train side, `candidates` of each
    segment, which is count // segments long, spread evenly over it: all of them where it is that
    long, some twice where it is shorter. The release draws among all frames of a segment, and takes
    the first frame of the clip for each segment where there are fewer frames than segments.

    Returns `clip.frames` places, a segment behind the other. count: at least 1.
    """
    segments, candidates = clip
    if side == "eval":
        return [(2 * segment + 1) * count // (2 * segments) for segment in range(segments)]
    length = count // segments
    within = [(2 * at + 1) * length // (2 * candidates) for at in range(candidates)]
    return [segment * length + place for segment in range(segments) for place in within]
