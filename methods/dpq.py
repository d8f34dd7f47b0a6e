"""Differentiable product quantization: a table of embeddings as codes, trained with its network."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from methods.training.base import FINE_TUNING, RealImages, StateDict, TrainedMethod
from methods.training.fresh import drawn_anew
from methods.training.schedule import Schedule
from methods.training.strategy import Moment, Strategy
from models.embeddings.product import Kind, ProductQuantizer, cut
from models.embeddings.sizes import affordable_centroids
from models.embeddings.start import k_means
from models.embeddings.table import CodedTable, put
from models.errors import BenchError, NotApplicable
from models.qat.spec import QatSpec
from models.quantize.activation import Table, tables_of
from models.quantize.checks import check_power_of_two
from models.quantize.identity import identity
from models.quantize.spec import FLOAT_BITS, QuantSpec

WORDS = replace(
    FINE_TUNING,
    epochs=4,
    optimizer="adam",
    lr=3e-3,
    weight_decay=0.0,
    warmup=0.0,
    augment="none",
)
"""The schedule of `conf/schedule/words.yaml`: that of the shipped `word_bag`."""


class Coding(Strategy):
    """Cross-entropy of a network whose table is codes, and what the codes add to the loss."""

    def __init__(
        self, network: nn.Module, bits: Sequence[int], smoothing: float, **options: Any
    ) -> None:
        super().__init__(network, bits, smoothing)
        self.tables = [m for m in network.modules() if isinstance(m, CodedTable)]

    def step(self, images: Tensor, targets: Tensor, moment: Moment) -> Tensor:
        loss: Tensor = self.hard_loss(self.network(images), targets)
        for table in self.tables:
            loss = loss + table.penalty
        loss.backward()
        return loss.detach()


@dataclass(frozen=True)
class DifferentiableProductQuantization(TrainedMethod):
    """The table of embeddings becomes codes of few centroids, which learn with the task.

    A cell is `quant=fp32 quant.first_bits=B`: the table alone is low-bit. It has the largest power
    of two of centroids whose codes and 32-bit numbers take at most B bits a number of the table;
    where `centroids` is given, so many, and B is a name.

    kind: `sx`: the softmax of dot products with keys chooses, and values are of their own; `vq`:
        the distance to values chooses (`models.embeddings.product`).
    columns: of a part of a row. shared: whether all parts have the same centroids.
    variant: `release`: the response passes a batch normalization, for both kinds; `paper`: not.
    commitment: how much queries are drawn to what they become; 0 in the release.

    Centroids start as k-means of the rows, which are those of the model's weights, or new ones with
    init=scratch. The optimiser is that of the schedule; the release's lazy Adam, which leaves rows
    alone that a step does not see, is not among them.

    Source: Chen, Li and Sun, "Differentiable Product Quantization for End-to-End Embedding
    Compression" (ICML 2020), and what its release computes (core/kd_quantizer.py).
    """

    name = "dpq"
    strategy_class = Coding
    least_bits = 0

    bits: tuple[int, ...] = ()
    init: Literal["pretrained", "scratch"] = "scratch"
    schedule: Schedule = WORDS
    kind: Kind = "sx"
    columns: int = 4
    centroids: int | None = None
    shared: bool = False
    variant: Literal["release", "paper"] = "release"
    commitment: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bits:
            raise ValueError(f"bits={list(self.bits)}; the cell has them: give quant.first_bits")
        if self.qat != QatSpec():
            raise ValueError("qat has no effect: nothing but the table is quantized; leave it out")
        if self.columns < 1:
            raise ValueError(f"columns={self.columns}; give 1 or more")
        if not 0 <= self.commitment < float("inf"):
            raise ValueError(f"commitment={self.commitment}; give 0 or more")
        try:
            check_power_of_two("centroids", self.centroids)
        except BenchError as error:
            raise ValueError(str(error)) from error

    def check(self, spec: QuantSpec) -> None:
        """Raise BenchError unless the first layer alone is low-bit, and nothing else is said."""
        first = spec.first_bits
        alone = QuantSpec(FLOAT_BITS, FLOAT_BITS, first_bits=first)
        if first in (None, FLOAT_BITS) or identity(spec) != identity(alone):
            raise BenchError(
                f"method {self.name} makes codes of the table of embeddings and leaves the rest in "
                "float; give quant=fp32 and quant.first_bits, and no other quantizer"
            )

    @property
    def unshareable(self) -> str | None:
        return f"a batch normalization of {self.name} sees the words of one process"

    @property
    def strategy_options(self) -> dict[str, Any]:
        own = ("kind", "columns", "centroids", "shared", "variant", "commitment")
        return {name: getattr(self, name) for name in own}

    def together(self, quant: QuantSpec) -> tuple[int, ...]:
        assert quant.first_bits is not None  # by `check`
        return () if self.centroids is not None else (quant.first_bits,)

    def trainable(
        self, network: nn.Module, quant: QuantSpec, images: Tensor, generator: torch.Generator
    ) -> nn.Module:
        made = copy.deepcopy(network)
        if self.init == "scratch":
            made = drawn_anew(made, generator)
        name, table = _table(made)
        pieces = cut(table.weight.detach(), self._parts(table))
        if self.shared:
            pieces = pieces.reshape(-1, 1, self.columns)
        self._replace(made, name, k_means(pieces, self._count(table, quant), generator))
        return made.requires_grad_(True).train()

    def used_at(
        self,
        network: nn.Module,
        state: StateDict,
        quant: QuantSpec,
        images: Tensor,
        real_images: RealImages,
    ) -> nn.Module:
        """Return `network` as it was trained, with the rows that codes stand for in its table."""
        made, used = copy.deepcopy(network), copy.deepcopy(network)
        name, table = _table(used)
        sets = 1 if self.shared else self._parts(table)
        shape = sets, self._count(table, quant), self.columns
        coded = self._replace(made, name, table.weight.new_zeros(shape))
        made.load_state_dict(dict(state))
        rest = {key: value for key, value in made.state_dict().items() if not _is_in(key, name)}
        used.load_state_dict(rest, strict=False)
        put(table, coded)
        return used.eval()

    def _replace(self, network: nn.Module, name: str, keys: Tensor) -> CodedTable:
        table = tables_of(network)[name]
        quantizer = ProductQuantizer(
            self.kind,
            self._parts(table),
            keys,
            keys if self.kind == "sx" else None,
            batchnorm=self.variant == "release",
            commitment=self.commitment,
        )
        coded = CodedTable(table, quantizer)
        network.set_submodule(name, coded)
        return coded

    def _parts(self, table: Table) -> int:
        columns = table.weight.shape[1]
        if columns % self.columns:
            raise NotApplicable(
                f"method.columns={self.columns}: parts of so many columns do not divide the "
                f"{columns} of a row; give a divisor"
            )
        return columns // self.columns

    def _count(self, table: Table, quant: QuantSpec) -> int:
        rows, columns = table.weight.shape
        parts = self._parts(table)
        most = rows * parts if self.shared else rows
        if self.centroids is not None:
            if self.centroids > most:
                raise NotApplicable(
                    f"method.centroids={self.centroids}: {most} pieces of a table have them in "
                    f"common; give at most {most}"
                )
            return self.centroids
        bits = int(quant.first_bits or 0)
        count = affordable_centroids(rows, columns, parts, bits, shared=self.shared)
        if not count:
            raise NotApplicable(
                f"quant.first_bits={bits} does not pay for two centroids of each of {parts} parts "
                f"of {rows} rows; give more, larger method.columns, or method.shared=true"
            )
        return count


def _table(network: nn.Module) -> tuple[str, Table]:
    """Return the only table of embeddings of `network`, and its name.

    Raises NotApplicable where there is none, or more than one.
    """
    found = tables_of(network)
    if len(found) != 1:
        raise NotApplicable(
            f"method dpq is for networks of one table of embeddings, and this has {len(found)}; "
            "give one such as model=word_bag"
        )
    return next(iter(found.items()))


def _is_in(key: str, module: str) -> bool:
    return key.startswith(f"{module}.")
