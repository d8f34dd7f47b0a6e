"""The recipe behind a number, in words that a reader can compare."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from bench.cell import Cell


def _quantizer(cell: Cell) -> dict[str, Any]:
    if _trains(cell):
        qat = asdict(cell.method)["qat"]
        return {"w_bits": cell.spec.w_bits, "a_bits": cell.spec.a_bits, **qat}
    said = cell.spec.as_dict()
    if not cell.spec.is_mixed:
        said = {k: v for k, v in said.items() if k not in ("w_candidates", "size_mb", "mean_bits")}
    if cell.spec.rounding == "nearest":
        said = {key: value for key, value in said.items() if not key.startswith("rounding_")}
    return said


def _trains(cell: Cell) -> bool:
    from methods.training.base import TrainedMethod

    return isinstance(cell.method, TrainedMethod)


def _batchnorm(cell: Cell) -> str:
    if _trains(cell):
        return f"{asdict(cell.method)['qat']['batchnorm']}, float"
    return "folded" if cell.spec.fold else "not folded, float"


def recipe(
    cell: Cell,
    images: int | None = None,
    indices: Sequence[int] = (),
    weights_sha256: str | None = None,
    weight_bits: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Return what the number of `cell` depends on, by topic.

    images: how many calibration images there were, once that is known.
    indices: which images of the training side they are, for a method that uses real ones.
    weights_sha256: of the weights that were loaded, once that is known.
    weight_bits: of each layer, by name, where they were chosen.
    """
    weights, published = cell.weights, cell.weights.published
    method = asdict(cell.method)
    if _trains(cell):
        del method["qat"]  # said of the quantizer
    calibration: dict[str, Any] = {"images": images}
    if cell.precision != "fp32":
        calibration["synthesis_precision"] = cell.precision
    if cell.calibration is not None:
        calibration |= {
            "set": f"{cell.calibration.name}, training side, {len(cell.calibration)} images",
            "fingerprint": cell.calibration.fingerprint,
            "indices": list(indices),
        }
    return {
        "weights": {
            "source": weights.source,
            "sha256": weights_sha256 or weights.sha256,
            "published": asdict(published) if published else None,
        },
        "preprocessing": weights.preprocessing.as_dict(),
        "quantizer": _quantizer(cell),
        **({"weight_bits": dict(weight_bits)} if weight_bits else {}),
        "batchnorm": _batchnorm(cell),
        "biases": "float",
        "method": {
            "name": cell.method.name,
            "version": cell.method.version,
            **method,
        },
        "calibration": calibration,
        "evaluation": {
            "set": cell.listing.name,
            "images": len(cell.listing),
            "classes": cell.listing.classes,
            "fingerprint": cell.listing.fingerprint,
        },
        "seed": cell.seed,
    }
