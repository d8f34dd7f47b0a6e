"""A quantized network as integers: which cells have them, and their evaluation by onnxruntime.

Nothing of onnx is imported before it is needed; it is an extra.
"""

from importlib.metadata import version
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bench.cells.cell import Cell
from bench.config.schema import ONNXRUNTIME
from bench.tasks.registry import CLASSIFICATION
from methods.training.base import TrainedMethod
from models.clips import COLOURS
from models.errors import NotApplicable
from models.export.packages import check_packages
from models.export.weights import MOST_BITS
from models.quantize.network import QuantizedNetwork
from models.quantize.spec import FLOAT_BITS

if TYPE_CHECKING:
    from models.export.export import Exported


def check_engine(cell: Cell) -> None:
    """Raise where a cell's engine cannot evaluate it, as far as that is known without a network.

    NotApplicable for a cell that has no integers; BenchError where the extra is not installed.
    """
    if cell.engine == ONNXRUNTIME:
        check_packages()
        check_representable(cell)


def check_representable(cell: Cell) -> None:
    """Raise NotApplicable for a cell that no file of integers is made of."""
    spec = cell.spec
    if cell.task.name != CLASSIFICATION:
        raise NotApplicable(
            f"{cell.entry.name} {cell.task.doing}, and only networks that classify can be exported"
        )
    if spec.is_float:
        raise NotApplicable("the cell is of a float network, which has no integers")
    if cell.listing.kind != "image":
        raise NotApplicable(
            f"{cell.listing.name} has {cell.listing.kind}s, and a file of integers is compared "
            "image by image; name a cell on images"
        )
    if isinstance(cell.method, TrainedMethod):
        return
    if spec.w_bits == FLOAT_BITS:
        raise NotApplicable("the cell's weights are float: there are no integers to be stored")
    for key, what in (("w_bits", "weights"), ("a_bits", "activations")):
        bits = getattr(spec, key)
        if isinstance(bits, int) and MOST_BITS < bits < FLOAT_BITS:
            raise NotApplicable(
                f"quant.{key}={bits}: integer kernels have {what} of {MOST_BITS} bits at most"
            )
    if spec.a_bits != FLOAT_BITS and spec.a_granularity == "channel":
        raise NotApplicable(
            "quant.a_granularity=channel: integer kernels have one scale for an activation; "
            "measure with quant.a_granularity=tensor"
        )


def grids_by_channel(cell: Cell) -> bool:
    """Return whether the weights of a cell have a grid an output channel."""
    if isinstance(cell.method, TrainedMethod):
        return cell.method.qat.granularity == "channel"
    return cell.spec.w_granularity == "channel"


def integers_of(made: QuantizedNetwork, size: int, by_channel: bool) -> "Exported":
    """Return a quantized network as a model of integers, for images of `size` pixels a side.

    Raises NotApplicable for what cannot be represented, and for weights that have no integers:
    those of roundings to a codebook, or of float.
    """
    from models.export.export import export

    image = next(made.network.parameters()).new_zeros((1, COLOURS, size, size))
    exported = export(made, image, by_channel)
    if not exported.weights:
        raise NotApplicable("the cell's weights are float: there are no integers to be stored")
    return exported


class IntegerNetwork(nn.Module):
    """A model of integers as a network: (N, C, H, W) float32 to (N, classes), by onnxruntime.

    Products are added in 32 bits, so that its logits do not depend on what the processor has.
    """

    def __init__(self, content: bytes) -> None:
        super().__init__()
        from models.export.runtime import Session

        self._session = Session(content, exact=True, threads=torch.get_num_threads())

    def forward(self, images: Tensor) -> Tensor:
        logits = self._session.logits(images.float().cpu().contiguous().numpy())
        return torch.from_numpy(logits).to(images.device)


def engine_versions(cell: Cell) -> dict[str, str]:
    """Return the versions that the number of a cell depends on because of its engine."""
    return {ONNXRUNTIME: version(ONNXRUNTIME)} if cell.engine == ONNXRUNTIME else {}
