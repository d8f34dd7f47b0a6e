"""What clipping takes from the activations of a cell."""

import logging

from torch import Tensor

from models.quantize.clipping import clipped_energy
from models.quantize.identity import effective
from models.quantize.network import QuantizedNetwork
from models.quantize.spec import QuantSpec

log = logging.getLogger(__name__)

# Percent of the energy: 10 dB. Ranges of the least squared error clip up to 7 %, at 2 and 3 bits.
_MOST = 10


def clipping_warnings(quantized: QuantizedNetwork, spec: QuantSpec, images: Tensor) -> list[str]:
    """Return a line where activation ranges cut off what a number can hardly survive.

    The share is rounded down to tens, so that cells have lines in common; the debug log has what
    each place loses.

    images: (N, C, H, W), those that the ranges were found on.
    """
    if effective(spec).a_range == "minmax":
        return []
    lost = clipped_energy(quantized.network, quantized.quantizers, images)
    for name, percent in lost.items():
        log.debug("clipping removes %.2f %% of the energy at %s", percent, name)
    worst = max(lost.values(), default=0)
    if worst < _MOST:
        return []
    tens = min(int(worst // 10) * 10, 90)
    return [
        f"quant.a_range={spec.a_range} clips {tens} % or more of the signal's "
        f"energy off at the worst of {len(lost)} places; compare quant.a_range=minmax"
    ]
