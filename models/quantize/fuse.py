"""ReLUs whose quantizer does their work: it bounds what passes from both sides already."""

import torch
from torch import Tensor, nn

from models.quantize.activation import ActivationQuantizer

_UPPER = {nn.ReLU: float("inf"), nn.ReLU6: 6.0}


@torch.no_grad()
def fuse_relus(network: nn.Module, image: Tensor) -> int:
    """Drop each ReLU or ReLU6 of a quantized `network`, in place, whose quantizer makes it idle.

    A quantizer of a range that begins at 0 takes what is negative to 0 itself, and one whose range
    ends at 6 or below takes what is above 6 to its own end: the values are the same to the last
    bit. So do integer kernels ("fused" activations, Jacob et al., CVPR 2018, section 2.4).

    image: (1, 3, H, W) normalised input. A ReLU that works in place also changes what others read;
    so nothing is dropped where the logits of `image`, and of noise, do not stay the same.

    Returns how many are dropped.
    """
    idle = [module for module in network.modules() if _is_idle(module)]
    if not idle:
        return 0
    # Noise, because an image may have nothing negative where another reads it.
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    probe = torch.cat([image, 3 * noise.to(image.device, image.dtype)])
    before = network(probe)
    kinds = [type(module) for module in idle]
    for module in idle:
        # The class alone: names, hooks, and whoever else holds the module stay as they are.
        module.__class__ = nn.Identity
    if torch.equal(network(probe), before):
        return len(idle)
    for module, kind in zip(idle, kinds, strict=True):
        module.__class__ = kind
    return 0


def _is_idle(module: nn.Module) -> bool:
    quantizer = getattr(module, "output_quantizer", None)
    if type(module) not in _UPPER or not isinstance(quantizer, ActivationQuantizer):
        return False
    upper = _UPPER[type(module)]
    bounded = (quantizer.low == 0).all() and (quantizer.high <= upper).all()
    return not quantizer.observing and bool(bounded)
