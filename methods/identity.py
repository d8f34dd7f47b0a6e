"""What of the parameters of a method a cell is named by."""

from collections.abc import Mapping
from typing import Any

DISTILLING: Mapping[str, Any] = {"clip": False}
"""Parameters that methods which distil images had not in earlier versions, at what these did."""

LATER: Mapping[str, Mapping[str, Any]] = {
    "qat": {
        "learned": True,
        "signed_inputs": "observed",
        "fix_last_input": True,
        "shortcuts": "quantized",
        "delta_unit": "step",
        "image_bits": None,
        "input_bits": None,
        "sites": "inputs",
        "range_average": None,
    },
    "schedule": {"depthwise_decay": True, "quantizer_rate": 1.0, "rise": "cosine"},
}
"""The same of what parameters of methods that train consist of."""


def identifying(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return `parameters` of a method without what does what was done before there was a choice.

    So no old result loses its name, and one reads as another that differs from it in nothing.
    """
    own = _without(parameters, DISTILLING)
    return {key: _without(value, LATER.get(key, {})) for key, value in own.items()}


def _without(value: Any, later: Mapping[str, Any]) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {k: v for k, v in value.items() if k not in later or v != later[k]}
