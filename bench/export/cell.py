"""The quantized network of a finished cell as an ONNX model, with its card."""

import hashlib
from dataclasses import dataclass
from typing import Any

from bench.cells.result import Result
from bench.machine.versions import versions
from bench.measure.integers import integers_of
from bench.measure.remake import Remade
from models.export.export import Exported
from models.export.write import OPSET


@dataclass(frozen=True)
class Model:
    """content: of the ONNX file. exported: the same, and what is to be said of it."""

    content: bytes
    exported: Exported

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def model_of(remade: Remade) -> Model:
    """Return the network of a cell as a file of integers.

    Raises NotApplicable for what cannot be represented, and for weights that have no
    integers: those of roundings to a codebook, or of float.
    """
    exported = integers_of(remade.made, remade.images.images.shape[-1], remade.by_channel)
    return Model(exported.model.SerializeToString(deterministic=True), exported)


def card(recorded: Result, model: Model, preprocessing: dict[str, Any]) -> dict[str, Any]:
    """Return what lies beside the file: what it is, what it takes and gives, and its recipe."""
    exported = model.exported
    shapes = {
        each.name: [d.dim_param or d.dim_value for d in each.type.tensor_type.shape.dim]
        for each in (*exported.model.graph.input, *exported.model.graph.output)
    }
    return {
        "sha256": model.sha256,
        "bytes": len(model.content),
        "opset": OPSET,
        "tensors": shapes,
        "preprocessing": preprocessing,
        "layers": exported.layers,
        "layers_with_integer_inputs": exported.integer,
        "weights": {
            name: {"type": f"int{each.bits}", "scales": max(each.scale.numel(), 1)}
            for name, each in exported.weights.items()
        },
        "lines": exported.lines,
        "cell": recorded.id,
        "label": recorded.label,
        "top1": recorded.top1,
        "weights_sha256": recorded.weights_sha256,
        "recipe": recorded.recipe.as_dict(),
        "versions": versions(),
    }
