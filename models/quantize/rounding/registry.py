"""Find a rounding by name; nothing heavy is imported for its name and its parameters."""

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from models.errors import BenchError
from models.registry import Registry

if TYPE_CHECKING:
    from models.quantize.rounding.base import Rounding
    from models.quantize.rounding.block import BlockRounding

ROUNDINGS: "Registry[type[Rounding] | type[BlockRounding]]" = Registry(
    "rounding",
    {
        "nearest": "models.quantize.rounding.plain:Nearest",
        "floor": "models.quantize.rounding.plain:Floor",
        "ceil": "models.quantize.rounding.plain:Ceil",
        "stochastic": "models.quantize.rounding.plain:Stochastic",
        "adaround": "models.quantize.rounding.adaround:AdaRound",
        "bit_split": "models.quantize.rounding.bit_split:BitSplit",
        "aciq": "models.quantize.rounding.aciq:ACIQ",
        "ocs": "models.quantize.rounding.ocs:OCS",
        "outlier": "models.quantize.rounding.outlier:Outlier",
        "kmeans": "models.quantize.rounding.kmeans:KMeans",
        "product": "models.quantize.rounding.product:Product",
        "dpq_sx": "models.quantize.rounding.dpq:ProductSoftmax",
        "dpq_vq": "models.quantize.rounding.dpq:ProductVector",
        "brecq": "models.quantize.rounding.brecq:Brecq",
        "qdrop": "models.quantize.rounding.qdrop:QDrop",
    },
    entry_point_group="quantization_bench.roundings",
)

PREFIX = "rounding_"
"""What the fields of `QuantSpec` begin with that are parameters of a rounding."""

PREFIX_OF_STEPS = "rounding_step_"
"""Of these, those that matter where activations are quantized only."""

OF_TABLES = ("rounding_shared", "rounding_objective")
"""Of these, those of roundings of tables (`is_of_tables`); records of others do not have them."""

_OF_TABLES = ("iterations", "rate", "batch", "block", "centroids", "variant", "shared", "objective")
_OF_BLOCKS = ("iterations", "rate", "batch", "penalty", "step_rate")
_PARAMETERS: dict[str, tuple[str, ...]] = {
    "adaround": ("iterations", "rate"),
    "bit_split": ("epochs", "variant"),
    "ocs": ("ratio", "variant"),
    "outlier": ("ratio",),
    "product": ("epochs", "block", "centroids", "layer_steps", "network_steps", "rate"),
    "dpq_sx": _OF_TABLES,
    "dpq_vq": _OF_TABLES,
    "brecq": (*_OF_BLOCKS, "loss", "step_iterations", "step_inputs"),
    "qdrop": (*_OF_BLOCKS, "drop"),
}
_VARIANTS = {
    "bit_split": ("release", "sequential"),
    "ocs": ("release", "naive"),
    "dpq_sx": ("release", "paper"),
    "dpq_vq": ("release", "paper"),
}
_VERSIONS = {"adaround": 2, "bit_split": 2, "qdrop": 2}


def parameters(name: str) -> frozenset[str]:
    """Return which fields of `QuantSpec` the rounding called `name` heeds; no built-in is imported.

    Raises BenchError as `rounding_class` does.
    """
    if name in ROUNDINGS.builtin:
        names = _PARAMETERS.get(name, ())
    else:
        names = tuple(field.name for field in fields(rounding_class(name)))
    return frozenset(PREFIX + each for each in names)


def is_of_tables(name: str) -> bool:
    """Return whether the rounding called `name` is a built-in one of tables of embeddings."""
    return "shared" in _PARAMETERS.get(name, ())


def variants(name: str) -> tuple[str, ...]:
    """Return what `variant` of the rounding called `name` may be; of one without, of any."""
    known = dict.fromkeys(variant for of_one in _VARIANTS.values() for variant in of_one)
    return _VARIANTS.get(name, tuple(known))


def without_effect(name: str, values: Mapping[str, Any]) -> frozenset[str]:
    """Return which fields of `QuantSpec` change nothing though `parameters` and grids have them.

    values: all fields.
    """
    if name not in ("kmeans", "product", "dpq_sx", "dpq_vq"):
        return frozenset()
    grid = {"w_scheme", "w_granularity", "w_range"} if values["w_bits"] != "mixed" else set()
    if name != "product":
        return frozenset(grid)
    steps = values["rounding_layer_steps"] or values["rounding_network_steps"]
    return frozenset(grid if steps else {*grid, "rounding_rate"})


def version(name: str) -> int | None:
    """Return the version that a cell's identity has; None for a first one, which it does not."""
    known = name in ROUNDINGS.builtin
    number = _VERSIONS.get(name, 1) if known else rounding_class(name).version
    return number if number > 1 else None


def rounding_class(name: str) -> "type[Rounding] | type[BlockRounding]":
    """Return the class called `name`: a built-in, an entry point, or `package.module:Class`.

    Raises BenchError when there is none, or when it is no rounding.
    """
    from models.quantize.rounding.base import Rounding
    from models.quantize.rounding.block import BlockRounding

    cls = ROUNDINGS.get(name)
    if not (isinstance(cls, type) and issubclass(cls, Rounding | BlockRounding)):
        raise BenchError(
            f"quant.rounding={name} is {cls!r}, not a subclass of "
            "models.quantize.rounding.base.Rounding"
        )
    return cls


def make_rounding(name: str, values: dict[str, Any]) -> "Rounding | BlockRounding":
    """Return the rounding called `name` with those of `values`, fields of `QuantSpec`, it heeds."""
    cls = rounding_class(name)
    named = {field.name: PREFIX + field.name for field in fields(cls)}
    return cls(**{key: values[value] for key, value in named.items() if value in values})
