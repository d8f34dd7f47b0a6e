"""What reading quantized weights takes beside them: steps, zero points, and bits of channels.

A step is a float32. A zero point is an int32: that of ZeroQ's affine grids may lie outside of the
integers of the weights. Which of its bit-widths an output channel has is a number of whole bits.
How many bits a whole layer has is not counted: it is one number a layer.
"""

from collections.abc import Sequence

from models.quantize.ranges import WeightFormat

STEP_BITS = 32
ZERO_POINT_BITS = 32


def index_bits(bits: Sequence[float]) -> int:
    """Return what it takes to say which bits each output channel has: 0 where all have the same.

    bits: of each channel, 0 of a pruned one. Of k that occur, a channel's takes ceil(log2 k) bits.
    """
    return len(bits) * (len(set(bits)) - 1).bit_length()


def bits_of_grids(weight_format: WeightFormat, channels: int) -> int:
    """Return what the steps and zero points of a weight take, and the index of its channels' bits.

    channels: the outputs of the layer. One that is pruned has no grid.
    """
    of_channels = weight_format.channel_bits
    grids = channels if weight_format.granularity == "channel" else 1
    if of_channels is not None:
        grids = sum(bits > 0 for bits in of_channels)
    each = STEP_BITS + (ZERO_POINT_BITS if weight_format.scheme == "affine" else 0)
    return grids * each + (0 if of_channels is None else index_bits(of_channels))
