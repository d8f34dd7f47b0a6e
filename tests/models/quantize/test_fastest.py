"""The fastest bits are those that trying everything finds."""

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.errors import BenchError
from models.quantize.fastest import fastest_bits
from models.quantize.latency import LatencyTable
from models.quantize.prices import Prices, prices_of
from models.quantize.spec import QuantSpec

IMAGE = torch.zeros(1, 3, 8, 8)
WEIGHTS, INPUTS = (2, 4, 8), (4, 8)


class Fork(nn.Module):
    """Two convolutions read one activation; one of them is called twice, with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.relu = nn.Conv2d(3, 4, 3), nn.ReLU()
        self.left, self.right = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.again = nn.Conv2d(4, 4, 1)
        self.again.weight = self.left.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.stem(x))
        return self.again(self.left(x) + self.right(x)).mean((2, 3))


def prices(sites: str, seed: int, missing: str = "") -> Prices:
    """Return prices with times by chance, so that fewer bits are often slower."""
    rng = np.random.default_rng(seed)
    every = [*product(WEIGHTS, (*INPUTS, 32))]
    names = ("stem", "left", "right", "again")
    table = {name: {at: float(rng.uniform(1, 9)) for at in every} for name in names}
    if missing:
        del table[missing][4, 8]
    spec = QuantSpec("mixed", "mixed", sites=sites, w_candidates=WEIGHTS, a_candidates=INPUTS)
    return prices_of(Fork().eval(), spec, IMAGE, LatencyTable("t.csv", table))


@pytest.mark.parametrize("sites", ["relu", "all"])
@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_faster(sites: str, seed: int) -> None:
    of = prices(sites, seed)
    owners, places = list(of.sizes), list(of.quantizers)
    assert set(owners) == {"stem", "left", "right"}
    assert len(places) == {"relu": 1, "all": 4}[sites]

    def ms(weights: dict[str, int], inputs: dict[str, int]) -> float:
        of_layers = {name: weights[owner] for name, owner in of.owners.items()}
        return of.totals(["latency_ms"], of_layers, inputs)["latency_ms"]

    every = [
        ms(dict(zip(owners, w, strict=True)), dict(zip(places, a, strict=True)))
        for w in product(WEIGHTS, repeat=3)
        for a in product(INPUTS, repeat=len(places))
    ]
    found = fastest_bits(of, dict.fromkeys(owners, WEIGHTS), dict.fromkeys(places, INPUTS))
    assert ms(dict(found.weights), dict(found.inputs)) == pytest.approx(min(every))  # type: ignore[arg-type]
    fewest = ms(dict.fromkeys(owners, 2), dict.fromkeys(places, 4))
    assert fewest > min(every)


def test_what_is_not_open_stays() -> None:
    of = prices("all", 0)
    found = fastest_bits(of, {"stem": (8,)}, {"stem": INPUTS})
    assert found.weights == {"stem": 8} and set(found.inputs) == {"stem"}


def test_an_entry_that_is_lacking_is_named() -> None:
    of = prices("all", 0, missing="right")
    every = dict.fromkeys(of.sizes, WEIGHTS), dict.fromkeys(of.quantizers, INPUTS)
    with pytest.raises(BenchError, match=r"lacks the layer 'right' at 4 bits of the weight and 8"):
        fastest_bits(of, *every)
