"""A network as a list of operations: what an ONNX file is written from."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from models.quantize.activation import ActivationQuantizer

QUANTIZE = "Quantize"
"""The operation of an activation quantizer; all others are called as in ONNX."""


@dataclass(frozen=True)
class Node:
    """One operation. inputs: names of values or constants, "" for one left out.

    quantizer: whose operation it is, of QUANTIZE.
    """

    op: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    quantizer: ActivationQuantizer | None = None


@dataclass(frozen=True)
class Graph:
    """Operations in their order. input, output: names of values.

    constants: by name; weights of layers go by the names of their parameters.
    factors: (out,), what each output channel of a weight is multiplied by before it is used.
    shapes: of input and output, without the images.
    """

    nodes: tuple[Node, ...]
    input: str
    output: str
    constants: Mapping[str, Tensor]
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    factors: Mapping[str, Tensor] = field(default_factory=dict)

    def producers(self) -> dict[str, Node]:
        """Return which operation each value comes out of."""
        return {node.output: node for node in self.nodes}

    def uses(self) -> Counter[str]:
        """Return how often each value is read; the output of the graph once more."""
        return Counter([name for node in self.nodes for name in node.inputs] + [self.output])

    def with_nodes(self, nodes: Iterable[Node], **changes: Any) -> "Graph":
        """Return the graph with other operations, without those that nobody reads."""
        return replace(self, nodes=tuple(_alive(tuple(nodes), self.output)), **changes)


def _alive(nodes: tuple[Node, ...], output: str) -> list[Node]:
    needed, kept = {output}, list[Node]()
    for node in reversed(nodes):
        if node.output in needed:
            needed.update(node.inputs)
            kept.append(node)
    return kept[::-1]
