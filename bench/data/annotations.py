"""Annotations of COCO-format files: images, and the objects in each (Lin et al., ECCV 2014)."""

import json
import logging
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from bench.data.listing import Side
from bench.data.segmentations import Segmentations, has_shape, shape_of
from bench.statistics.boxes import Truth
from models.errors import BenchError

log = logging.getLogger(__name__)


class Annotated(NamedTuple):
    """The images of a file by id, in order: name, (width, height), and what is in each."""

    names: tuple[str, ...]
    sizes: np.ndarray
    truths: tuple[Truth, ...]


def read_annotations(file: Path, side: Side) -> Annotated:
    """Return what `file` says of one side of a set.

    With masks on the side that is evaluated on, where all objects have some.

    Raises BenchError, naming the file, for annotations that cannot be read or make no sense.
    """
    about = file.stat()
    return _parsed(file, side, about.st_ino, about.st_size, about.st_mtime_ns)


@lru_cache(maxsize=2)
def _parsed(file: Path, side: Side, *about: int) -> Annotated:
    """Return what `file` says, which is a file of that inode, size and time.

    side: nothing is rated by masks on the one that calibration images are from.
    """
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        advice = "fetch or write" if isinstance(error, ValueError) else "make it readable, or fetch"
        raise BenchError(
            f"cannot read annotations from {str(file)!r}: {reason}; {advice} the file again"
        ) from error
    try:
        return _read(content, str(file), with_masks=side == "eval")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        lacks = isinstance(error, KeyError)
        reason = f"something lacks {error}" if lacks else " ".join(str(error).split())
        raise BenchError(
            f"{str(file)!r} is no COCO file of objects: {reason}; it has lists `images` (id, "
            "file_name, width, height), `annotations` (image_id, category_id, bbox) and "
            "`categories` (id)"
        ) from error


def _read(content: Mapping[str, Any], file: str, with_masks: bool) -> Annotated:
    images = sorted(content["images"], key=lambda image: int(image["id"]))
    known = {int(category["id"]) for category in content["categories"]}
    ids = [int(image["id"]) for image in images]
    if not images:
        raise BenchError(f"{file!r} lists no images")
    if len(set(ids)) < len(ids):
        twice = next(one for one, other in pairwise(ids) if one == other)
        raise BenchError(f"{file!r} has two images with the id {twice}; give each its own")
    names = [_name(image, file) for image in images]
    if len(set(names)) < len(names):
        again = next(name for name, times in Counter(names).items() if times > 1)
        raise BenchError(f"{file!r} has two images with the name {again!r}; list each once")
    of_image: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for annotation in content["annotations"]:
        of_image[int(annotation["image_id"])].append(_checked(annotation, known, file))
    if strangers := len(of_image.keys() - set(ids)):
        log.warning(
            "warning: %s has annotations of %d images that it does not list; as in COCO's own "
            "evaluation they do not count",
            *(file, strangers),
        )
    sizes = [_size(image, file) for image in images]
    truths = [_truth(of_image.get(number, [])) for number in ids]
    masks: list[Segmentations] = []
    if with_masks and _have_masks(content["annotations"], file):
        for number, size in zip(ids, sizes, strict=True):
            shapes = [shape_of(a, *size, _which(a, file)) for a in of_image.get(number, [])]
            masks.append(Segmentations(shapes, *size))
        truths = [truth._replace(masks=of) for truth, of in zip(truths, masks, strict=True)]
    return Annotated(
        names=tuple(names),
        sizes=np.array(sizes, dtype=np.int64),
        truths=tuple(truths),
    )


def _have_masks(annotations: Sequence[Mapping[str, Any]], file: str) -> bool:
    """Return whether all objects have masks; say it where only some have."""
    without = [annotation for annotation in annotations if not has_shape(annotation)]
    if without and len(without) < len(annotations):
        log.warning(
            "warning: %d of %d annotations of %s, the first of them %s, have no segmentation, so "
            "that masks are not rated",
            *(len(without), len(annotations), file, without[0].get("id", "?")),
        )
    return not without


def _checked(annotation: Mapping[str, Any], known: set[int], file: str) -> Mapping[str, Any]:
    which = _which(annotation, file)
    if int(annotation["category_id"]) not in known:
        raise BenchError(
            f"{which} has the category {annotation['category_id']}, which is not among the "
            "categories of the file; add it there"
        )
    box = annotation["bbox"]
    if len(box) != 4 or not all(math.isfinite(value) for value in box) or min(box[2:]) < 0:
        raise BenchError(
            f"{which} has the box {box}, and left, top, width and height in pixels are wanted; "
            "correct it"
        )
    area = float(annotation.get("area", 0))
    if not (math.isfinite(area) and area >= 0):
        raise BenchError(f"{which} has the area {area:g}, and square pixels are wanted; correct it")
    return annotation


def _which(annotation: Mapping[str, Any], file: str) -> str:
    return f"annotation {annotation.get('id', '?')} of {file!r}"


def _name(image: Mapping[str, Any], file: str) -> str:
    name = str(image["file_name"])
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise BenchError(f"{file!r} names the image {name!r}, which is not inside its folder")
    return name


def _size(image: Mapping[str, Any], file: str) -> tuple[int, int]:
    width, height = int(image["width"]), int(image["height"])
    if width < 1 or height < 1:
        raise BenchError(
            f"the image {image['file_name']!r} of {file!r} is {width} x {height} pixels large; "
            "correct it, or take it out"
        )
    return width, height


def _truth(annotations: list[Mapping[str, Any]]) -> Truth:
    boxes = np.array([a["bbox"] for a in annotations], dtype=np.float64).reshape(-1, 4)
    areas = [a.get("area", a["bbox"][2] * a["bbox"][3]) for a in annotations]
    return Truth(
        boxes=boxes,
        classes=np.array([int(a["category_id"]) for a in annotations], dtype=np.int64),
        crowd=np.array([bool(a.get("iscrowd", 0)) for a in annotations], dtype=bool),
        areas=np.array(areas, dtype=np.float64),
    )
