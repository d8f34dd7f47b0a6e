"""HAQ's thresholds (Wang et al., CVPR 2019): where cumulative histograms diverge least."""

import numpy as np

_FEW_BITS = 5  # below, values are clipped
_START = 6.0  # the largest range of an activation


def cumulative_threshold(values: np.ndarray, levels: int) -> float:
    """Return the threshold of `values` (n,) whose size is brought onto `levels` knots, 1 or more.

    |x| is counted in bins from 0 that are as wide as its spread over the root of n, and C is the
    share that lies in a bin or below.
    For each number of bins i from levels + 1 up, P is C with 1 from bin i on, and Q is P read off
    at `levels` evenly spaced knots below bin i and drawn as straight lines between them; of the i
    that minimise sum (C - Q) log2(C / Q) over all bins the first is taken, and the threshold is the
    middle of the bin above: up to half a bin above the largest size.
    Source: mit-han-lab/haq, lib/utils/quantize_utils.py, _compute_threshold.

    The largest size where there are too few bins, and where none lies in the first of them, of
    which the release's logarithm is not a number, so that it takes the smallest threshold.
    """
    size = np.abs(values)
    largest = float(size.max())
    if not 0 < largest < np.inf:
        return largest
    counts, edges = np.histogram(size, bins="sqrt", range=(0, largest))
    shares = np.cumsum(counts / counts.sum())
    if levels + 1 > len(counts) or shares[0] == 0:
        return largest
    candidates = range(levels + 1, len(counts) + 1)
    found = [_divergence(shares, bins, levels) for bins in candidates]
    return float((candidates[int(np.argmin(found))] + 0.5) * (edges[1] - edges[0]))


def haq_threshold(values: np.ndarray, bits: int, has_sign: bool, is_activation: bool) -> float:
    """Return where HAQ's release clips `values` (n,): at `cumulative_threshold` below 5 bits.

    Knots are as many as the positive levels and zero, of an activation without a sign half as many,
    and its bits are counted without the sign's. No activation reaches beyond 6, where the release
    starts the range that it then trains.
    """
    size_bits = bits - int(has_sign) if is_activation else bits
    largest = float(np.abs(values).max())
    clips = size_bits < _FEW_BITS
    found = cumulative_threshold(values, 2 ** (size_bits - 1)) if clips else largest
    return min(_START, largest, found) if is_activation else found


def _divergence(shares: np.ndarray, bins: int, levels: int) -> float:
    clipped = shares.copy()
    clipped[bins - 1 :] = 1
    of_bins, of_knots = np.linspace(0, 1, bins), np.linspace(0, 1, levels)
    drawn = clipped.copy()
    drawn[:bins] = np.interp(of_bins, of_knots, np.interp(of_knots, of_bins, clipped[:bins]))
    return float(np.sum((shares - drawn) * np.log2(shares / drawn)))
