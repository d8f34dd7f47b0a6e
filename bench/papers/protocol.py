"""In what a published number and a measured one were made differently."""

from typing import Any, NamedTuple

from bench.cells.result import Result
from bench.papers.published import Published
from bench.statistics.intervals import wilson_interval
from methods.identity import LATER
from models.quantize.spec import FLOAT_BITS, OF_BUDGET

IMAGES = {"imagenet": 50_000, "cifar10": 10_000, "cifar100": 10_000, "coco": 5_000}
"""How many images the evaluation sets of the papers have."""

FLOAT_TOLERANCE = 0.1
"""Points that the float top-1 of the same weights may be apart, from one machine to another."""

UNKNOWN = "unknown"

# What a paper's recipe calls otherwise than the schedule of a training does.
_OF_SCHEDULE = {"batch": "batch_size"}
# Terms of a loss that a paper has or has not, and the weight that a result gives them.
_TERMS = {"label": "label_weight", "image_prior": "prior_weight"}
# Of a table's row, not of how a number is made.
_NO_RECIPE = ("size_mb", "seeds")
# The bits, and what follows from others.
_NOT_REQUIRED = ("w_bits", "a_bits", *OF_BUDGET)


class Differences(NamedTuple):
    """texts: in what the two differ, in words. unknown: what is not known of the published one.

    on_a_part: the images are a part of the published ones, as far as the float network tells.
    """

    texts: list[str]
    unknown: list[str]
    on_a_part: bool = False


def protocol_differences(
    published: Published, result: Result, float_top1: float | None
) -> Differences:
    """Compare what is known of how a published number was made with the result of a cell.

    float_top1: of the float network, as published beside the number; None where it is not.
    What the paper does not say, or the result does not, is no difference; it is named.
    """
    on_a_part = _on_a_part(published, result, float_top1)
    texts = [] if on_a_part else _images(published, result)
    texts += _weights(published, result)
    on_all = result.part_of is not None and _set_size(result) == IMAGES.get(published.data)
    if float_top1 is not None and not _is_float(result) and (on_all or not on_a_part):
        texts += _float_top1(float_top1, result.fp32_top1)
    scratch = result.recipe.method.get("init") == "scratch"
    unknown = ["weights"] if published.weights == UNKNOWN and not scratch else []
    for key, there in published.recipe.items():
        if key in _NO_RECIPE or _is_float(result):  # the recipe of a file is of its other rows
            continue
        is_stated, here = stated(result, key)
        if there == UNKNOWN or not is_stated:
            unknown.append(key)
        elif not _equal(there, here):
            texts.append(_in_words(key, there, here))
    silent = [key for key in _expected_keys(result) if key not in published.recipe]
    return Differences(texts, [*unknown, *silent], on_a_part)


def stated(result: Result, key: str) -> tuple[bool, Any]:
    """Return whether a result says what a paper's recipe calls `key`, and what it says."""
    quantizer, method = result.recipe.quantizer, result.recipe.method
    calibration = result.recipe.calibration
    if key == "no_data":
        return True, calibration.set is None
    if key == "no_finetuning":
        return True, "schedule" not in method
    if key in _TERMS:
        return True, bool(method.get(_TERMS[key], 0))
    if key in ("first_bits", "last_bits") and key in quantizer:
        return True, quantizer[key] or quantizer["w_bits"]
    if key == "images":
        return calibration.images is not None, calibration.images
    of_schedule = method.get("schedule") or {}
    if (name := _OF_SCHEDULE.get(key, key)) in of_schedule:
        return True, of_schedule[name]
    if key in quantizer:
        return True, quantizer[key]
    if of_schedule and key in LATER["qat"]:
        return True, LATER["qat"][key]
    return key in method, method.get(key)


def _images(published: Published, result: Result) -> list[str]:
    if published.data != result.data:
        return [f"evaluated on {result.data}, there on {published.data}"]
    there, here = IMAGES.get(published.data), _set_size(result)
    if there is None or here == there:
        return []
    return [f"evaluated on {here:,} images, there on {there:,}"]


def _on_a_part(published: Published, result: Result, float_top1: float | None) -> bool:
    """Return whether fewer images were evaluated, and the float network does on them as on all.

    It has seen all that there are, of which a cell may have seen a part (evaluate.until).

    Whoever calls other photos by the name of a data set is found out by the latter.
    """
    there, here = IMAGES.get(published.data), result.fp32_top1
    if published.data != result.data or there is None or float_top1 is None or here is None:
        return False
    images = _set_size(result)
    if _is_float(result) or images is None or images >= there:
        return result.part_of is not None and images == there
    low, high = wilson_interval(round(here * images / 100), images)
    return low <= float_top1 <= high


def _set_size(result: Result) -> int | None:
    """Return how many images the set has, all of which the float network has seen."""
    return result.total if result.part_of is None else result.part_of


def _float_top1(there: float, here: float | None) -> list[str]:
    if here is None or abs(here - there) <= FLOAT_TOLERANCE:
        return []
    return [f"float top-1 {here:.2f}, there {there:.2f}"]


def _weights(published: Published, result: Result) -> list[str]:
    there, here = published.weights, result.weights
    trained = "schedule" in result.recipe.method
    if there == UNKNOWN or trained or _same_weights(there, here):
        return []
    return [f"weights {here}, there {there}"]


def _same_weights(there: str, here: str) -> bool:
    """Return whether two names can be of the same weights: torchvision's are `.tv_` in timm."""
    return here.startswith(there) or (there == "torchvision" and ".tv_" in here)


def _equal(there: Any, here: Any) -> bool:
    numbers = isinstance(there, int | float) and isinstance(here, int | float)
    return abs(there - here) <= 1e-9 * abs(there) if numbers else there == here


def _in_words(key: str, there: Any, here: Any) -> str:
    if key == "no_data":
        return "no real images here, there are" if here else "real images here, none there"
    if key == "no_finetuning":
        return "not fine-tuned here, there it is" if here else "trained here, not there"
    return f"{key} {here}, there {there}"


def _is_float(result: Result) -> bool:
    return result.w_bits == result.a_bits == FLOAT_BITS


def _expected_keys(result: Result) -> list[str]:
    """Return what a reader would want to know of the published number's recipe."""
    quantizer = result.recipe.quantizer
    idle = [*_NOT_REQUIRED]
    for bits, parts in (("w_bits", ("w_", "rounding")), ("a_bits", ("a_", "sites"))):
        if quantizer[bits] == FLOAT_BITS:
            idle += [key for key in quantizer if key.startswith(parts)]
    if _is_float(result):
        return []
    return [*(key for key in quantizer if key not in idle), "images"]
