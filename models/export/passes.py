"""What is done to a recorded graph before it is written; no value changes but by rounding."""

from dataclasses import replace

import torch

from models.export.graph import QUANTIZE, Graph, Node

_LAYERS = ("Conv", "Gemm")


def prepared(graph: Graph) -> Graph:
    """Return `graph` in the form that integer kernels are found in."""
    for one_pass in (merge_pads, fold_batchnorm, quantize_earlier, join_quantizers):
        graph = one_pass(graph)
    return graph


def merge_pads(graph: Graph) -> Graph:
    """Let convolutions pad themselves where what is put around their input is 0."""
    made_by, nodes = graph.producers(), []
    for node in graph.nodes:
        pad = made_by.get(node.inputs[0])
        if node.op == "Conv" and pad is not None and pad.op == "Pad" and _is_zero(graph, pad):
            low_and_high = graph.constants[pad.inputs[1]].tolist()
            around = [*low_and_high[2:4], *low_and_high[6:8]]
            pads = [own + more for own, more in zip(node.attributes["pads"], around, strict=True)]
            node = replace(
                node,
                inputs=(pad.inputs[0], *node.inputs[1:]),
                attributes={**node.attributes, "pads": pads},
            )
        nodes.append(node)
    return graph.with_nodes(nodes)


def _is_zero(graph: Graph, pad: Node) -> bool:
    sides = graph.constants[pad.inputs[1]].tolist()
    others = sides[:2] + sides[4:6]
    return len(sides) == 8 and not any(others) and float(graph.constants[pad.inputs[2]]) == 0


def fold_batchnorm(graph: Graph) -> Graph:
    """Fold each BatchNorm into the layer whose output it alone reads.

    The weight stays what it is; what its output channels are multiplied by is noted in `factors`.
    """
    made_by, uses = graph.producers(), graph.uses()
    constants, factors = dict(graph.constants), dict(graph.factors)
    folded: dict[str, Node] = {}
    for norm in graph.nodes:
        layer = made_by.get(norm.inputs[0]) if norm.op == "BatchNormalization" else None
        if layer is None or layer.op not in _LAYERS:
            continue
        if uses[layer.output] > 1 or uses[layer.inputs[1]] > 1:
            continue
        weight, beta, mean, variance = (constants[name].double() for name in norm.inputs[1:])
        factor = weight * torch.rsqrt(variance + norm.attributes["epsilon"])
        bias = constants[layer.inputs[2]].double() if len(layer.inputs) > 2 else 0
        name = f"{layer.inputs[1]}.folded_bias"
        constants[name] = ((bias - mean) * factor + beta).float()
        factors[layer.inputs[1]] = factor
        inputs = (*layer.inputs[:2], name)
        folded[layer.output] = replace(layer, inputs=inputs, output=norm.output)
    nodes = [folded.get(node.output, node) for node in graph.nodes]
    done = {node.output for node in folded.values()}
    kept = [n for n in nodes if not (n.op == "BatchNormalization" and n.output in done)]
    return graph.with_nodes(kept, constants=constants, factors=factors)


def quantize_earlier(graph: Graph) -> Graph:
    """Quantize what only gets another shape before it does: behind the operation that made it."""
    nodes = list(graph.nodes)
    while True:
        uses = Graph(tuple(nodes), graph.input, graph.output, {}, graph.shapes).uses()
        for index, node in enumerate(nodes):
            if node.op != QUANTIZE or uses[node.inputs[0]] > 1:
                continue
            moved = next((n for n in nodes[:index] if n.output == node.inputs[0]), node)
            if moved.op == "Reshape":
                break
        else:
            return graph.with_nodes(nodes)
        first = replace(node, inputs=moved.inputs[:1], output=moved.output)
        second = replace(moved, inputs=(first.output, *moved.inputs[1:]), output=node.output)
        nodes[index : index + 1] = [first, second]
        nodes.remove(moved)


def join_quantizers(graph: Graph) -> Graph:
    """Quantize a tensor once where several quantizers do the same to it."""
    first: dict[tuple[object, ...], str] = {}
    renamed: dict[str, str] = {}
    nodes = []
    for node in graph.nodes:
        node = replace(node, inputs=tuple(renamed.get(name, name) for name in node.inputs))
        if node.quantizer is not None:
            values = (each.flatten().tolist() for each in node.quantizer.grid)
            key = (node.inputs[0], *map(tuple, values))
            if key in first:
                renamed[node.output] = first[key]
                continue
            first[key] = node.output
        nodes.append(node)
    return graph.with_nodes(nodes)
