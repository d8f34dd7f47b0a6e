"""Differentiable product quantization: codes of embeddings that are trained through.

Written from Chen et al., ICML 2020, and from what the authors' release computes
(chentingpc/dpq_embedding_compression, core/kd_quantizer.py). A query (D, d) stands for D parts of a
row; the response of each part to K keys says which of K values it becomes.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from models.errors import BenchError

Kind = Literal["sx", "vq"]

_EPSILON, _MOMENTUM = 1e-3, 0.99  # of the release's batch normalization
_LEAST_PROBABILITY = 1e-10  # added before a logarithm


class Quantized(NamedTuple):
    """What became of a batch of queries.

    outputs: (N, D, of a value). codes: (N, D), 0..K-1. penalty: what is added to the loss in
    training; 0 in eval mode. response: (N, D, K), what the codes are the largest of.
    """

    outputs: Tensor
    codes: Tensor
    penalty: Tensor
    response: Tensor


class ProductQuantizer(nn.Module):
    """forward(queries): each of D parts of a query becomes one of K values.

    kind: `sx`: the response is the dot product with keys; its softmax is what the gradient goes
        through, and values are of their own. `vq`: it is minus the squared distance to keys that
        are the values too; the gradient goes to the query as if nothing were quantized, and the
        penalty draws keys to queries.
    keys: (D, K, of a query), or (1, K, of a query) for keys and values that all parts share; where
        they start. values: likewise, for `sx` alone.
    batchnorm: whether the response passes a batch normalization without scale and offset, a feature
        for each of the K, over queries and parts. The release has it for both kinds, so that its
        `vq` does not take the nearest key.
    commitment: beta, how much the penalty draws queries to what they become. `vq`: its squared
        distance, the mean over all numbers; `sx`: minus the logarithm of its probability.

    Raises BenchError for keys, values and kinds that do not fit each other.
    """

    mean: Tensor
    variance: Tensor

    def __init__(
        self,
        kind: Kind,
        parts: int,
        keys: Tensor,
        values: Tensor | None = None,
        *,
        batchnorm: bool = True,
        commitment: float = 0.0,
    ) -> None:
        super().__init__()
        _check(kind, parts, keys, values)
        self.kind = kind
        self.parts = parts
        self.batchnorm = batchnorm
        self.commitment = commitment
        self.keys = nn.Parameter(keys.detach().clone())
        self.values = None if values is None else nn.Parameter(values.detach().clone())
        self.register_buffer("mean", keys.new_zeros(self.centroids))
        self.register_buffer("variance", keys.new_ones(self.centroids))

    @property
    def centroids(self) -> int:
        return self.keys.shape[1]

    @property
    def shared(self) -> bool:
        return len(self.keys) < self.parts

    def forward(self, queries: Tensor) -> Quantized:
        """Return what the queries (N, D, of a query) become.

        In training the running statistics of the response follow those of the batch.
        """
        through_codes = self.kind == "sx"
        with torch.set_grad_enabled(torch.is_grad_enabled() and through_codes):
            response = self.raw_response(queries)
            if self.batchnorm:
                response = self._normalized(response)
        codes = response.argmax(2)
        if through_codes:
            return self._by_softmax(response, codes)
        return self._by_distance(queries, response, codes)

    def raw_response(self, queries: Tensor) -> Tensor:
        """Return the response (N, D, K) before batch normalization."""
        keys = self.keys.expand(self.parts, -1, -1)
        products = torch.einsum("npi,pki->npk", queries, keys)
        if self.kind == "sx":
            return products
        lengths = queries.square().sum(2, keepdim=True) + keys.square().sum(2)
        return 2 * products - lengths

    def decoded(self, codes: Tensor) -> Tensor:
        """Return the values (N, D, of a value) that the codes (N, D) stand for."""
        values = self.keys if self.values is None else self.values
        places = torch.zeros_like(codes[0]) if self.shared else torch.arange(self.parts).to(codes)
        return values[places, codes]

    def _normalized(self, response: Tensor) -> Tensor:
        mean, variance = self.mean, self.variance
        if self.training:
            mean = response.mean((0, 1))
            variance = response.var((0, 1), correction=0)
            with torch.no_grad():
                self.mean.lerp_(mean, 1 - _MOMENTUM)
                self.variance.lerp_(variance, 1 - _MOMENTUM)
        return (response - mean) * (variance + _EPSILON).rsqrt()

    def _by_softmax(self, response: Tensor, codes: Tensor) -> Quantized:
        probabilities = response.softmax(2)
        hard = one_hot(codes, self.centroids).to(response)
        chosen = probabilities - (probabilities - hard).detach()
        assert self.values is not None
        values = self.values.expand(self.parts, -1, -1)
        outputs = torch.einsum("npk,pki->npi", chosen, values)
        penalty = response.new_zeros(())
        if self.training and self.commitment:
            logarithms = (probabilities + _LEAST_PROBABILITY).log()
            penalty = -self.commitment * (chosen * logarithms).sum(2).mean()
        return Quantized(outputs, codes, penalty, response)

    def _by_distance(self, queries: Tensor, response: Tensor, codes: Tensor) -> Quantized:
        found = self.decoded(codes)
        outputs = (found - queries).detach() + queries
        penalty = response.new_zeros(())
        if self.training:
            penalty = (found - queries.detach()).square().mean()
            if self.commitment:
                penalty = penalty + self.commitment * (found.detach() - queries).square().mean()
        return Quantized(outputs, codes, penalty, response)


def _check(kind: str, parts: int, keys: Tensor, values: Tensor | None) -> None:
    if kind not in ("sx", "vq"):
        raise BenchError(f"kind={kind!r} of a product quantizer; give 'sx' or 'vq'")
    if (values is None) == (kind == "sx"):
        needed = "needs values beside its keys" if kind == "sx" else "has keys that are its values"
        raise BenchError(f"a product quantizer of kind {kind!r} {needed}")
    if keys.dim() != 3 or len(keys) not in (1, parts):
        raise BenchError(
            f"keys of shape {tuple(keys.shape)} do not fit {parts} parts; give ({parts}, K, size), "
            "or (1, K, size) where parts share them"
        )
    if values is not None and (values.dim() != 3 or values.shape[:2] != keys.shape[:2]):
        raise BenchError(
            f"values of shape {tuple(values.shape)} do not fit keys of {tuple(keys.shape)}; give "
            "one for each key"
        )


def cut(table: Tensor, parts: int) -> Tensor:
    """Return the rows of `table` (n, d) in `parts` neighbouring pieces, (n, parts, d / parts).

    Raises BenchError where the parts do not divide the columns.
    """
    rows, columns = table.shape
    if columns % parts:
        raise BenchError(
            f"{parts} parts do not divide the {columns} columns of a table of embeddings; give a "
            "divisor"
        )
    return table.reshape(rows, parts, columns // parts)
