"""A folder of made-up results, written as `bench run` writes them."""

import json
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import yaml

from bench.cells.result import Result
from bench.cells.result_file import write_result
from bench.cells.store import Store
from bench.config.compose import Configs
from bench.statistics.intervals import wilson_interval
from bench.tasks.classification import Classification, Correctness

QUANTIZER = {
    **{"w_scheme": "affine", "a_scheme": "affine", "w_granularity": "channel"},
    **{"a_granularity": "tensor", "w_range": "minmax", "a_range": "minmax", "sites": "relu"},
    **{"first_bits": None, "last_bits": None, "fold": False, "rounding": "nearest"},
}


def example(id: str, right: np.ndarray | None = None, **changes: Any) -> Result:
    """Return a plausible record; its counts are those of `right`, (images,) bool.

    Keys of `changes` that are topics of the recipe are merged into these, `matrix_products` and
    `weight_bits` among them.
    """
    done = right is not None
    recipe: dict[str, Any] = {
        "weights": {"source": "a file", "sha256": "0" * 64, "published": None},
        "preprocessing": {"size": 32},
        "quantizer": {"w_bits": 4, "a_bits": 8, **QUANTIZER},
        "batchnorm": "not folded, float",
        "method": {"name": changes.get("method", "gaussian"), "version": 1, "images": 16},
        "calibration": {"images": 16},
        "evaluation": {"set": "mnist5k", "fingerprint": "e" * 64},
    }
    for topic in recipe:
        if isinstance(recipe[topic], dict) and isinstance(changes.get(topic), dict):
            recipe[topic] = recipe[topic] | changes.pop(topic)
    for topic in ("weight_bits", "matrix_products"):
        if topic in changes:
            recipe[topic] = changes.pop(topic)
    known: dict[str, Any] = {
        **{"id": id, "request_id": f"asked {id}", "status": "done" if done else "failed"},
        **{"model": "resnet20", "weights": "mnist5k", "method": "gaussian", "data": "mnist5k"},
        **{"w_bits": 4, "a_bits": 8, "seed": 0, "group": "adhoc", "weights_sha256": "0" * 64},
        **{"started_at": "2026-01-02T03:04:05+00:00", "recipe": recipe, "size_mb": 0.5},
        **{"runtime": {"device": "cpu"}, "versions": {"torch": "2"}, "fp32_top1": 99.0},
        "seconds": {"quantize": 0.5, "evaluate": 1.0, "total": 1.5},
    }
    if right is not None:
        correct, total = int(right.sum()), len(right)
        low, high = wilson_interval(correct, total)
        known |= {"correct": correct, "total": total, "top1": 100 * correct / total}
        known |= {"top5": 100.0, "correct_top5": total, "classes": 10}
        known |= {"ci_low": low, "ci_high": high}
    return Result.model_validate(known | changes)


def write(
    store: Store,
    result: Result,
    right: np.ndarray | None = None,
    config: dict[str, Any] | None = None,
    mixed: dict[str, Any] | None = None,
    training: dict[str, Any] | None = None,
) -> None:
    """Put a record where `bench run` would, with what lies beside it."""
    with store.writing(result.id) as folder:
        if right is not None:
            Classification().save(folder, Correctness(right, np.ones_like(right)))
        write_result(folder, result)
        if config is not None:
            (folder / "config.yaml").write_text(yaml.safe_dump(config))
        if mixed is not None:
            (folder / "mixed.json").write_text(json.dumps(mixed))
        if training is not None:
            (folder / "training.json").write_text(json.dumps(training))


@cache
def _configs() -> Configs:
    return Configs()


def config_of(*overrides: str) -> dict[str, Any]:
    """Return what a cell's config.yaml holds."""
    return _configs().compose(overrides)


def many(store: Store, cells: int, images: int = 1000, fingerprint: str = "e" * 64) -> None:
    """Write a float cell and `cells` others: methods, bits and seeds on the digits."""
    generator = np.random.default_rng(0)
    reference = generator.random(images) < 0.98
    same: dict[str, Any] = {"evaluation": {"fingerprint": fingerprint}}
    of_float = example("f" * 16, reference, method="float", w_bits=32, a_bits=32, **same)
    write(store, of_float, reference)
    methods, bits = ("gaussian", "zeroq", "real", "dsg"), ((8, 8), (6, 6), (4, 8), (8, 4), (4, 4))
    seeds = range(-(-cells // (len(methods) * len(bits))))
    for number, (seed, method, (w, a)) in enumerate(product(seeds, methods, bits)):
        if number == cells:
            return
        right = reference & (generator.random(images) < 0.5 + (w + a) / 40)
        given = {"seed": seed, "method": method, "w_bits": w, "a_bits": a, "size_mb": w / 16}
        quantizer = {"w_bits": w, "a_bits": a}
        more = {"fp32_id": "f" * 16, "calibration_key": f"{methods.index(method):08x}{seed:08x}"}
        result = example(f"{number:016x}", right, quantizer=quantizer, **given, **more, **same)
        overrides = (f"method={method}", f"quant.w_bits={w}", f"quant.a_bits={a}", f"seed={seed}")
        write(store, result, right, config_of(*overrides))
