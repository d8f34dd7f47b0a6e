"""Tables of embeddings are layers whose weights are quantized: looked up, and never multiplied."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.embeddings.sizes import stored_bits
from models.errors import NotApplicable
from models.networks.word_bag import WordBag
from models.quantize.activation import stored_layers, weighted_layers
from models.quantize.counting import count, weights_at
from models.quantize.coverage import check_coverage, coverage
from models.quantize.layers import call_order
from models.quantize.mixed import mean_bits, size_mb
from models.quantize.network import QuantizedNetwork, quantize
from models.quantize.ranges import WeightFormat, quantize_weight
from models.quantize.rounding.reconstruction import GramMatrix, reconstruction
from models.quantize.spec import FLOAT_BITS, QuantSpec

IDS = torch.randint(1, 40, (6, 9), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def network() -> WordBag:
    torch.manual_seed(0)
    return WordBag(vocabulary=40, width=8, classes=3, hidden=5).eval().requires_grad_(False)


def made_with(network: nn.Module, rounding: str, bits: int = 4, **values: Any) -> QuantizedNetwork:
    values = {f"rounding_{name}": value for name, value in values.items()}
    spec = QuantSpec(FLOAT_BITS, FLOAT_BITS, first_bits=bits, rounding=rounding, **values)
    return quantize(network, spec, IDS)


def test_a_table_is_the_first_layer(network: WordBag) -> None:
    assert list(weighted_layers(network)) == ["classifier.0", "classifier.2"]
    assert list(stored_layers(network)) == ["words", "classifier.0", "classifier.2"]
    assert call_order(network, IDS[:1]) == ["words", "classifier.0", "classifier.2"]
    assert size_mb(network, {"words": 4, "classifier.0": 32}) == (40 * 8 * 4 + 40 * 32) / 2**23
    assert mean_bits(network, size_mb(network, dict.fromkeys(stored_layers(network), 8))) == 8


def test_each_row_has_a_grid(network: WordBag) -> None:
    made = made_with(network, "nearest", 2)
    table = made.network.get_submodule("words").weight
    by_hand = quantize_weight(network.words.weight, WeightFormat(2, "affine", "channel"))
    assert torch.equal(table, by_hand)  # type: ignore[arg-type]
    assert all(len(row.unique()) <= 4 for row in by_hand)
    assert made.weight_bits == {"words": 2, "classifier.0": 32, "classifier.2": 32}
    assert torch.equal(made.network.get_submodule("classifier.0").weight, first_of(network))  # type: ignore[arg-type]


def first_of(network: WordBag) -> Tensor:
    return network.classifier.get_submodule("0").get_parameter("weight")


@pytest.mark.parametrize("rounding", ["product", "dpq_sx", "dpq_vq"])
def test_rows_are_codes(network: WordBag, rounding: str) -> None:
    quick = {} if rounding == "product" else {"iterations": 20, "batch": 16}
    made = made_with(network, rounding, block=(1, 4, 4), centroids=4, **quick)
    table = made.network.get_submodule("words").get_parameter("weight")
    assert all(len(part.unique(dim=0)) <= 8 for part in table.split(4, dim=1))
    error = (table - network.words.weight).square().sum()
    assert error < network.words.weight.square().sum()
    if rounding != "product":
        assert 4 * 40 * 8 + made.more_bits == stored_bits(40, 8, 2, 4)


def test_all_rows_count_alike(network: WordBag) -> None:
    gram = GramMatrix(network.words)
    gram.add(IDS)
    for problem in (gram.problem(), reconstruction(network.words, IDS, network.words(IDS))):
        assert torch.equal(problem.gram, torch.eye(8)[None])
        change = torch.randn(40, 8)
        assert torch.equal(problem.gradient(change), 2 * change)


def test_what_learns_from_inputs_is_refused(network: WordBag) -> None:
    with pytest.raises(NotApplicable, match="'words' is a table of embeddings"):
        made_with(network, "brecq")


def test_a_table_that_is_looked_up_is_quantized(network: WordBag) -> None:
    layers = weights_at(network, {"words": 4, "classifier.0": 32, "classifier.2": 32})
    counts = count(network, layers, {}, IDS[:1])
    assert [(table.layer, table.bits) for table in counts.tables] == [("words", 4)]
    assert sum(product.macs for product in counts.products) == 8 * 5 + 5 * 3
    found = coverage(network, layers, counts)
    assert (found.tables, found.multiplications, found.foreign_weights) == (1, 0, 0)
    assert found.weights == pytest.approx(100 * 320 / 375)
    check_coverage(found, weights=True, activations=False)
    unread = coverage(network, layers, counts._replace(tables=()))
    with pytest.raises(NotApplicable, match="nothing would be quantized"):
        check_coverage(unread, weights=True, activations=False)
