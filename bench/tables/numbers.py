"""What a table of an experiment can show beside top-1, or the headline of another task."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from bench.tables.cell_rows import OF_DETECTION
from bench.tables.headline import float_headlines, headlines
from bench.tables.summarise import row_keys, summarise, wide
from models.errors import BenchError
from models.registry import did_you_mean

TOP1 = "top1"
"""Stands for the headline, whatever the task."""


class Number(NamedTuple):
    """A column of `cell_rows`: what stands above it, what it is, and how it is written."""

    title: str
    meaning: str
    form: str


NUMBERS = {
    "top5": Number("top-5", "top-5 in %", ".2f"),
    "drop": Number("drop", "float minus quantized accuracy in points, on the same images", ".2f"),
    "map_50": Number("AP50", "average precision at an IoU of 0.50, in %", ".2f"),
    "map_75": Number("AP75", "average precision at an IoU of 0.75, in %", ".2f"),
    "map_small": Number("AP small", "mAP of objects below 32 x 32 pixels, in %", ".2f"),
    "map_medium": Number("AP medium", "mAP of objects of 32 x 32 to 96 x 96 pixels, in %", ".2f"),
    "map_large": Number("AP large", "mAP of objects above 96 x 96 pixels, in %", ".2f"),
    "ar_1": Number("AR1", "average recall with one box an image, in %", ".2f"),
    "ar_10": Number("AR10", "average recall with 10 boxes an image, in %", ".2f"),
    "ar_100": Number("AR100", "average recall with 100 boxes an image, in %", ".2f"),
    "ar_small": Number("AR small", "average recall of objects below 32 x 32 pixels, in %", ".2f"),
    "ar_medium": Number("AR medium", "average recall of objects up to 96 x 96, in %", ".2f"),
    "ar_large": Number("AR large", "average recall of objects above 96 x 96, in %", ".2f"),
    "mask_map": Number("mask mAP", "mAP of masks, in %", ".2f"),
    "quantized_weights": Number("weights, %", "weights that are quantized, in %", ".1f"),
    "quantized_multiplications": Number(
        "MACs, %", "multiplications by a quantized weight, in %", ".1f"
    ),
    "quantized_inputs": Number("inputs, %", "multiplications of a quantized input, in %", ".1f"),
    "logit_mse": Number("logits", "mean squared change of the logits by quantization", ".3g"),
    "size_mb": Number("MiB", "size of the weights in MiB", ".3f"),
    "size_with_scales_mb": Number(
        "MiB+scales", "size of the weights with scales and bits of channels in MiB", ".3f"
    ),
    "mean_bits": Number("bits", "bits of a weight on average", ".2f"),
    "activations_mb": Number("act. MiB", "size of the activations in MiB", ".3f"),
    "largest_activation_mb": Number(
        "max. act. MiB", "size of the largest activation in MiB", ".3f"
    ),
    "mean_activation_bits": Number("act. bits", "bits of an activation on average", ".2f"),
    "macs": Number("MACs", "multiply-accumulates of an image", ".4g"),
    "mac_bits": Number("MAC bits", "sum of MACs x bits of the weight", ".4g"),
    "bops": Number("BOPs", "bit operations of an image", ".4g"),
    "bops_percent": Number("BOPs, %", "bit operations in % of the float network's", ".3f"),
    "bops_with_additions": Number("BOPs+", "bit operations with additions (UNIQ)", ".4g"),
    "latency_ms": Number("ms", "latency in ms by quant.latency_table", ".3g"),
    "top1_integer": Number("int. top-1", "top-1 in % of the integers (bench verify)", ".2f"),
    "agreement": Number("agree", "predictions in % that integers and quantization share", ".2f"),
    "speedup": Number("speed", "integers in float's time in onnxruntime, how many times", ".2f"),
    "quantize_seconds": Number("s", "seconds that quantizing takes, without images", ".1f"),
}

OF_INTEGERS = ("top1_integer", "agreement", "speedup")
"""Those that `bench verify` measures."""


def with_integers(cells: pd.DataFrame, kept: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Return `cells` with what was kept of their integers, by id; as they are where nothing was."""
    if not kept:
        return cells
    of_cells = [kept.get(id, {}) for id in cells["id"]]
    columns = {key: [each.get(key) for each in of_cells] for key in OF_INTEGERS}
    return cells.assign(**{key: pd.Series(v, cells.index) for key, v in columns.items()})


def check_shown(names: Sequence[str], option: str = "--show") -> None:
    """Raise BenchError for a name that no table can show; option: what it was typed behind."""
    known = (TOP1, *NUMBERS)
    for name in names:
        if name not in known:
            raise BenchError(f"{option} {name}: no such number; {did_you_mean(name, known)}")


def with_numbers(
    texts: pd.DataFrame, best: pd.DataFrame, cells: pd.DataFrame, names: Sequence[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the table and its marks with the numbers called `names` beside each top-1.

    texts, best: as of `wide(summarise(cells))`. Numbers are means over seeds. Without top1 among
    `names` it is left out. Raises BenchError for a number that no cell of the table can have.
    """
    summary, means = summarise(cells), means_of(cells, names)
    views = {name: texts if name == TOP1 else _view(summary, means, name) for name in names}
    first = len(row_keys(cells))
    shown, marks = {}, {}
    for column in texts.columns[:first]:
        shown[column], marks[column] = texts[column], best[column]
    for column in texts.columns[first:]:
        for name, view in views.items():
            title = column if name == TOP1 else f"{column} {NUMBERS[name].title}"
            shown[title] = view[column]
            marks[title] = best[column] if name == TOP1 else pd.Series(False, index=best.index)
    return pd.DataFrame(shown), pd.DataFrame(marks)


def means_of(cells: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Return the means over seeds of all numbers, a row for each of `summarise(cells)`.

    Raises BenchError for one among `names` that no cell of the table can have.
    """
    for name in names:
        if name in OF_DETECTION and name not in cells:
            raise BenchError(f"--show {name}: the cells of this table have no such number")
    drops = float_headlines(cells).astype(float) - headlines(cells).astype(float)
    if "part_of" in cells:  # of the images that it has seen
        flipped = (cells["lost"].astype(float) - cells["gained"].astype(float)) / cells["total"]
        drops = drops.mask(cells["part_of"].notna(), 100 * flipped)
    values = cells.reindex(columns=[*NUMBERS]).assign(drop=drops).astype(float)
    return values.groupby(row_of(cells)).mean()


def row_of(cells: pd.DataFrame) -> pd.Series:
    """Return of each cell the number of its row in `summarise(cells)`."""
    keys = [*row_keys(cells), "w_bits", "a_bits"]
    return cells.groupby(keys, sort=False, dropna=False).ngroup()


def written(means: pd.DataFrame, name: str) -> list[str]:
    """Return one of these numbers as text, "" where it is not known."""
    return ["" if v != v else format(v, NUMBERS[name].form) for v in means[name]]


def _view(summary: pd.DataFrame, means: pd.DataFrame, name: str) -> pd.DataFrame:
    return wide(summary, written(means, name))
