"""What of the parameters of a method a cell is named by."""

from collections.abc import Mapping
from typing import Any

LATER: Mapping[str, Mapping[str, Any]] = {
    "qat": {
        "learned": True,
        "signed_inputs": "observed",
        "fix_last_input": True,
        "shortcuts": "quantized",
        "delta_unit": "step",
    },
    "schedule": {"depthwise_decay": True},
}
"""Parameters that earlier versions had not, by the parameter they are in, at what these did."""


def identifying(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return `parameters` of a method without what does what was done before there was a choice.

    So no old result loses its name, and one reads as another that differs from it in nothing.
    """
    return {key: _without(value, LATER.get(key, {})) for key, value in parameters.items()}


def _without(value: Any, later: Mapping[str, Any]) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {k: v for k, v in value.items() if k not in later or v != later[k]}
