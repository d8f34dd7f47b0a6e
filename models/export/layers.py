"""One layer as a model of its own, in float and in integers of 8 bits, to be timed."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from models.export.write import IR_VERSION, OPSET

_STEP = np.float32(1 / 64)
"""Of activations: what they are does not change what a layer takes."""


def float_layer(layer: nn.Conv2d | nn.Linear, shape: Sequence[int]) -> bytes:
    """Return a model from `input`, float32 of `shape`, to what `layer` makes of it in float."""
    constants = {"weight": layer.weight.detach().cpu().float().numpy(), "bias": _bias(layer)}
    nodes = [_product(layer, "input", "weight", "bias", "output")]
    return _model(nodes, constants, shape, TensorProto.FLOAT)


def integer_layer(layer: nn.Conv2d | nn.Linear, shape: Sequence[int]) -> bytes:
    """Return a model from `input`, uint8 of `shape`, to what `layer` makes of it in uint8.

    The weight is int8 with a scale for each output channel, the bias int32; onnxruntime makes one
    operation on integers of it.
    """
    weight = layer.weight.detach().cpu().float().numpy()
    steps = np.abs(weight.reshape(len(weight), -1)).max(1) / np.float32(127)
    steps = np.maximum(steps, np.float32(1e-8))
    by_channel = weight / steps.reshape(-1, *[1] * (weight.ndim - 1))
    of_bias = steps * _STEP
    constants = {
        "step": _STEP,
        "zero": np.uint8(0),
        "integers": np.rint(by_channel).clip(-127, 127).astype(np.int8),
        "steps": steps,
        "zeros": np.zeros(len(steps), np.int8),
        "bias_integers": np.rint(_bias(layer) / of_bias).clip(-(2**30), 2**30).astype(np.int32),
        "bias_steps": of_bias,
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["input", "step", "zero"], ["x"]),
        helper.make_node("DequantizeLinear", ["integers", "steps", "zeros"], ["weight"], axis=0),
        helper.make_node("DequantizeLinear", ["bias_integers", "bias_steps"], ["bias"], axis=0),
        _product(layer, "x", "weight", "bias", "y"),
        helper.make_node("QuantizeLinear", ["y", "step", "zero"], ["output"]),
    ]
    return _model(nodes, constants, shape, TensorProto.UINT8)


def _bias(layer: nn.Conv2d | nn.Linear) -> Any:
    if layer.bias is None:
        return np.zeros(len(layer.weight), np.float32)
    return layer.bias.detach().cpu().float().numpy()


def _product(layer: nn.Conv2d | nn.Linear, *names: str) -> onnx.NodeProto:
    """Return the operation of `layer`. names: of input, weight, bias and output."""
    *inputs, output = names
    if isinstance(layer, nn.Linear):
        return helper.make_node("Gemm", inputs, [output], transB=1)
    return helper.make_node(
        "Conv",
        inputs,
        [output],
        strides=layer.stride,
        dilations=layer.dilation,
        group=layer.groups,
        pads=_pads(layer),
    )


def _pads(layer: nn.Conv2d) -> list[int]:
    """Return what is added at the top, the left, the bottom and the right."""
    if layer.padding == "valid":
        return [0, 0, 0, 0]
    if layer.padding == "same":
        both = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
        return [each // 2 for each in both] + [each - each // 2 for each in both]
    assert not isinstance(layer.padding, str)
    return [*layer.padding, *layer.padding]


def _model(
    nodes: Sequence[onnx.NodeProto], constants: Mapping[str, Any], shape: Sequence[int], kind: int
) -> bytes:
    arrays = [numpy_helper.from_array(np.asarray(each), name) for name, each in constants.items()]
    graph = helper.make_graph(
        nodes,
        "layer",
        [helper.make_tensor_value_info("input", kind, [*shape])],
        [helper.make_tensor_value_info("output", kind, None)],
        arrays,
    )
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)
    content: bytes = model.SerializeToString()
    return content
