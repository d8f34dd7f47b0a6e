"""A table that is trained as codes: what it gives, by hand, and what it takes."""

import pytest
import torch
from torch import nn

from models.embeddings.product import ProductQuantizer
from models.embeddings.sizes import affordable_centroids, stored_bits
from models.embeddings.table import CodedTable, put, size_of
from models.errors import BenchError, NotApplicable

ROWS = torch.tensor([[0.0, 0, 0, 0], [1, 1, 8, 8], [0, 1, 5, 9], [9, 9, 0, 1]])
KEYS = torch.tensor([[[0.0, 1], [9, 9]], [[8, 8], [0, 0]]])
CODED = torch.tensor([[0.0, 0, 0, 0], [0, 1, 8, 8], [0, 1, 8, 8], [9, 9, 0, 0]])
"""The nearest key of each half of a row; that of padding stays."""


def coded(table: nn.Embedding | nn.EmbeddingBag) -> CodedTable:
    with torch.no_grad():
        table.weight.copy_(ROWS)
    return CodedTable(table, ProductQuantizer("vq", 2, KEYS, batchnorm=False))


@pytest.mark.parametrize(("mode", "count"), [("mean", 2), ("sum", 1)])
def test_a_bag_of_what_codes_stand_for(mode: str, count: int) -> None:
    table = coded(nn.EmbeddingBag(4, 4, mode=mode, padding_idx=0)).eval()
    found = table(torch.tensor([[1, 3, 0], [0, 2, 2], [0, 0, 0]]))
    pairs = CODED[[1, 2]] + CODED[[3, 2]]
    assert torch.equal(found, torch.cat([pairs / count, torch.zeros(1, 4)]))
    assert torch.equal(table.decoded(), CODED)


def test_rows_of_what_codes_stand_for() -> None:
    table = coded(nn.Embedding(4, 4)).eval()
    found = table(torch.tensor([[1, 3], [0, 2]]))
    whole = torch.cat([torch.tensor([[0.0, 1, 0, 0]]), CODED[1:]])
    assert torch.equal(found, whole[[1, 3, 0, 2]].view(2, 2, 4))


def test_what_learns() -> None:
    """The gradient of a bag goes to the rows that were read as if they were no codes, and the
    penalty draws keys to rows."""
    table = coded(nn.EmbeddingBag(4, 4, mode="mean", padding_idx=0)).train()
    upstream = torch.tensor([[1.0, 2, 3, 4]])
    found = table(torch.tensor([[1, 3, 0]]))
    # Halves (1,1) -> (0,1), (8,8) -> (8,8), (9,9) -> (9,9), (0,1) -> (0,0): errors 1 and 1.
    assert float(table.penalty.detach()) == pytest.approx(2 / 8)
    (found * upstream).sum().backward()
    assert table.queries.grad is not None
    expected = torch.zeros(4, 4)
    expected[[1, 3]] = upstream / 2
    assert torch.equal(table.queries.grad, expected)


def test_what_it_takes() -> None:
    table = nn.EmbeddingBag(4, 4, mode="mean", padding_idx=0)
    trained = coded(table)
    assert size_of(table) is None
    put(table, trained)
    assert size_of(table) == stored_bits(4, 4, 2, 2) == 4 * 2 + 32 * 2 * 4
    assert torch.equal(table.weight, CODED)


def test_what_bits_pay_for() -> None:
    # 64 x 24, parts of 4: 384 log2 K bits of codes, 768 K of numbers, or 128 K shared.
    found = [
        affordable_centroids(64, 24, 6, bits, shared=s) for bits, s in ((4, 0), (8, 0), (2, 1))
    ]
    assert found == [4, 8, 8]
    assert affordable_centroids(64, 24, 6, 1) == 0


def test_what_is_refused() -> None:
    with pytest.raises(NotApplicable, match="takes their maximum"):
        coded(nn.EmbeddingBag(4, 4, mode="max"))
    with pytest.raises(BenchError, match="3 parts do not divide the 4 columns"):
        CodedTable(nn.Embedding(4, 4), ProductQuantizer("vq", 3, torch.zeros(3, 2, 1)))
