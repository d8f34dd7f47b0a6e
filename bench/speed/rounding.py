"""What rounding from Gram matrices costs: codebooks beside rows, Bit-Split beside AdaRound."""

import time
from functools import partial

import torch
from torch import Tensor

from bench.speed.ratio import Ratio, Side
from bench.speed.timing import alternate
from bench.speed.workplace import Measure, Workplace
from models.quantize.network import quantize
from models.quantize.rounding.codebook import assign
from models.quantize.spec import QuantSpec
from models.zoo import entry

# A convolution of 32 x 16 x 3 x 3 as the release of And the Bit Goes Down takes it: 20 rows of the
# input, of 16 blocks each.
_BLOCK, _VECTORS, _CENTROIDS, _ROWS = 9, 512, 64, 320
_SECONDS = 3.0
_FASTER_AT_LEAST = 20.0
_NETWORK = "efficientnet_lite0"
_IMAGES = 8
_EPOCHS = 10
_ITERATIONS = 300
_RUNS_AT_MOST = 2.0


def scored(vectors: Tensor, centroids: Tensor, rows: Tensor) -> Tensor:
    """Return the nearest centroid of each vector, from every row's error, as the release does.

    vectors: (n, d). centroids: (k, d). rows: (r, d). Returns (n,).
    """
    outputs, wanted = rows @ centroids.T, rows @ vectors.T
    return (outputs.T[:, :, None] - wanted).norm(dim=1).argmin(0)


def from_gram(vectors: Tensor, centroids: Tensor, rows: Tensor) -> Tensor:
    """Return the same from the Gram matrix of `rows`."""
    return assign(vectors, centroids, rows.T @ rows)


def of_codebooks(place: Workplace) -> list[Ratio]:
    """Return the ratio of an E-step over rows to one from their Gram matrix."""
    generator = torch.Generator().manual_seed(0)
    sizes = (_VECTORS, _CENTROIDS, _ROWS)
    given = [torch.randn(n, _BLOCK, generator=generator).to(place.device.device) for n in sizes]
    ways = {"rows": partial(scored, *given), "gram": partial(from_gram, *given)}
    seconds = alternate(ways, _SECONDS, place.device.device)
    equal = (ways["rows"]() == ways["gram"]()).double().mean().item()
    what = f"{_VECTORS} blocks of {_BLOCK}, {_CENTROIDS} centroids, {_ROWS} rows"
    return [
        Ratio(
            f"E-step over rows / from their Gram matrix: {what}",
            Side("every row's error", seconds["rows"]),
            Side("Gram matrix, made anew", seconds["gram"]),
            goal=_FASTER_AT_LEAST,
            bound="at least",
            details={"equal assignments": equal},
        )
    ]


def of_networks(place: Workplace) -> list[Ratio]:
    """Return the ratio of Bit-Split to AdaRound on all layers of a network, each of them once."""
    size = entry(_NETWORK).preprocessing.size
    network, images = place.network(_NETWORK), place.noise(_IMAGES, size)
    symmetric = QuantSpec(4, 32, w_scheme="symmetric", rounding_epochs=_EPOCHS)
    changes = {"rounding_iterations": _ITERATIONS, "rounding_rate": 0.01}
    specs = {
        "bit_split": QuantSpec(**symmetric.as_dict() | {"rounding": "bit_split"}),
        "adaround": QuantSpec(**symmetric.as_dict() | {"rounding": "adaround"} | changes),
    }
    seconds = {}
    for name, spec in specs.items():
        begun = time.perf_counter()
        quantize(network, spec, images)
        if place.device.device.type == "cuda":
            torch.cuda.synchronize(place.device.device)
        seconds[name] = time.perf_counter() - begun
    return [
        Ratio(
            f"Bit-Split / AdaRound: {_NETWORK} at W4, {_IMAGES} images",
            Side(f"Bit-Split, {_EPOCHS} epochs", seconds["bit_split"]),
            Side(f"AdaRound, {_ITERATIONS} iterations", seconds["adaround"]),
            goal=_RUNS_AT_MOST,
            details={"images": _IMAGES, "epochs": _EPOCHS, "iterations": _ITERATIONS},
        )
    ]


MEASURES = [
    Measure("codebooks from Gram matrices", of_codebooks),
    Measure(f"Bit-Split and AdaRound of {_NETWORK}", of_networks),
]
