"""The recipe behind a number, in words that a reader can compare."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from bench.cells.cell import Cell
from bench.data import Listing
from models.quantize.spec import OF_MIXED


def _quantizer(cell: Cell) -> dict[str, Any]:
    if _trains(cell):
        qat = asdict(cell.method)["qat"]
        return {"w_bits": cell.spec.w_bits, "a_bits": cell.spec.a_bits, **qat}
    said = cell.spec.as_dict()
    if not cell.spec.is_mixed:
        said = {k: v for k, v in said.items() if k not in OF_MIXED}
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


def _left_out(listing: Listing) -> dict[str, Any]:
    """Return the names of images that cannot be decoded; of a set without any, nothing."""
    return {"left_out": list(listing.left_out)} if listing.left_out else {}


def recipe(
    cell: Cell,
    images: int | None = None,
    indices: Sequence[int] = (),
    weights_sha256: str | None = None,
    weight_bits: Mapping[str, int] | None = None,
    evaluated: Listing | None = None,
    calibrated: Listing | None = None,
) -> dict[str, Any]:
    """Return what the number of `cell` depends on, by topic.

    images: how many calibration images there were, once that is known.
    indices: which images of the training side they are, for a method that uses real ones.
    weights_sha256: of the weights that were loaded, once that is known.
    weight_bits: of each layer, by name, where they were chosen.
    evaluated, calibrated: the images that could be decoded, once that is known.
    """
    weights, published = cell.weights, cell.weights.published
    method = asdict(cell.method)
    if _trains(cell):
        del method["qat"]  # said of the quantizer
    calibration: dict[str, Any] = {"images": images}
    if cell.precision == "bf16":
        calibration["synthesis_precision"] = cell.precision
    evaluation = evaluated or cell.listing
    training = calibrated or cell.calibration
    if training is not None:
        calibration |= {
            "set": f"{training.name}, training side, {len(training)} images",
            "fingerprint": training.fingerprint,
            "indices": list(indices),
            **_left_out(training),
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
        **({"matrix_products": "tf32"} if cell.precision == "tf32" else {}),
        "method": {
            "name": cell.method.name,
            "version": cell.method.version,
            **method,
        },
        "calibration": calibration,
        "evaluation": {
            "set": evaluation.name,
            "images": len(evaluation),
            "classes": evaluation.classes,
            "fingerprint": evaluation.fingerprint,
            **_left_out(evaluation),
        },
        "seed": cell.seed,
    }
