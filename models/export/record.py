"""What a network computes, operation by operation, as one pass of images shows it."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models.errors import NotApplicable
from models.export.graph import QUANTIZE, Graph, Node
from models.export.operations import OPERATIONS, SAME, Call
from models.quantize.activation import ActivationQuantizer
from models.tracing import Forward, place_of, replaced, watched

_IMAGES = 3  # so that the dimension of the batch is told from others


@torch.no_grad()
def record(network: nn.Module, image: Tensor) -> Graph:
    """Return what a frozen `network` computes, its activation quantizers as one operation each.

    A dispatch mode sees every operation of PyTorch, whichever module, function or hook of the
    network calls it; in-place ones get a value of their own.

    image: (1, C, H, W) normalised input. Three copies of it pass.

    Raises NotApplicable for an operation that is not among those of `operations`, and for a network
    whose operations mix images.
    """
    images = image.repeat(_IMAGES, 1, 1, 1)
    recorder = _Recorder(network, images)
    quantizers = [m for m in network.modules() if isinstance(m, ActivationQuantizer)]
    with replaced(quantizers, recorder.of_quantizer), watched(recorder.note):
        output = network(images)
    return recorder.graph(output)


class _Recorder:
    def __init__(self, network: nn.Module, images: Tensor) -> None:
        self._nodes: list[Node] = []
        self._constants: dict[str, Tensor] = {}
        self._names: dict[int, str] = {id(images): "input"}
        self._alive: list[Tensor] = [images]  # so that no identity is used twice
        self._images = images
        self._within = 0
        self._places: dict[tuple[int, torch.Size], str] = {}
        for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
            self._constants[name] = tensor.detach()
            self._alias(tensor, name)
            self._places.setdefault((place_of(tensor), tensor.shape), name)

    def of_quantizer(self, quantizer: Any, compute: Forward) -> Forward:
        def forward(x: Tensor) -> Tensor:
            self._within += 1
            try:
                output: Tensor = compute(x)
            finally:
                self._within -= 1
            node = Node(QUANTIZE, (self.name(x),), f"value_{len(self._nodes)}", {}, quantizer)
            self._nodes.append(node)
            self._alias(output, node.output)
            return output

        return forward

    def note(self, func: Any, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        if self._within:
            return
        first = output[0] if isinstance(output, tuple | list) else output
        if not isinstance(first, Tensor):
            return
        kind = func.overloadpacket.__name__.rstrip("_")
        given = [
            x for x in (args[0] if isinstance(args[0], list) else args) if isinstance(x, Tensor)
        ]
        if not any(self._depends(x) for x in given):
            return  # made of constants: its result is one
        # A pool of channels-last images states the strides of what it has made.
        restrided = kind == "as_strided" and list(args[1]) == list(args[0].shape)
        if kind in SAME or restrided:
            self._alias(first, self.name(args[0]))
            return
        operation = OPERATIONS.get(kind)
        if operation is None:
            raise NotApplicable(
                f"the network computes {kind}, which cannot be exported; "
                "models/export/operations.py has the operations that can"
            )
        write = self.name, self.constant, self.transposed, self.emit
        operation(Call(args, kwargs, output, *write, _IMAGES))

    def emit(self, op: str, inputs: Sequence[str], made: Tensor | None, **attributes: Any) -> str:
        name = f"value_{len(self._nodes)}"
        self._nodes.append(Node(op, tuple(inputs), name, attributes))
        if made is not None:
            self._alias(made, name)
        return name

    def name(self, x: Tensor) -> str:
        """Return the name of a value or a constant; what nobody has made is a new constant."""
        if id(x) not in self._names:
            known = self._places.get((place_of(x), x.shape))
            self._alias(x, self.constant(x) if known is None else known)
        return self._names[id(x)]

    def transposed(self, x: Tensor) -> str:
        """Return the name of a weight (out, in) of which `x` is the transposed."""
        known = self._places.get((place_of(x), x.T.shape))
        return self.constant(x.T.contiguous()) if known is None else known

    def constant(self, value: Tensor | Sequence[int] | float) -> str:
        name = f"constant_{len(self._constants)}"
        self._constants[name] = torch.as_tensor(value).detach()
        return name

    def graph(self, output: Tensor) -> Graph:
        if not isinstance(output, Tensor) or id(output) not in self._names:
            raise NotApplicable("the network returns what none of its operations has made")
        used = {name for node in self._nodes for name in node.inputs}
        constants = {name: x for name, x in self._constants.items() if name in used}
        shapes = tuple(self._images.shape[1:]), tuple(output.shape[1:])
        whole = Graph(tuple(self._nodes), "input", self.name(output), constants, shapes)
        return whole.with_nodes(whole.nodes)

    def _alias(self, x: Tensor, name: str) -> None:
        self._names[id(x)] = name
        self._alive.append(x)

    def _depends(self, x: Tensor) -> bool:
        name = self._names.get(id(x))
        return name is not None and name not in self._constants
