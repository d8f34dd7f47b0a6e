"""Rows as tests of the table need them."""

from typing import Any

import numpy as np

from bench.peers.rows import Conditions, Row, packed

CONDITIONS = Conditions(
    network="resnet20",
    data="mnist5k",
    images=20,
    evaluation="e" * 16,
    calibration_images=4,
    calibration="c" * 16,
    seed=0,
)


def row(tool: str, method: str, wrong: int, w_bits: int = 4, **changes: Any) -> Row:
    """Return a row that has the first `wrong` of 20 images wrong."""
    right = np.arange(20) >= wrong
    values = {
        "tool": tool,
        "version": "1.0",
        "method": method,
        "w_bits": w_bits,
        "a_bits": 8,
        "correct": int(right.sum()),
        "right": packed(right),
        "layers": 22,
        "low_weights": 22,
        "low_inputs": 21,
        "weights_percent": 100.0,
        "quantize_s": 3.0,
        "float_s": 2.0,
        "evaluate_ratio": 1.25,
        "device": "a processor",
        "threads": 1,
        "load_average": 1.5,
        "torch": "2.0",
    }
    return Row.model_validate(CONDITIONS.model_dump() | values | changes)


def failed(tool: str, method: str, reason: str, w_bits: int = 4) -> Row:
    values = {"tool": tool, "version": "1.0", "method": method, "w_bits": w_bits, "a_bits": 8}
    return Row.model_validate(CONDITIONS.model_dump() | values | {"reason": reason})
