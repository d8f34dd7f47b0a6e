"""COCO-format folders: images, and their objects in a JSON file (Lin et al., ECCV 2014)."""

import json
import logging
import math
import os
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from bench.data.class_folders import ClassFolders, FilesInClasses
from bench.data.listing import Listing, Side, fingerprint_of
from bench.data.options import Options
from bench.data.truths import digest_of
from bench.statistics.boxes import Truth
from models.errors import BenchError

if TYPE_CHECKING:
    from PIL import Image

log = logging.getLogger(__name__)

FOLDERS: Mapping[Side, tuple[str, ...]] = {
    "train": ("train2017", "train2014", "train"),
    "eval": ("val2017", "val2014", "val", "test"),
}
FILES = ("annotations/instances_{0}.json", "annotations/{0}.json", "{0}.json", "{0}/{1}")
_ROBOFLOW = "_annotations.coco.json"
_COCO = ("train2017", "val2017")  # folders that are COCO itself, by their names


@dataclass(frozen=True)
class CocoFolder(ClassFolders):
    """Where the images of one side lie, and `file`, their annotations."""

    file: Path = Path()

    def signature(self) -> str:
        """Return what changes when an image comes, goes or is renamed, or annotations change."""
        try:
            images, file = self.folder.stat(), self.file.stat()
        except OSError as error:
            raise BenchError(f"cannot read {str(error.filename)!r}: {error.strerror}") from error
        times = images.st_mtime_ns, file.st_ino, file.st_size, file.st_mtime_ns
        return fingerprint_of((images.st_ino, *times))


class _Annotated(NamedTuple):
    """The images of a file by id, in order: name, (width, height), and what is in each."""

    names: tuple[str, ...]
    sizes: np.ndarray
    truths: tuple[Truth, ...]


class Coco(FilesInClasses):
    """root/annotations/instances_val2017.json with root/val2017/*.jpg, and so for train2017.

    Folders may be called val2014, val or test (train2014, train) too, and the file
    annotations/FOLDER.json, FOLDER.json or FOLDER/_annotations.coco.json.

    As COCO's own evaluation has it: images without annotations count, files that the annotations do
    not name do not, nor do annotations of images that are not listed; a crowd is neither to be
    found nor wrong to be found; category ids may have gaps; boxes that reach out of their image are
    taken as they are.
    """

    task: ClassVar[str] = "detection"
    keys: ClassVar[frozenset[str]] = frozenset({"root", "label", "skip_bad"})

    def __init__(self, options: Options) -> None:
        self.options = options

    def class_folders(self, side: Side) -> CocoFolder:
        names = FOLDERS[side]
        layout = f"data.root/{names[0]}/*.jpg and data.root/{FILES[0].format(names[0])}"
        root = self.options.folder(f"{names[0]} and annotations")
        folder = next((root / name for name in names if (root / name).is_dir()), None)
        if folder is None:
            raise BenchError(f"no folder {' or '.join(names)} in {str(root)!r}; expected {layout}")
        files = [root / file.format(folder.name, _ROBOFLOW) for file in FILES]
        file = next((file for file in files if file.is_file()), None)
        if file is None:
            raise BenchError(f"no annotations of {str(folder)!r}; expected {layout}")
        name = self.options.label or ("coco" if folder.name in _COCO else root.name)
        return CocoFolder(folder, name, {}, layout, file)

    def scan(self, side: Side) -> Listing:
        """List one side by image id, with names, sizes and objects as fingerprint; see `contents`.

        Raises BenchError, naming the file, for annotations that cannot be read or make no sense,
        and for images that are not there.
        """
        where = self.class_folders(side)
        names, sizes, truths = _annotated(where.file)
        stats = _stats(where, names)
        classes = np.unique(np.concatenate([truth.classes for truth in truths]))
        marks = [part for parts in zip(names, stats[:, 1].tolist(), strict=True) for part in parts]
        return Listing(
            name=where.reported,
            side=side,
            files=names,
            labels=np.zeros(len(names), dtype=np.int64),
            classes=len(classes),
            fingerprint=fingerprint_of([*marks, *map(digest_of, truths)]),
            stamp=fingerprint_of([where.folder.resolve(), *stats[:, 2].tolist()]),
            stats=stats,
            truths=truths,
            sizes=sizes,
        )

    def reader(self, listing: Listing) -> "Callable[[int], Image.Image]":
        from PIL import Image

        folder, sizes = self.class_folders(listing.side).folder, listing.sizes
        assert sizes is not None

        def read(index: int) -> Image.Image:
            image = Image.open(folder / listing.files[index])
            width, height = sizes[index].tolist()
            if image.size != (width, height):
                found = " x ".join(map(str, image.size))
                image.close()
                raise ValueError(
                    f"it is {found} pixels large, and {width} x {height} by its annotations"
                )
            return image

        return read


def _stats(where: CocoFolder, names: tuple[str, ...]) -> np.ndarray:
    stats, missing = np.zeros((len(names), 4), dtype=np.int64), []
    for row, name in zip(stats, names, strict=True):
        try:
            about = os.stat(where.folder / name)  # noqa: PTH116 (of 100,000 files)
        except OSError:
            missing.append(name)
            continue
        row[:] = about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise BenchError(
            f"{str(where.file)!r} names images that are not in {str(where.folder)!r}: {missing[0]}"
            f"{more}; put them there, or take them out of the annotations"
        )
    return stats


def _annotated(file: Path) -> _Annotated:
    about = file.stat()
    return _parsed(file, about.st_ino, about.st_size, about.st_mtime_ns)


@lru_cache(maxsize=2)
def _parsed(file: Path, *about: int) -> _Annotated:
    """Return what `file` says, which is a file of that inode, size and time."""
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise BenchError(f"cannot read annotations from {str(file)!r}: {reason}") from error
    try:
        return _read(content, str(file))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        lacks = isinstance(error, KeyError)
        reason = f"something lacks {error}" if lacks else " ".join(str(error).split())
        raise BenchError(
            f"{str(file)!r} is no COCO file of objects: {reason}; it has lists `images` (id, "
            "file_name, width, height), `annotations` (image_id, category_id, bbox) and "
            "`categories` (id)"
        ) from error


def _read(content: Mapping[str, Any], file: str) -> _Annotated:
    images = sorted(content["images"], key=lambda image: int(image["id"]))
    known = {int(category["id"]) for category in content["categories"]}
    ids = [int(image["id"]) for image in images]
    if not images:
        raise BenchError(f"{file!r} lists no images")
    if len(set(ids)) < len(ids):
        twice = next(one for one, other in pairwise(ids) if one == other)
        raise BenchError(f"{file!r} has two images with the id {twice}; give each its own")
    of_image: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for annotation in content["annotations"]:
        of_image[int(annotation["image_id"])].append(_checked(annotation, known, file))
    if strangers := len(of_image.keys() - set(ids)):
        log.warning(
            "warning: %s has annotations of %d images that it does not list; as in COCO's own "
            "evaluation they do not count",
            *(file, strangers),
        )
    return _Annotated(
        names=tuple(_name(image, file) for image in images),
        sizes=np.array([_size(image, file) for image in images], dtype=np.int64),
        truths=tuple(_truth(of_image.get(number, [])) for number in ids),
    )


def _checked(annotation: Mapping[str, Any], known: set[int], file: str) -> Mapping[str, Any]:
    which = f"annotation {annotation.get('id', '?')} of {file!r}"
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
    return annotation


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
