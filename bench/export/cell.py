"""The quantized network of a finished cell as an ONNX model, with its card."""

import hashlib
from dataclasses import dataclass
from typing import Any

from bench.cells.cell import Cell
from bench.cells.result import Result
from bench.machine.versions import versions
from bench.measure.phases import Remade
from bench.tasks.registry import CLASSIFICATION
from models.clips import COLOURS
from models.errors import BenchError, NotApplicable
from models.export.export import Exported, export
from models.export.write import OPSET


@dataclass(frozen=True)
class Model:
    """content: of the ONNX file. exported: the same, and what is to be said of it."""

    content: bytes
    exported: Exported

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def check_exportable(cell: Cell) -> None:
    """Raise NotApplicable for a cell that no file of integers is made of."""
    if cell.task.name != CLASSIFICATION:
        raise NotApplicable(
            f"{cell.entry.name} {cell.task.doing}, and only networks that classify can be exported"
        )
    if cell.spec.is_float:
        raise NotApplicable("the cell is of a float network, which has no integers")
    if cell.listing.clip is not None:
        raise NotApplicable(
            f"{cell.listing.name} has clips, and a file of integers is compared image by image; "
            "name a cell on images"
        )


def model_of(remade: Remade) -> Model:
    """Return the network of a cell as a file of integers.

    Raises BenchError (NotApplicable) for what cannot be represented, and for weights that have no
    integers: those of roundings to a codebook, or of float.
    """
    size = remade.images.images.shape[2:]
    image = next(remade.network.parameters()).new_zeros((1, COLOURS, *size))
    exported = export(remade.made, image, remade.by_channel)
    if not exported.weights:
        raise BenchError("the cell's weights are float: there are no integers to be stored")
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
