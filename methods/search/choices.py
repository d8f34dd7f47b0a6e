"""What a search may choose from, and what of its budget that can meet."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from models.errors import BenchError
from models.quantize.bits import ChosenBits, LayerBits
from models.quantize.budget import LATENCY, decided_by, spelled
from models.quantize.fastest import fastest_bits
from models.quantize.prices import Prices
from models.quantize.spec import MIXED, QuantSpec


@dataclass(frozen=True)
class Choices:
    """The bits that a spec leaves open.

    prices: of the network. special: bits of the first and the last layer. candidates: what weights
    may have; what activations may have is the spec's.
    """

    spec: QuantSpec
    prices: Prices
    special: Mapping[str, int]
    candidates: tuple[int, ...]

    def check(self) -> None:
        """Raise BenchError for a budget that nothing can reach, or that everything meets."""
        limits, prices = self.spec.limits, self.prices
        for name, limit in limits.items():
            cheapest, at = "the fewest bits everywhere", self.uniform(min)
            least = prices.totals([name], *at)[name]
            if name == LATENCY:
                at = self.fastest
                fewest, least = least, prices.totals([name], *at)[name]
                if least < fewest:
                    cheapest = "the fastest bits of each layer"
            if least > limit:
                where = decided_by(name, prices.parts(name, *at), self.special)
                raise BenchError(
                    f"quant.{spelled(name, limit)} is below the smallest possible: {cheapest} "
                    f"come to {least:.6g}{where}"
                )
        highest = self.uniform(max)
        most = prices.totals(list(limits), *highest)
        if all(most[name] <= limit for name, limit in limits.items()):
            name, limit = next(iter(limits.items()))
            where = decided_by(name, prices.parts(name, *highest), self.special)
            raise BenchError(
                f"quant.{spelled(name, limit)} leaves nothing to choose: the most bits everywhere "
                f"come to {most[name]:.6g}{where}"
            )

    def uniform(self, pick: Callable[[tuple[int, ...]], int]) -> ChosenBits:
        """Return the same bits for all that is open, `pick` of what it may have."""
        w, a = self.spec.w_bits, self.spec.a_bits
        weights = pick(self.candidates) if w == MIXED else w
        inputs = pick(self.spec.a_candidates) if a == MIXED else a
        of_layers: dict[str, LayerBits] = {
            name: self.special.get(name, weights) for name in self.prices.sizes
        }
        of_places = {name: self.special.get(name, inputs) for name in self.prices.quantizers}
        return ChosenBits(of_layers, of_places)

    @cached_property
    def fastest(self) -> ChosenBits:
        """Bits of all layers and places at which the latency is the least of all.

        Of kernels of different bits the latency is a mean; here all of a layer have the same.
        Raises BenchError for an entry that the table of latencies lacks.
        """
        weights: dict[str, tuple[int, ...]] = {}
        if self.spec.w_bits == MIXED:
            free = [name for name in self.prices.sizes if name not in self.special]
            weights = dict.fromkeys(free, self.candidates)
        inputs: dict[str, tuple[int, ...]] = {}
        if self.spec.a_bits == MIXED:
            free = [name for name in self.prices.quantizers if name not in self.special]
            inputs = dict.fromkeys(free, self.spec.a_candidates)
        found, known = fastest_bits(self.prices, weights, inputs), self.uniform(min)
        of_owners = {**known.weights, **found.weights}
        of_layers = {name: of_owners[owner] for name, owner in self.prices.owners.items()}
        return ChosenBits(of_layers, {**known.inputs, **found.inputs})
