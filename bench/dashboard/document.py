"""All that a dashboard shows, as plain JSON values."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.cells.recipe_label import presets, recipe_label
from bench.cells.result import COSTS, LATER, Result
from bench.cells.store import Store
from bench.dashboard.calibrations import calibrations
from bench.dashboard.configuration import Configuration, read_configuration
from bench.dashboard.folders import without_folders
from bench.dashboard.groups import seed_groups
from bench.dashboard.labels import bits_order, method_labels
from bench.dashboard.layers import layer_choice
from bench.dashboard.papers import paper_differences
from bench.dashboard.pictures import add_generated
from bench.dashboard.pool import Pool
from bench.dashboard.trainings import training_course
from bench.dashboard.wrong import bitmap, image_set
from bench.papers.published import Published
from bench.tasks.registry import CLASSIFICATION
from models.errors import BenchError

PICTURE_BYTES = 6_000_000
"""Of all pictures of synthetic images in one page."""

GENERATED_BYTES = PICTURE_BYTES // 2
"""Of all pictures of the images that generators made in trainings."""

BITMAP_BYTES = 8_000_000
"""Of all correctness bitmaps in one page, as base 64: those of 960 cells on 50,000 images."""

NAMED_IMAGES = 60_000
"""Images whose names and classes are in one page."""

_COPIED = (
    *("id", "status", "reason", "traceback", "model", "weights", "weights_sha256", "method"),
    *("data", "bits", "seed", "group", "top1", "top5", "correct", "total", "fp32_top1"),
    *("fp32_expected", "fp32_id", "calibration_key", "seconds", "peak_memory_bytes"),
    *COSTS,
    *("logit_mse", "git_sha", "started_at", "w_bits", "a_bits", "left_out", "warnings"),
    *("quantized_weights", "quantized_multiplications", "quantized_inputs"),
)


def make_document(
    store: Store, results: Sequence[Result], published: Sequence[Published]
) -> dict[str, Any]:
    """Return what a dashboard shows of `results`, results of `store`.

    Pictures, bitmaps and names of images are added until their share of a page is spent.
    """
    contexts, values, sensitivities = Pool(), Pool(), Pool()
    places = [contexts.add(_context(result)) for result in results]
    recipes = presets()
    labels = method_labels(results, places, recipes)
    configurations = [read_configuration(store.folder(result.id), recipes) for result in results]
    cells = []
    columns = zip(results, places, labels, configurations, strict=True)
    for result, place, label, configuration in columns:
        cell = _cell(result, values) | {"context": place, "method_label": label}
        cell["recipe"] = recipe_label(result, recipes)
        cell["command"] = configuration.command
        cell["layers"] = layer_choice(store.read_note(result.id, "mixed"), sensitivities)
        if (course := training_course(store.read_note(result.id, "training"))) is not None:
            cell["training"] = course
        cells.append(cell)
    warnings = [each.warning for each in configurations if each.warning is not None]
    warnings += _add_bitmaps(cells, store, results)
    add_generated(cells, store, results, GENERATED_BYTES)
    groups = seed_groups(cells)
    sized = [_sized(context, results, places, i) for i, context in enumerate(contexts.values)]
    return {
        "contexts": _labelled(sized),
        "images": _image_sets(results, configurations, store.root / "cache"),
        "cells": cells,
        "groups": groups,
        "papers": paper_differences(groups, {r.id: r for r in results}, published),
        "calibrations": calibrations(results, store.root / "cache", PICTURE_BYTES),
        "sensitivities": sensitivities.values,
        "values": values.values,
        "warnings": [without_folders(line) for line in warnings],
    }


def _add_bitmaps(
    cells: Sequence[dict[str, Any]], store: Store, results: Sequence[Result]
) -> list[str]:
    """Add `bitmap` to the cells that are done; return a line about each that has no right one."""
    left, warnings = BITMAP_BYTES, []
    for cell, result in zip(cells, results, strict=True):
        if result.status != "done" or result.task != CLASSIFICATION or result.part_of is not None:
            continue
        try:
            bits = bitmap(store, result)
        except BenchError as error:
            warnings.append(str(error))
            continue
        if len(bits) <= left:
            cell["bitmap"], left = bits, left - len(bits)
    return warnings


def _cell(result: Result, values: Pool) -> dict[str, Any]:
    """Return what a page says of one result; its recipe is references into `values`, by topic."""
    cell = {key: getattr(result, key) for key in _COPIED}
    if result.part_of is not None:
        lost, gained, total = (getattr(result, key) or 0 for key in ("lost", "gained", "total"))
        known = None if result.lost is None else 100 * (lost - gained) / total
        cell |= {"part_of": result.part_of, "drop_seen": known}
        cell |= {"drop_low": result.drop_low, "drop_high": result.drop_high}
    if result.task != CLASSIFICATION:
        cell |= {key: getattr(result, key) for key in LATER}
    cell |= {key: cell[key] and without_folders(cell[key]) for key in ("reason", "traceback")}
    cell["warnings"] = [without_folders(line) for line in result.warnings]
    cell |= {"low": result.ci_low, "high": result.ci_high, "bits_order": bits_order(result)}
    cell["card"] = {k: values.add(value) for k, value in result.recipe.as_dict().items()}
    cell["runtime"], cell["versions"] = values.add(result.runtime), values.add(result.versions)
    return cell


def _context(result: Result) -> dict[str, Any]:
    """Return what cells must share for their numbers to be compared: weights and images."""
    shared = {
        "model": result.model,
        "weights_sha256": result.weights_sha256,
        "data": result.data,
        "fingerprint": result.recipe.evaluation.fingerprint,
    }
    return shared if result.task == CLASSIFICATION else shared | {"task": result.task}


def _sized(
    context: dict[str, Any], results: Sequence[Result], places: Sequence[int], place: int
) -> dict[str, Any]:
    """Return `context` with what its done cells were measured on, as far as there are any."""
    members = [r for r, of in zip(results, places, strict=True) if of == place]
    done = next((r for r in members if r.status == "done"), members[0])
    total = done.total if done.part_of is None else done.part_of
    measured_on = {"weights": done.weights, "total": total, "classes": done.classes}
    return context | measured_on | {done.of_task.headline.of_float: done.float_headline}


def _labelled(contexts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return `contexts` with labels that tell them apart."""
    labels = [f"{c['model']} on {c['data']}" for c in contexts]
    for detail in ("total", "weights_sha256", "fingerprint"):
        twice = {label for label in labels if labels.count(label) > 1}
        for place, context in enumerate(contexts):
            if labels[place] in twice:
                value = context[detail]
                text = f"{value:,} images" if detail == "total" and value else str(value)[:8]
                labels[place] += f", {text}"
    return [c | {"label": label} for c, label in zip(contexts, labels, strict=True)]


def _image_sets(
    results: Sequence[Result], configurations: Sequence[Configuration], cache: Path
) -> dict[str, Any]:
    """Return names and classes of the evaluated images by fingerprint, where they are here.

    None stands for a set that is left out because the share of the names is spent.
    """
    sets: dict[str, Any] = {}
    tried: set[tuple[str, str]] = set()
    left = NAMED_IMAGES
    for result, configuration in zip(results, configurations, strict=True):
        fingerprint = result.recipe.evaluation.fingerprint
        if result.task != CLASSIFICATION or configuration.data is None:
            continue
        if fingerprint is None or fingerprint in sets:
            continue
        if (result.part_of or result.total or 0) > left:
            sets[fingerprint] = None
            continue
        if (fingerprint, str(configuration.data)) in tried:
            continue
        tried.add((fingerprint, str(configuration.data)))
        if (images := image_set(configuration.data, fingerprint, cache)) is not None:
            fits = len(images["files"]) <= left
            sets[fingerprint] = images if fits else None
            left -= len(images["files"]) if fits else 0
    return sets
