"""Means and ranges of activations without data, from BatchNorm statistics.

DFQ (Nagel et al., ICCV 2019) takes a BatchNorm's output as normal with the mean beta and the
deviation gamma, channel by channel. What that makes of other places has a closed form behind a
ReLU, and is left open by the paper behind sums, pools and concatenations. Here samples of those
normals flow through the network and give moments everywhere. A sample is one value a channel, the
same at every pixel, and layers are independent of each other: pools pass the moments on (so the
mean behind a max-pool is too low), and the variances of branches that are summed add up.
"""

import copy
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.errors import NotApplicable
from models.quantize.flow import Place, by_channel, flow, spread
from models.quantize.fold import conv_batchnorm_pairs, fold_batchnorm

SAMPLES = 256
_CHUNK = 16  # samples in one forward pass


class Normal(NamedTuple):
    """Independent normal values, channel by channel: mean and standard deviation, both (C,)."""

    mean: Tensor
    deviation: Tensor

    def ends(self, sigmas: float) -> Tensor:
        """Return mean -+ sigmas x deviation, (2, C)."""
        reach = sigmas * self.deviation
        return torch.stack([self.mean - reach, self.mean + reach])


class Range(NamedTuple):
    """What each channel of an activation spans, both (C,)."""

    low: Tensor
    high: Tensor


class Activations(NamedTuple):
    """What flows through a network, by the name of the module.

    means: of the input of each convolution and linear layer, (C,), the mean over its calls.
    inputs, relus: ranges of these inputs, and of the outputs of ReLU and ReLU6 modules, one a
        call; the calls of one ReLU may have different channels.
    """

    means: dict[str, Tensor]
    inputs: dict[str, list[Range]]
    relus: dict[str, list[Range]]


def union(ranges: list[Range], by_channel: bool) -> Range:
    """Return what all of `ranges` span, for each channel (C,) or for all of them, as scalars."""
    if not by_channel:
        ranges = [Range(low.min(), high.max()) for low, high in ranges]
    lows, highs = map(torch.stack, zip(*ranges, strict=True))
    return Range(lows.amin(0), highs.amax(0))


class _Moments(NamedTuple):
    """Moments of the samples at a place, and which of its channels (C,) were ever negative."""

    normal: Normal
    negative: Tensor


_Sources = dict[tuple[str, str], Normal]  # by the first two parts of a Place


def batchnorm_outputs(network: nn.Module, image: Tensor) -> dict[str, Normal]:
    """Return what the convolutions of `network` give once their BatchNorms are folded, by name.

    The mean is the BatchNorm's beta; the deviation is |gamma| sqrt(v / (v + eps)), v its running
    variance: the paper's gamma but for eps. image: (1, 3, H, W) normalised input.
    """
    names = {module: name for name, module in network.named_modules()}
    outputs = {}
    for conv, name in conv_batchnorm_pairs(network, image):
        layer = network.get_submodule(name)
        assert isinstance(layer, nn.BatchNorm2d) and layer.running_var is not None
        deviation = torch.sqrt(layer.running_var / (layer.running_var + layer.eps))
        if layer.weight is not None:
            deviation = deviation * layer.weight.detach().abs()
        mean = torch.zeros_like(deviation) if layer.bias is None else layer.bias.detach().clone()
        outputs[names[conv]] = Normal(mean, deviation)
    return outputs


@torch.no_grad()
def propagate(
    network: nn.Module,
    outputs: Mapping[str, Normal],
    images: Tensor,
    sigmas: float,
    generator: torch.Generator,
    progress: Callable[[int, int], None],
) -> Activations:
    """Return means and ranges of what flows through `network`, whose BatchNorms are folded.

    outputs: what each convolution with a folded BatchNorm gives. A BatchNorm that is still there
        gets normal input with its running statistics. Other layers compute.
    images: (N, C, H, W) network input; what reads it directly gets its extremes and means.
    sigmas: n of the ranges. progress: called with the samples done and their number.

    A BatchNorm's output spans beta -+ n gamma, clipped at 0 behind a ReLU (section 5 of the
    paper). Elsewhere: where samples are negative, their mean -+ n deviations; at the output of a
    ReLU, what the ReLU makes of the range of its input; where such outputs are pooled,
    concatenated or summed, what this makes of the ends of their ranges.
    """
    sources = _sources(network, outputs)
    moments = _sample(network, sources, images, generator, progress)
    activations = _ranges(network, sources, moments, images, sigmas)
    for name in activations.inputs:
        means = [at.normal.mean for place, at in moments.items() if place[:2] == ("input", name)]
        activations.means.setdefault(name, torch.stack(means).mean(0))
    return activations


def mean_inputs(
    network: nn.Module, images: Tensor, generator: torch.Generator
) -> dict[str, Tensor]:
    """Return the mean of each channel that enters a convolution or linear layer, (C,), by name.

    They are those that BatchNorm says; `images` (N, C, H, W) are only what the first layer reads.
    Raises NotApplicable where no BatchNorm reads a convolution's output.
    """
    folded = copy.deepcopy(network)
    outputs = batchnorm_outputs(folded, images[:1])
    if not outputs:
        raise NotApplicable(
            "quant.bias_correction=data_free: no BatchNorm reads a convolution's output; use "
            "empirical"
        )
    fold_batchnorm(folded, images[:1])
    return propagate(folded, outputs, images, 0.0, generator, lambda done, total: None).means


def draw(normal: Normal, generator: torch.Generator) -> Tensor:
    """Return 256 samples of `normal`, (256, C), with exactly its moments.

    They are its quantiles at evenly spaced probabilities, in a random order for each channel. The
    mean behind a ReLU is then within 0.001 deviations of its closed form; that of as many
    independent samples is not within 0.03.
    """
    probabilities = (torch.arange(SAMPLES, dtype=torch.float64) + 0.5) / SAMPLES
    quantiles = torch.special.ndtri(probabilities)
    quantiles = (quantiles / quantiles.std(correction=0)).float()
    order = torch.rand((SAMPLES, len(normal.mean)), generator=generator).argsort(0)
    return normal.mean + normal.deviation * quantiles[order].to(normal.mean.device)


def _sources(network: nn.Module, outputs: Mapping[str, Normal]) -> _Sources:
    """Return the normals by the places where they enter: layers' outputs, BatchNorms' inputs."""
    sources = {("output", name): normal for name, normal in outputs.items()}
    for name, layer in network.named_modules():
        if isinstance(layer, nn.BatchNorm2d) and layer.running_mean is not None:
            assert layer.running_var is not None
            sources["input", name] = Normal(layer.running_mean, layer.running_var.sqrt())
    return sources


def _sample(
    network: nn.Module,
    sources: _Sources,
    images: Tensor,
    generator: torch.Generator,
    progress: Callable[[int, int], None],
) -> dict[Place, _Moments]:
    """Return what samples are like at the inputs of layers and of ReLU modules."""
    samples = {place: draw(normal, generator) for place, normal in sources.items()}
    chunks: dict[Place, list[tuple[Tensor, Tensor, Tensor]]] = {}

    def note(place: Place, x: Tensor) -> None:
        if place[0] == "input":
            values = by_channel(x, _is_linear(network, place))
            mean = values.mean(1)
            variance = (values - mean[:, None]).square().mean(1)  # var_mean is slower on a CPU
            chunks.setdefault(place, []).append((mean, variance, values.amin(1) < 0))

    for rows in torch.arange(SAMPLES).split(_CHUNK):
        current = {place: values[rows] for place, values in samples.items()}
        with flow(network, lambda place, now=current: now.get(place[:2]), note):  # type: ignore[misc]
            network(images[rows % len(images)])
        progress(int(rows[-1]) + 1, SAMPLES)
    return {place: _together(parts) for place, parts in chunks.items()}


def _is_linear(network: nn.Module, place: Place) -> bool:
    return isinstance(network.get_submodule(place[1]), nn.Linear)


def _together(parts: list[tuple[Tensor, Tensor, Tensor]]) -> _Moments:
    """Join the (mean, variance, negative) of chunks of one size."""
    means, variances, negative = map(torch.stack, zip(*parts, strict=True))
    variance = variances.mean(0) + means.var(0, correction=0)
    return _Moments(Normal(means.mean(0), variance.sqrt()), negative.any(0))


def _ranges(
    network: nn.Module,
    sources: _Sources,
    moments: Mapping[Place, _Moments],
    images: Tensor,
    sigmas: float,
) -> Activations:
    """Return ranges, from moments and from one pass of their ends; means of the images alone."""
    relus = {n for n, m in network.named_modules() if isinstance(m, nn.ReLU | nn.ReLU6)}
    layers = {place for place in moments if place[1] not in relus}
    extremes = torch.stack([images.amin((0, 2, 3)), images.amax((0, 2, 3))])
    batch = spread(extremes, (2, *images.shape[1:]))
    activations = Activations({}, {}, {})

    def source(place: Place) -> Tensor | None:
        normal = moments[place].normal if place[1] in relus else sources.get(place[:2])
        return None if normal is None else normal.ends(sigmas)

    def note(place: Place, x: Tensor) -> None:
        ends = by_channel(x, _is_linear(network, place))
        low, high = torch.aminmax(ends, dim=1)
        if place[0] == "output" and place[1] in relus:
            activations.relus.setdefault(place[1], []).append(Range(low, high))
        elif x is batch and place in layers:
            activations.inputs.setdefault(place[1], []).append(Range(low, high))
            activations.means[place[1]] = images.mean((0, 2, 3))
        elif place in layers:
            normal, negative = moments[place]
            below, above = normal.ends(sigmas)
            span = Range(torch.where(negative, below, low), torch.where(negative, above, high))
            activations.inputs.setdefault(place[1], []).append(span)

    with flow(network, source, note):
        network(batch)
    return activations
