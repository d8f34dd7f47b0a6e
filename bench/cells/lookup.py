"""Which result is that of a request: asked for alike, and measured on the same images."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import product
from typing import NamedTuple

from bench.cells.recipe import CalibrationRecipe, EvaluationRecipe
from bench.cells.request import Request, reported_name
from bench.cells.result import Result
from bench.data.contents import SetIdentity
from bench.data.datasets import KnownSet, known_set
from bench.data.listing import fingerprint_without
from bench.data.options import CLIP_KEYS
from methods.registry import sees_real_images

# Data sets whose images are whatever lies in a folder: one folder may be read as either.
_FOLDERS = ("folder", "imagenet")


class _Images(NamedTuple):
    """What is known of the two sides that a request is about."""

    evaluated: KnownSet | None
    calibrated: KnownSet | None


def find_results(requests: Sequence[Request], results: Iterable[Result]) -> list[Result | None]:
    """Return for each request the result that counts; None where there is none.

    What decides are the images, as far as they are known (`known_set`): not where they lie, nor
    what their folder is called, nor whether all of them are asked for by number. Where they are
    not known, the name of the data set does; what has no result of that name takes one of the same
    images as the others. Of several results the one begun last counts, and of those begun in one
    second the one with the highest id.
    """
    lookup = _Lookup(results)
    if not lookup.results:
        return [None] * len(requests)
    found = [lookup.result_of(request, lookup.images_of(request)) for request in requests]
    named: dict[str, _Images] = {}
    for request, result in zip(requests, found, strict=True):
        if result is not None and lookup.images_of(request).evaluated is None:
            named[_key(request)] = _images_of(result)
    return [
        lookup.result_of(request, named[_key(request)])
        if result is None and _key(request) in named
        else result
        for request, result in zip(requests, found, strict=True)
    ]


class _Lookup:
    def __init__(self, results: Iterable[Result]) -> None:
        self.results = sorted(results, key=lambda result: (result.started_at, result.id))
        self._by_request: dict[str, list[Result]] = {}
        for result in self.results:
            self._by_request.setdefault(result.request_id, []).append(result)
        self._images: dict[str, _Images] = {}
        self._labels: dict[SetIdentity, set[str]] = {}

    def images_of(self, request: Request) -> _Images:
        """Return what is known of the images of `request`; found out once a `data` node."""
        key, data = _key(request), request.effective.data
        if key not in self._images:
            cache = request.config.paths.outputs / "cache"
            training = known_set(data, "train", cache) if _needs_real_images(request) else None
            self._images[key] = _Images(known_set(data, "eval", cache), training)
        return self._images[key]

    def result_of(self, request: Request, images: _Images) -> Result | None:
        alike = [
            result
            for id in self._request_ids(request, images)
            for result in self._by_request.get(id, ())
            if _fits(result.recipe.evaluation, images.evaluated)
            and _fits(result.recipe.calibration, images.calibrated)
        ]
        if not alike:
            return None
        known = images.evaluated and images.evaluated.identity

        def order(result: Result) -> tuple[bool, str, str]:
            # What went by names and sizes comes after what is known to be of this content.
            return not _is_earlier(result, known), result.started_at, result.id

        return _of_content(max(alike, key=order), known)

    def _request_ids(self, request: Request, images: _Images) -> set[str]:
        """Return the ids under which the same images may have been asked for."""
        data, evaluated = request.effective.data, images.evaluated
        names, labels = {data["name"]}, {reported_name(data)}
        if evaluated is not None and evaluated.identity is not None:
            names |= {*_FOLDERS}
            labels |= self._labels_of(evaluated.identity)
        limits = _counts(data.get("limit"), evaluated)
        subsets = _counts(data.get("subset"), images.calibrated)
        ids = {request.id}
        if any(len(values) > 1 for values in (names, labels, limits, subsets)):
            clip = {key: data[key] for key in CLIP_KEYS if key in data}
            for name, label, limit, subset in product(names, labels, limits, subsets):
                other = {"name": name, "label": label, "limit": limit, "subset": subset, **clip}
                effective = request.effective.model_copy(update={"data": other})
                ids.add(replace(request, effective=effective).id)
        return ids

    def _labels_of(self, identity: SetIdentity) -> set[str]:
        """Return the names under which results on a set are reported."""
        if identity not in self._labels:
            known = KnownSet(None, identity)
            self._labels[identity] = {
                r.data for r in self.results if _fits(r.recipe.evaluation, known)
            }
        return self._labels[identity]


def _key(request: Request) -> str:
    """Return what tells one pair of sides from another."""
    outputs, real = str(request.config.paths.outputs), _needs_real_images(request)
    return json.dumps([request.effective.data, outputs, real], sort_keys=True)


def _needs_real_images(request: Request) -> bool:
    return sees_real_images(request.effective.method)


def _images_of(result: Result) -> _Images:
    """Return the images that a result was measured on, as far as it says."""

    def known(images: EvaluationRecipe | CalibrationRecipe) -> KnownSet | None:
        if images.fingerprint is None or images.left_out:
            return None
        return KnownSet(None, SetIdentity(images.fingerprint, None))

    return _Images(known(result.recipe.evaluation), known(result.recipe.calibration))


def _counts(count: int | None, known: KnownSet | None) -> set[int | None]:
    """Return how so many images may be asked for: all of them by number, or not."""
    if known is None or count not in (None, known.images):
        return {count}
    return {None, known.images}


def _fits(images: EvaluationRecipe | CalibrationRecipe, known: KnownSet | None) -> bool:
    """Return whether a result was measured on the images that are known, if some are."""
    if known is None or known.identity is None:
        return True
    left_out = images.left_out or ()
    return any(
        images.fingerprint == (fingerprint_without(one, left_out) if left_out else one)
        for one in known.identity
        if one is not None
    )


def _is_earlier(result: Result, known: SetIdentity | None) -> bool:
    """Return whether a result is of images that went by names and sizes."""
    return known is not None and result.recipe.evaluation.fingerprint == known.earlier


def _of_content(result: Result, known: SetIdentity | None) -> Result:
    """Return a result with the fingerprint that its images have now, to compare it by."""
    if known is None or not _is_earlier(result, known):
        return result
    now = {"fingerprint": known.fingerprint}
    evaluation = result.recipe.evaluation.model_copy(update=now)
    recipe = result.recipe.model_copy(update={"evaluation": evaluation})
    return result.model_copy(update={"recipe": recipe})
