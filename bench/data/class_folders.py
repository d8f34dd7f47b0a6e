"""Image files in one folder a class."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from bench.data.listing import Listing, Side, fingerprint_of
from models.errors import BenchError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True)
class ImageFile:
    """name: "class/file". time_ns: modification time, nanoseconds since 1970."""

    name: str
    size_bytes: int
    time_ns: int


def class_names(folder: Path) -> list[str]:
    """Return the names of the folders in `folder`, sorted; hidden ones are left out.

    Raises BenchError when `folder` cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(e.name for e in entries if not e.name.startswith(".") and e.is_dir())
    except OSError as error:
        raise BenchError(f"cannot list {str(folder)!r}: {error.strerror}; check it") from error


def image_files(folder: Path, name: str, layout: str) -> list[ImageFile]:
    """Return the images of the class `name`, sorted by name.

    Hidden files and files that are no images by their suffix are left out.
    Raises BenchError, quoting the `layout` expected, when there is a folder inside, or no image.
    """
    files = []
    try:
        with os.scandir(folder / name) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    raise BenchError(f"unexpected folder {entry.path!r}; expected {layout}")
                if os.path.splitext(entry.name)[1].lower() in SUFFIXES:  # noqa: PTH122 (3x faster)
                    stat = entry.stat()
                    file = ImageFile(f"{name}/{entry.name}", stat.st_size, stat.st_mtime_ns)
                    files.append(file)
    except OSError as error:
        path = error.filename or folder / name
        raise BenchError(f"cannot read {str(path)!r}: {error.strerror}; check it") from error
    if not files:
        raise BenchError(f"no images in {str(folder / name)!r}; expected {layout}")
    return sorted(files, key=lambda file: file.name)


def scan_class_folders(
    folder: Path, side: Side, reported: str, label_of: Mapping[str, int], layout: str
) -> Listing:
    """List `folder`/class/image with the labels `label_of` gives the classes.

    reported: the name results are reported under. layout: quoted in errors.
    Raises BenchError on no, empty, nested or unknown (not in `label_of`) class folders.
    """
    files: list[ImageFile] = []
    labels: list[int] = []
    names = class_names(folder)
    if not names:
        raise BenchError(f"no class folders in {str(folder)!r}; expected {layout}")
    for name in names:
        if name not in label_of:
            raise BenchError(
                f"folder {str(folder / name)!r} is not a class of {reported!r}; expected {layout}"
            )
        in_class = image_files(folder, name, layout)
        files += in_class
        labels += [label_of[name]] * len(in_class)
    content = [
        part
        for f, label in zip(files, labels, strict=True)
        for part in (f.name, f.size_bytes, label)
    ]
    return Listing(
        name=reported,
        side=side,
        files=tuple(file.name for file in files),
        labels=np.array(labels, dtype=np.int64),
        classes=len(names),
        fingerprint=fingerprint_of(content),
        stamp=fingerprint_of([folder.resolve(), *(file.time_ns for file in files)]),
        outputs=len(label_of),
    )


def file_reader(folder: Path, listing: Listing) -> Callable[[int], Image.Image]:
    """Return what opens file i of `listing`, whose names are relative to `folder`."""
    return lambda index: Image.open(folder / listing.files[index])
