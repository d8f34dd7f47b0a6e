"""The recipe behind a number, in words that a reader can compare."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from methods.identity import identifying
from models.quantize.identity import written
from models.quantize.rounding.registry import PREFIX, parameters
from models.quantize.spec import OF_BUDGET

if TYPE_CHECKING:  # what reads results needs neither images nor methods
    from bench.cells.cell import Cell
    from bench.data import Listing


class _Part(BaseModel):
    """Keys that do not apply to a cell are absent from its result; unknown ones are kept."""

    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=())


class WeightsRecipe(_Part):
    """Which float weights there were."""

    source: str | None = Field(default=None, description="Where they come from, in words.")
    sha256: str | None = Field(default=None, description="As `weights_sha256` of the result.")
    published: dict[str, Any] | None = Field(
        default=None, description="Accuracies in percent that are published for them, and where."
    )


class CalibrationRecipe(_Part):
    """Which images the quantizer saw; set, fingerprint and indices are of real ones."""

    images: int | None = Field(default=None, description="How many; null before they are made.")
    synthesis_precision: str | None = Field(
        default=None, description="bf16: of the network while images were distilled."
    )
    set: str | None = Field(default=None, description="Name and size of the training side.")
    fingerprint: str | None = Field(default=None, description="Of the training side.")
    indices: list[int] | None = Field(
        default=None, description="The images among those of the training side."
    )
    left_out: list[str] | None = Field(
        default=None, description="Images of the training side that cannot be decoded."
    )


class EvaluationRecipe(_Part):
    """Which images the number was measured on."""

    set: str | None = Field(default=None, description="Name of the evaluation set.")
    images: int | None = Field(default=None, description="How many; all of the set but `left_out`.")
    classes: int | None = None
    segments: int | None = Field(
        default=None, description="Of a set of clips: frames whose logits a clip has the mean of."
    )
    fingerprint: str | None = Field(
        default=None, description="Of what the image files contain, and their labels."
    )
    left_out: list[str] | None = Field(
        default=None, description="Images of the set that cannot be decoded."
    )
    engine: str | None = Field(
        default=None,
        description="onnxruntime, where the integers of the network were evaluated by it, with "
        "products added in 32 bits, and not fake quantization.",
    )


class Recipe(_Part):
    """What the number of a cell depends on, by topic.

    A topic that a result does not have reads as one of which nothing is known.
    """

    weights: WeightsRecipe = WeightsRecipe()
    preprocessing: dict[str, Any] = Field(
        default_factory=dict, description="From a decoded image to the input of the network."
    )
    quantizer: dict[str, Any] = Field(
        default_factory=dict, description="Values of QuantSpec, or of QatSpec for a training."
    )
    weight_bits: dict[str, int | float] | None = Field(
        default=None,
        description="Of each layer by name, where they were chosen: the mean of its output "
        "channels.",
    )
    input_bits: dict[str, int] | None = Field(
        default=None,
        description="Of the quantizer at each place by its name, where they were chosen.",
    )
    batchnorm: str | None = Field(
        default=None, description="Whether it was folded, and its precision."
    )
    biases: str | None = Field(default=None, description="Their precision.")
    matrix_products: str | None = Field(
        default=None, description="tf32, where they are not float32."
    )
    method: dict[str, Any] = Field(
        default_factory=dict, description="Its name, version and parameters."
    )
    calibration: CalibrationRecipe = CalibrationRecipe()
    evaluation: EvaluationRecipe = EvaluationRecipe()
    seed: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return what the recipe says, as result.json has it: without what does not apply."""
        return self.model_dump(exclude_unset=True)


@dataclass(frozen=True)
class Observations:
    """What a recipe says only once its cell is measured.

    images: how many calibration images there were.
    indices: which images of the training side they are, for a method that uses real ones.
    weights_sha256: of the weights that were loaded; None for a network trained from scratch.
    weight_bits, input_bits: of each layer, and of each quantizer of activations, by name, where
        they were chosen.
    evaluated, calibrated: what could be decoded of the two sides; None where all is taken to be.
    """

    images: int | None = None
    indices: Sequence[int] = ()
    weights_sha256: str | None = None
    weight_bits: Mapping[str, int | float] | None = None
    input_bits: Mapping[str, int] | None = None
    evaluated: "Listing | None" = None
    calibrated: "Listing | None" = None


def recipe_of(cell: "Cell", observed: Observations | None = None) -> Recipe:
    """Return what the number of `cell` depends on, as far as it is known.

    observed: of a cell that is measured.
    """
    observed = observed or Observations()
    weights, published = cell.weights, cell.weights.published
    method = identifying(asdict(cell.method))
    if _trains(cell):
        del method["qat"]  # which the quantizer has
    evaluation = observed.evaluated or cell.listing
    special: dict[str, Any] = {}
    if observed.weight_bits:
        special["weight_bits"] = dict(observed.weight_bits)
    if observed.input_bits:
        special["input_bits"] = dict(observed.input_bits)
    if cell.precision == "tf32":
        special["matrix_products"] = cell.precision
    return Recipe(
        weights=WeightsRecipe(
            source=weights.source,
            sha256=observed.weights_sha256 or weights.sha256,
            published=asdict(published) if published else None,
        ),
        preprocessing=weights.preprocessing.as_dict(),
        quantizer=_quantizer(cell),
        batchnorm=_batchnorm(cell),
        biases="float",
        method={"name": cell.method.name, "version": cell.method.version, **method},
        calibration=_calibration(cell, observed),
        evaluation=EvaluationRecipe(
            set=evaluation.name,
            images=len(evaluation),
            classes=evaluation.classes,
            fingerprint=evaluation.fingerprint,
            **_segments(evaluation),
            **_left_out(evaluation),
            **_engine(cell),
        ),
        seed=cell.seed,
        **special,
    )


def _trains(cell: "Cell") -> bool:
    from methods.training.base import TrainedMethod

    return isinstance(cell.method, TrainedMethod)


_LATER = ("equalise", "weight_correction", "bias_correction", "reestimate_batchnorm")


def _quantizer(cell: "Cell") -> dict[str, Any]:
    if _trains(cell):
        qat = identifying(asdict(cell.method))["qat"]
        budget = {k: v for k, v in written(cell.spec).items() if k in OF_BUDGET and v is not None}
        return {"w_bits": cell.spec.w_bits, "a_bits": cell.spec.a_bits, **budget, **qat}
    values = written(cell.spec)
    if cell.spec.latency_table is not None:
        values["latency_table"] = cell.request.latency_digest
    for key in _LATER:
        if values[key] in ("none", False):  # as before there was a choice
            del values[key]
    heeded = parameters(cell.spec.rounding)
    return {k: v for k, v in values.items() if not k.startswith(PREFIX) or k in heeded}


def _batchnorm(cell: "Cell") -> str:
    if _trains(cell):
        return f"{asdict(cell.method)['qat']['batchnorm']}, float"
    return "folded" if cell.spec.fold else "not folded, float"


def _calibration(cell: "Cell", observed: Observations) -> CalibrationRecipe:
    values: dict[str, Any] = {"images": observed.images}
    if cell.precision == "bf16":
        values["synthesis_precision"] = cell.precision
    training = observed.calibrated or cell.calibration
    if training is not None:
        values |= {
            "set": f"{training.name}, training side, {len(training)} images",
            "fingerprint": training.fingerprint,
            "indices": list(observed.indices),
            **_left_out(training),
        }
    return CalibrationRecipe(**values)


def _segments(listing: "Listing") -> dict[str, Any]:
    """Return how many segments of a clip are seen; of images, nothing."""
    return {} if listing.clip is None else {"segments": listing.clip.segments}


def _left_out(listing: "Listing") -> dict[str, Any]:
    """Return the names of images that cannot be decoded; of a set without any, nothing."""
    return {"left_out": list(listing.left_out)} if listing.left_out else {}


def _engine(cell: "Cell") -> dict[str, Any]:
    """Return the engine of the evaluation where it is not PyTorch."""
    return cell.request.unusual_engine()
