"""BatchNorm folding: a convolution and the BatchNorm behind it become one convolution."""

from typing import Any

import torch
from torch import Tensor, nn

from models.canonical import canonical, full_float32
from models.errors import NotApplicable
from models.tracing import traced

_TOLERANCE = 1e-3  # of the largest logit; folding itself costs about 1e-6


@torch.no_grad()
def fold_batchnorm(network: nn.Module, image: Tensor) -> list[str]:
    """Fold each BatchNorm of `network` that reads a convolution's output, in place.

    image: (1, 3, H, W) normalised input; one forward pass shows which convolution feeds which
    BatchNorm, so neither names nor the order of registration matter. An activation that a
    BatchNorm module carries (timm's BatchNormAct2d) stays in its place.

    Returns the names of the folded BatchNorms. Raises NotApplicable when the network no longer
    computes the same, because a convolution's output is also used elsewhere, or never does.
    """
    with full_float32():
        network = canonical(network, image)
        before = network(image)
    folded = []
    for conv, name in conv_batchnorm_pairs(network, image):
        batchnorm = network.get_submodule(name)
        assert isinstance(batchnorm, nn.BatchNorm2d)
        _absorb(conv, batchnorm)
        network.set_submodule(name, getattr(batchnorm, "act", nn.Identity()))
        folded.append(name)
    tolerated = _TOLERANCE * before.abs().max()
    with full_float32():
        if bool((network(image) - before).abs().max() <= tolerated):
            return folded
        drawn = (network(image) - network(image)).abs().max()
    if bool(drawn > tolerated):
        raise NotApplicable(
            "quant.fold=true: two passes of one image differ, so that folding cannot be checked; "
            "give quant.fold=false, or stop what is random in the network, such as dropout"
        )
    raise NotApplicable(
        "quant.fold=true: the output of a convolution before a BatchNorm is used elsewhere too"
    )


def conv_batchnorm_pairs(network: nn.Module, image: Tensor) -> list[tuple[nn.Conv2d, str]]:
    """Return each convolution whose output a BatchNorm reads, beside the name of that BatchNorm.

    Both are called once in a forward pass of `image` (1, 3, H, W).
    """
    modules = dict(network.named_modules())
    convs = {n: m for n, m in modules.items() if isinstance(m, nn.Conv2d)}
    norms = {n: m for n, m in modules.items() if _has_statistics(m)}
    outputs: list[tuple[Tensor, nn.Conv2d]] = []  # kept alive, so that no identity is used twice
    pairs: list[tuple[nn.Conv2d, str]] = []

    def note_output(name: str, args: Any, output: Tensor) -> None:
        outputs.append((output, convs[name]))

    def note_input(name: str, args: Any) -> None:
        pairs.extend((conv, name) for output, conv in outputs if output is args[0])

    with traced(convs, after=note_output), traced(norms, before=note_input):
        network(image)
    calls = [conv for _, conv in outputs]
    return [(c, b) for c, b in pairs if calls.count(c) == 1 and [n for _, n in pairs].count(b) == 1]


def _has_statistics(module: nn.Module) -> bool:
    return isinstance(module, nn.BatchNorm2d) and module.running_mean is not None


def _absorb(conv: nn.Conv2d, batchnorm: nn.BatchNorm2d) -> None:
    mean, variance = batchnorm.running_mean, batchnorm.running_var
    assert mean is not None and variance is not None
    scale = torch.rsqrt(variance + batchnorm.eps)
    if batchnorm.weight is not None:
        scale = scale * batchnorm.weight
    shift = -mean * scale if conv.bias is None else (conv.bias - mean) * scale
    if batchnorm.bias is not None:
        shift = shift + batchnorm.bias
    conv.weight.copy_(conv.weight * scale.view(-1, 1, 1, 1))
    conv.bias = nn.Parameter(shift, requires_grad=False)
