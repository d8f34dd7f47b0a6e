"""COCO-format folders: images, and their objects in a JSON file (Lin et al., ECCV 2014)."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from bench.data.annotations import read_annotations
from bench.data.class_folders import ClassFolders, FilesInClasses
from bench.data.listing import Listing, Side, fingerprint_of
from bench.data.options import Options
from bench.data.truths import digest_of
from models.errors import BenchError

if TYPE_CHECKING:
    from PIL import Image

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


class Coco(FilesInClasses):
    """root/annotations/instances_val2017.json with root/val2017/*.jpg, and so for train2017.

    Folders may be called val2014, val or test (train2014, train) too, and the file
    annotations/FOLDER.json, FOLDER.json or FOLDER/_annotations.coco.json.

    As COCO's own evaluation has it: images without annotations count, files that the annotations do
    not name do not, nor do annotations of images that are not listed; a crowd is neither to be
    found nor wrong to be found; category ids may have gaps; boxes that reach out of their image are
    taken as they are. Where all objects to evaluate on have a `segmentation`, those are their
    masks, for a network that finds masks too.
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
        names, sizes, truths = read_annotations(where.file, side)
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
