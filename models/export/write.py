"""A recorded graph as an ONNX model with QuantizeLinear and DequantizeLinear."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor

from models.errors import NotApplicable
from models.export.graph import QUANTIZE, Graph, Node
from models.export.weights import MOST_BITS, Stored
from models.quantize.activation import ActivationQuantizer

OPSET = 21
"""The first with types of 4 bits."""
IR_VERSION = 10
_MOVES = ("Reshape", "Transpose", "MaxPool", "Slice")
_LAYERS = ("Conv", "Gemm")
_TYPES = {torch.float32: TensorProto.FLOAT, torch.int64: TensorProto.INT64}


class _Quantized(NamedTuple):
    """An integer tensor: its name, and those of its scale and zero point; step is the scale."""

    name: str
    scale: str
    zero_point: str
    step: float


class Writer:
    """Operations and constants of a model as they are written; see `write`."""

    def __init__(self, graph: Graph, weights: Mapping[str, Stored]) -> None:
        self._graph, self._weights = graph, weights
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._integers: dict[str, _Quantized] = {}
        self._floats: set[str] = set()
        self.integer_inputs: list[str] = []
        self.coarser = 0

    def model(self) -> onnx.ModelProto:
        for node in self._graph.nodes:
            if node.op == QUANTIZE:
                self._quantize(node)
            elif node.op in _MOVES and node.inputs[0] in self._integers:
                self._move(node)
            elif node.op in _LAYERS:
                self._layer(node)
            else:
                inputs = [self._value(name) for name in node.inputs]
                self._add(node.op, inputs, node.output, **node.attributes)
        inside, outside = self._graph.shapes
        output = self._value(self._graph.output)
        if output != "logits":
            self._add("Identity", [output], "logits")
        return helper.make_model(
            helper.make_graph(
                self._nodes,
                "network",
                [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", *inside])],
                [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", *outside])],
                list(self._initializers.values()),
            ),
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="quantization-bench",
        )

    def _add(self, op: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self._nodes.append(helper.make_node(op, [*inputs], [output], output, **attributes))
        return output

    def _array(self, name: str, values: np.ndarray, kind: int | None = None) -> str:
        if kind is None:
            kind = helper.np_dtype_to_tensor_dtype(values.dtype)
        data = values.tobytes()
        if kind == TensorProto.INT4:  # two in a byte, the first in its low half
            flat = values.reshape(-1).astype(np.uint8) & 15
            flat = np.append(flat, [0] * (flat.size % 2)).astype(np.uint8)
            data = (flat[::2] | flat[1::2] << 4).tobytes()
        self._initializers[name] = helper.make_tensor(name, kind, values.shape, data, raw=True)
        return name

    def _value(self, name: str) -> str:
        """Return the name of a value or constant in float, dequantized where it is integers."""
        if name in self._integers:
            made, float_name = self._integers[name], f"{name}.float"
            if float_name not in self._floats:
                self._add("DequantizeLinear", made[:3], float_name)
                self._floats.add(float_name)
            return float_name
        if name in self._graph.constants and name not in self._initializers:
            self._array(name, self._graph.constants[name].cpu().numpy())
        return name

    def _quantize(self, node: Node) -> None:
        assert node.quantizer is not None
        step, zero_point, levels = activation_type(node.quantizer)
        x, name = self._value(node.inputs[0]), node.output
        scale = self._array(f"{name}.scale", np.array(step, np.float32))
        zero = self._array(f"{name}.zero_point", np.array(zero_point, np.uint8))
        integers = self._add("QuantizeLinear", [x, scale, zero], f"{name}.integers")
        if levels < 2**MOST_BITS:
            ends = (
                self._array("integer_zero", np.array(0, np.uint8)),
                self._array(f"{name}.top", np.array(levels - 1, np.uint8)),
            )
            integers = self._add("Clip", [integers, *ends], f"{name}.clipped")
        self._integers[name] = _Quantized(integers, scale, zero, step)

    def _move(self, node: Node) -> None:
        before = self._integers[node.inputs[0]]
        inputs = [before.name, *(self._value(name) for name in node.inputs[1:])]
        moved = self._add(node.op, inputs, f"{node.output}.integers", **node.attributes)
        self._integers[node.output] = before._replace(name=moved)

    def _layer(self, node: Node) -> None:
        weight, before = self._weights.get(node.inputs[1]), self._integers.get(node.inputs[0])
        if weight is not None and before is not None and len(node.inputs) > 2:
            weight = self._with_room(weight, before, self._graph.constants[node.inputs[2]])
        inputs = [self._value(node.inputs[0])]
        inputs += [self._float_weight(node) if weight is None else self._weight(node, weight)]
        if len(node.inputs) > 2:
            bias = self._graph.constants[node.inputs[2]]
            if weight is None or before is None:
                inputs.append(self._value(node.inputs[2]))
            else:
                inputs.append(self._bias(node, bias, weight, before))
        if weight is not None and before is not None:
            self.integer_inputs.append(node.inputs[1])
        self._add(node.op, inputs, node.output, **node.attributes)

    def _float_weight(self, node: Node) -> str:
        name, factor = node.inputs[1], self._graph.factors.get(node.inputs[1])
        if factor is None:
            return self._value(name)
        weight = self._graph.constants[name]
        shape = [-1] + [1] * (weight.dim() - 1)
        return self._array(name, (weight.double() * factor.view(shape)).float().cpu().numpy())

    def _weight(self, node: Node, weight: Stored) -> str:
        name, axis = node.inputs[1], {"axis": 0} if weight.scale.dim() else {}
        if name in self._initializers:  # of another layer that shares it
            name = f"{name}.{node.output}"
        values, zeros = weight.integers.cpu().numpy(), weight.zero_point.cpu().numpy()
        integers = name
        if weight.bits == 4:
            self._array(name, values, TensorProto.INT4)
            if zeros.any():
                shape = [-1] + [1] * (values.ndim - 1) if axis else []
                subtracted = zeros.astype(np.int32).reshape(shape)
                zero = self._array(f"{name}.zero_point", subtracted)
                whole = self._add("Cast", [name], f"{name}.whole", to=TensorProto.INT32)
                integers = self._add("Sub", [whole, zero], f"{name}.difference")
                zeros = np.zeros_like(zeros)
            integers = self._add("Cast", [integers], f"{name}.int8", to=TensorProto.INT8)
        else:
            self._array(name, values)
        scale = self._array(f"{name}.scale", weight.scale.cpu().numpy())
        zero = self._array(f"{name}.zeros", zeros)
        return self._add("DequantizeLinear", [integers, scale, zero], f"{name}.float", **axis)

    def _with_room(self, weight: Stored, before: _Quantized, bias: Tensor) -> Stored:
        """Return `weight` in coarser steps where its bias would not fit 32 bits."""
        own = weight.scale.cpu().double()
        least = bias.abs().double().cpu() / before.step / 2**30
        scale = torch.maximum(own, least if own.dim() else least.max()).float()
        change = scale > weight.scale.cpu()
        if not bool(change.any()):
            return weight
        self.coarser += int(change.sum())
        shape = [-1] + [1] * (weight.integers.dim() - 1) if scale.dim() else []
        zero, ratio = weight.zero_point.cpu().double().view(shape), (own / scale).view(shape)
        integers = ((weight.integers.cpu().double() - zero) * ratio).round() + zero
        return weight._replace(integers=integers.to(torch.int8), scale=scale)

    def _bias(self, node: Node, bias: Tensor, weight: Stored, before: _Quantized) -> str:
        name = f"{node.output}.bias"
        scale = np.float32(before.step) * weight.scale.cpu().numpy()
        values = np.rint(bias.double().cpu().numpy() / scale.astype(np.float64))
        self._array(name, values.astype(np.int32))
        step = self._array(f"{name}.scale", np.asarray(scale, np.float32))
        zero = self._array(f"{name}.zeros", np.zeros(scale.shape, np.int32))
        axis = {"axis": 0} if weight.scale.dim() else {}
        return self._add("DequantizeLinear", [name, step, zero], f"{name}.float", **axis)


def activation_type(quantizer: ActivationQuantizer) -> tuple[float, int, int]:
    """Return scale, zero point and number of levels of an activation as unsigned integers from 0.

    Raises NotApplicable for what a file has no type for.
    """
    grid = quantizer.grid
    if grid.inverse_scale.numel() > 1:
        raise NotApplicable(
            "quant.a_granularity=channel: integer kernels have one scale for an activation; "
            "measure with quant.a_granularity=tensor"
        )
    if quantizer.bits > MOST_BITS:
        raise NotApplicable(
            f"activations of {quantizer.bits} bits: integer kernels have {MOST_BITS} at most"
        )
    inverse, shift, low, _, steps, _ = (float(each) for each in grid)
    zero_point = int(-shift - low)
    if not 0 <= zero_point <= steps:
        raise NotApplicable(
            "a range of activations does not contain 0, so that a file has no zero point for it"
        )
    return float(np.float32(1 / inverse)), zero_point, int(steps) + 1
