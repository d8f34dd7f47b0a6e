"""`bench train`: train a network of the zoo from scratch on a small data set."""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import NonNegativeInt, TypeAdapter, ValidationError
from torch import nn

from bench.config.compose import compose_training
from bench.config.schema import RuntimeConfig
from bench.console import say, show_log
from bench.data import (
    ImageCache,
    ImageSet,
    Listing,
    check_training,
    decode,
    scan,
    with_whole_images,
)
from bench.data.feed import feed
from bench.data.outputs import check_medium
from bench.machine.device import prepare_device
from bench.measure.clock import Clock
from bench.measure.evaluate import evaluate
from bench.measure.resources import Resources
from bench.statistics.boxes import Truth
from bench.tasks.registry import DETECTION, task_named
from bench.training.detector import train_detector
from bench.training.from_scratch import LabelledImages, save_weights
from bench.training.from_scratch import train as train_network
from methods.training.schedule import Schedule
from models.detection import rows_of
from models.errors import BenchError, first_mistake
from models.networks.fpn_detector import FpnDetector
from models.registry import did_you_mean
from models.zoo import entry


def train(arguments: Namespace) -> int:
    """Train, evaluate once at the end, save; print the headline of the task, sha256 and how to use
    the file.

    Raises BenchError when the data set does not fit the network.
    """
    show_log()
    config = compose_training(arguments.overrides)
    runtime, recipe, seed = _checked(config)
    model = entry(config["model"]["name"])
    preprocessing = model.preprocessing
    resources, clock = Resources(), Clock()
    device = prepare_device(runtime, resources.gpus)
    outputs = Path(config["paths"]["outputs"])
    cache = ImageCache(outputs / "cache", resources.checked)

    data, folder = config["data"], cache.folder
    sides = scan(data, "train", folder), scan(data, "eval", folder)
    task = task_named(model.task)
    for listing in sides:
        check_medium(listing, preprocessing)
        task.check(listing, model.classes)
    if model.task != DETECTION:
        check_training(sides[0], sides[1], model.classes, recipe.batch_size)

    def images(listing: Listing) -> ImageSet:
        with clock.phase("decode") as progress:
            return decode(listing, config["data"], preprocessing, cache, progress, runtime.workers)

    def readable() -> tuple[ImageSet, np.ndarray]:
        training = images(sides[0])
        return training, training.pixels(slice(None))

    training, pixels = with_whole_images(readable)
    images(sides[1])  # what cannot be decoded is said before any long work
    untrained = model.network().to(device.device)
    with clock.phase("train") as progress:
        how = preprocessing, recipe, seed, progress
        if training.listing.truths is not None:
            network = _detector(untrained, pixels, training.listing.truths, *how)
        else:
            labelled = LabelledImages(pixels, training.labels, training.listing.clip)
            network = train_network(untrained, labelled, *how)
    subset = f"_subset{len(pixels)}" if config["data"].get("subset") else ""
    name = f"{model.name}_{training.listing.name}{subset}_seed{seed}.safetensors"
    path = outputs / "trained" / name
    sha256 = save_weights(network, path)

    def found() -> dict[str, Any]:
        testing = images(sides[1])
        with clock.phase("evaluate") as progress:
            pixels = feed(testing, device.device, resources.resident)
            whole = rows_of(network, preprocessing.size) if model.task == DETECTION else network
            evaluation = evaluate(whole, pixels, preprocessing, device, progress, task)
        return task.measured(evaluation.items)

    measured = with_whole_images(found)
    headline = task.headline
    low, high = measured["ci_low"], measured["ci_high"]
    say(
        f"{headline.title} {measured[headline.key]:.2f} % [{low:.2f}, {high:.2f}] of "
        f"{measured['total']} images"
    )
    say(f"trained in {clock.seconds['train']:.0f} s; {path}")
    say(f"sha256 {sha256}")
    say(f"use it: bench run model={model.name} model.weights={path} ...")
    return 0


def _detector(
    untrained: nn.Module, pixels: np.ndarray, truths: Sequence[Truth], *how: Any
) -> nn.Module:
    """Return `untrained` trained; raises BenchError for a network that has no recipe here."""
    if not isinstance(untrained, FpnDetector):
        raise BenchError(
            "of detectors, fpn_detector can be trained here; give model=fpn_detector, or the "
            "weights of the other"
        )
    return train_detector(untrained, pixels, truths, *how)


def _checked(config: dict[str, Any]) -> tuple[RuntimeConfig, Schedule, int]:
    parameters = [field.name for field in fields(Schedule)]
    for key in config["train"]:
        if key not in parameters:
            raise BenchError(f"train has no key {key!r}; {did_you_mean(key, parameters)}")
    try:
        return (
            RuntimeConfig(**config["runtime"]),
            TypeAdapter(Schedule).validate_python(config["train"]),
            TypeAdapter(NonNegativeInt).validate_python(config["seed"]),
        )
    except ValidationError as error:
        key, value, message = first_mistake(error)
        raise BenchError(f"{key or 'seed'}{value}: {message}") from error
