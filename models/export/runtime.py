"""Models in onnxruntime, on the CPU."""

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from models.errors import BenchError, first_line

_LAYERS = {"Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "QLinearConv", "QGemm"}
_INTEGER = {"QLinearConv", "QGemm"}


class Session:
    """A model, ready to run in the thread that asks for it.

    threads: that share the work of an operation.
    exact: products are added in 32 bits throughout. Without, a processor that lacks instructions
        for it (VNNI) adds pairs of them in 16, where large ones saturate, and is faster.

    Raises BenchError where onnxruntime cannot take the model.
    """

    def __init__(self, content: bytes, exact: bool = False, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        options.add_session_config_entry("session.x64quantprecision", "1" if exact else "0")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "optimised.onnx"
            options.optimized_model_filepath = str(path)
            try:
                self._session = onnxruntime.InferenceSession(
                    content, options, providers=["CPUExecutionProvider"]
                )
            except Exception as error:  # its classes have no common one but this
                raise BenchError(
                    f"onnxruntime {onnxruntime.__version__} cannot run the file: "
                    f"{first_line(error)}; a newer version may have the type that it lacks"
                ) from error
            self.operations = Counter(n.op_type for n in onnx.load(path).graph.node)

    @property
    def layers(self) -> int:
        """How many convolutions and linear layers there are."""
        return sum(count for op, count in self.operations.items() if op in _LAYERS)

    @property
    def integer_layers(self) -> int:
        """How many of them run on integers."""
        return sum(count for op, count in self.operations.items() if op in _INTEGER)

    def logits(self, images: np.ndarray) -> Any:
        """Return (N, classes) float32 of (N, C, H, W) float32 normalised input."""
        return self._session.run(None, {"input": images})[0]
