import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.quantize.network import quantize
from models.quantize.places import Place, module_of, places_of
from models.quantize.spec import QuantSpec


class Residual(nn.Module):
    """Two blocks whose sums are made in place, and a pool that is a function: (N, 3, 8, 8)."""

    def __init__(self, pool: nn.Module | None = None) -> None:
        super().__init__()
        self.stem, self.relu = nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(inplace=True)
        self.one, self.two = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.pool, self.head = pool, nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.stem(x))
        y = self.one(x)
        y += x
        z = self.two(y) + y
        pooled = z.mean((2, 3)) if self.pool is None else self.pool(z).flatten(1)
        return self.head(pooled)


IMAGE = torch.zeros(1, 3, 8, 8)
SUMS = {
    "one:output": Place("one", "output"),
    "relu:output": Place("relu", "output"),
    "two:output": Place("two", "output"),
}


def test_other_sites_go_by_the_names_of_their_modules() -> None:
    assert places_of(Residual(), "relu", IMAGE) == {"relu": Place("relu", "output")}
    assert places_of(Residual(), "all", IMAGE) == {
        name: Place(name, "input") for name in ("stem", "one", "two", "head")
    }


def test_what_enters_sums_is_quantized_where_it_is_made() -> None:
    """And `one` reads what the ReLU gives, which has its quantizer there.

    The first sum is of no module: what `two` reads of it is quantized, what the second sum does is
    not; nor is what the pool reads.
    """
    layers = {name: Place(name, "input") for name in ("stem", "two", "head")}
    assert places_of(Residual(), "integer", IMAGE) == SUMS | layers


@pytest.mark.parametrize("pool", [nn.AvgPool2d(8), nn.AdaptiveAvgPool2d(1)])
def test_a_pool_that_is_a_module_has_a_quantizer_at_its_input(pool: nn.Module) -> None:
    layers = {name: Place(name, "input") for name in ("stem", "two", "pool", "head")}
    assert places_of(Residual(pool), "integer", IMAGE) == SUMS | layers


def test_names_say_which_module() -> None:
    assert (module_of("a.b:output"), module_of("a.b")) == ("a.b", "a.b")


def test_a_network_computes_with_both_quantizers_of_a_layer() -> None:
    torch.manual_seed(0)
    images = torch.randn(2, 3, 8, 8)
    made = quantize(Residual().requires_grad_(False), QuantSpec(32, 2, sites="integer"), images)
    seen: dict[str, Tensor] = {}
    for name in ("one", "two"):
        layer = made.network.get_submodule(name)
        layer.register_forward_pre_hook(lambda _, args, name=name: seen.update({name: args[0]}))
        layer.register_forward_hook(lambda _, __, y, name=name: seen.update({f"{name}:": y}))
    made.network(images)
    kept = {name: x.clone() for name, x in seen.items()}
    assert len(kept["two"].unique()) <= 4
    assert len(kept["two:"].unique()) <= 4
    assert functional.relu(kept["one"]).equal(kept["one"])
