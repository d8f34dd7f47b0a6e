"""A table of embeddings as codes, learned after the fact: to be near the table, or its products."""

import math
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding
from torch.optim import Adam, SparseAdam

from models.embeddings.product import ProductQuantizer, cut

_ROWS = 256  # at a time, when all are decoded


@dataclass(frozen=True)
class Learning:
    """Steps of Adam, its learning rate at the start, and the rows that a step sees.

    The rate falls to 0 by half a cosine.
    """

    steps: int
    rate: float
    batch: int


def learn(
    table: Tensor,
    quantizer: ProductQuantizer,
    how: Learning,
    generator: torch.Generator,
    metric: Tensor | None = None,
) -> Tensor:
    """Train `quantizer` on `table` (n, d), and return the table that it decodes to.

    Queries start as the rows. The loss is the squared error of a row, as a share of the mean
    squared length of all; with `metric` G (d, d), the mean of x x' over inputs x, error e and
    length count as e' G e, the error of what x is multiplied to. Queries of rows that a step does
    not see stay as they are (lazy Adam).

    generator: draws rows; on the CPU. The quantizer is left in eval mode.
    """
    parts = quantizer.parts
    queries = nn.Parameter(table.clone())
    optimizers = Adam(quantizer.parameters(), lr=how.rate), SparseAdam([queries], lr=how.rate)
    unit = _energy(table, metric).mean().clamp(min=torch.finfo(table.dtype).tiny)
    quantizer.train()
    for step in range(how.steps):
        rate = how.rate * 0.5 * (1 + math.cos(math.pi * step / how.steps))
        for group in chain.from_iterable(each.param_groups for each in optimizers):
            group["lr"] = rate
        rows = torch.randperm(len(table), generator=generator)[: how.batch].to(table.device)
        with torch.enable_grad():
            made = quantizer(cut(embedding(rows, queries, sparse=True), parts))
            error = made.outputs.flatten(1) - table[rows]
            loss = _energy(error, metric).mean() / unit + made.penalty
        for each in optimizers:
            each.zero_grad()
        loss.backward()
        for each in optimizers:
            each.step()
    quantizer.eval()
    with torch.no_grad():
        codes = [quantizer(cut(some, parts)).codes for some in queries.split(_ROWS)]
        return quantizer.decoded(torch.cat(codes)).flatten(1)


def _energy(rows: Tensor, metric: Tensor | None) -> Tensor:
    """Return the squared length (n,) of each of `rows` (n, d) in the metric."""
    return (rows * (rows if metric is None else rows @ metric)).sum(1)
