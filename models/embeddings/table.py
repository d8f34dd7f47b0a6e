"""A table of embeddings that is trained as codes, together with the network that reads it."""

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from models.embeddings.product import ProductQuantizer, cut
from models.embeddings.sizes import stored_bits
from models.errors import NotApplicable

Table = nn.Embedding | nn.EmbeddingBag
_SIZE = "size_bits"


class CodedTable(nn.Module):
    """forward(ids): what `table` gives, of rows that are what the quantizer makes of queries.

    A query is a row that is learned, not stored. As in the authors' release, batch normalization
    in the quantizer sees the words of a batch, each as often as it occurs; what fills rows is none.

    table: nn.Embedding, or nn.EmbeddingBag of rows of ids, with the mean or the sum; queries start
        as its rows. quantizer: of `parts` pieces of a row.
    penalty: of the last call in training, what it adds to the loss.

    Raises NotApplicable for other bags, and BenchError where parts do not divide a row.
    """

    penalty: Tensor

    def __init__(self, table: Table, quantizer: ProductQuantizer) -> None:
        super().__init__()
        bag = isinstance(table, nn.EmbeddingBag)
        if bag and (table.mode == "max" or table.include_last_offset):
            raise NotApplicable(
                "a bag of embeddings that takes their maximum, or has offsets, is not trained as "
                "codes; give one with the mean or the sum"
            )
        self.how = table.mode if bag else "rows"
        self.padding = table.padding_idx
        self.queries = nn.Parameter(table.weight.detach().clone())
        self.quantizer = quantizer
        cut(self.queries, quantizer.parts)
        self.penalty = self.queries.new_zeros(())

    @property
    def size_bits(self) -> int:
        """What codes and centroids take."""
        rows, columns = self.queries.shape
        of = self.quantizer
        return stored_bits(rows, columns, of.parts, of.centroids, shared=of.shared)

    def forward(self, ids: Tensor) -> Tensor:
        read = ids != (-1 if self.padding is None else self.padding)
        made = self.quantizer(cut(embedding(ids[read], self.queries), self.quantizer.parts))
        self.penalty = made.penalty
        rows = self.queries.new_zeros(*ids.shape, self.queries.shape[1])
        rows = rows.index_put((read,), made.outputs.flatten(1))
        if self.how == "rows":
            return rows
        total = rows.sum(1)
        return total if self.how == "sum" else total / read.sum(1, keepdim=True).clamp(min=1)

    @torch.no_grad()
    def decoded(self) -> Tensor:
        """Return the table (n, d) that the codes stand for; the row of padding stays."""
        was, parts = self.quantizer.training, self.quantizer.parts
        self.quantizer.eval()
        codes = self.quantizer(cut(self.queries, parts)).codes
        self.quantizer.train(was)
        rows = self.quantizer.decoded(codes).flatten(1)
        if self.padding is not None:
            rows[self.padding] = self.queries[self.padding]
        return rows


def size_of(layer: nn.Module) -> int | None:
    """Return what the codes of a table take, in bits; None of a layer without codes."""
    found: int | None = getattr(layer, _SIZE, None)
    return found


@torch.no_grad()
def put(table: Table, coded: CodedTable) -> None:
    """Give `table` the rows that codes stand for, and remember what these take (`size_of`)."""
    table.weight.copy_(coded.decoded())
    setattr(table, _SIZE, coded.size_bits)
