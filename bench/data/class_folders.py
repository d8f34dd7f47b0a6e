"""Image files in one folder a class."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bench.data.listing import Listing, Side, fingerprint_of
from models.errors import BenchError

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True)
class ClassFolders:
    """Where the images of one side lie: `folder`/class/image.

    reported: the name results are reported under. label_of: the label of each class there may be.
    layout: quoted in errors.
    """

    folder: Path
    reported: str
    label_of: Mapping[str, int]
    layout: str

    @property
    def kept_apart(self) -> tuple[object, ...]:
        """What sets that are read from the same files are told apart by."""
        return ()

    def signature(self) -> str:
        """Return what changes when an image comes, goes or is renamed: of the class folders.

        Not when one is written into. Raises BenchError when they cannot be listed.
        """
        parts: list[object] = []
        for name in class_names(self.folder):
            try:
                about = (self.folder / name).stat()
            except OSError as error:
                raise _unreadable(error, self.folder / name) from error
            parts += [name, self.label_of.get(name), about.st_ino, about.st_mtime_ns]
        return fingerprint_of(parts)


class ImageFile(NamedTuple):
    """name: "class/file". stat: see `Listing.stats`."""

    name: str
    stat: tuple[int, int, int, int]


class FilesInClasses(ABC):
    """A data set of image files in one folder a class."""

    @abstractmethod
    def class_folders(self, side: Side) -> ClassFolders:
        """Return where one side lies. Raises BenchError on any other layout."""

    def scan(self, side: Side) -> Listing:
        """List one side, with the fingerprint of names, sizes and labels; see `contents`.

        Raises BenchError when it is missing or laid out otherwise.
        """
        return scan_class_folders(self.class_folders(side), side)

    def reader(self, listing: Listing) -> "Callable[[int], Image.Image | list[Image.Image]]":
        from PIL import Image

        folder = self.class_folders(listing.side).folder
        return lambda index: Image.open(folder / listing.files[index])


def _unreadable(error: OSError, path: Path) -> BenchError:
    return BenchError(f"cannot read {str(error.filename or path)!r}: {error.strerror}; check it")


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
                    s = entry.stat()
                    stat = (s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns)
                    files.append(ImageFile(f"{name}/{entry.name}", stat))
    except OSError as error:
        raise _unreadable(error, folder / name) from error
    if not files:
        raise BenchError(f"no images in {str(folder / name)!r}; expected {layout}")
    return sorted(files, key=lambda file: file.name)


def scan_class_folders(folders: ClassFolders, side: Side) -> Listing:
    """List `folders` with the labels that they give the classes.

    Raises BenchError on no, empty, nested or unknown (not in `label_of`) class folders.
    """
    files: list[ImageFile] = []
    labels: list[int] = []
    names = class_names(folders.folder)
    if not names:
        raise BenchError(f"no class folders in {str(folders.folder)!r}; expected {folders.layout}")
    for name in names:
        if name not in folders.label_of:
            raise BenchError(
                f"folder {str(folders.folder / name)!r} is not a class of {folders.reported!r}; "
                f"expected {folders.layout}"
            )
        in_class = image_files(folders.folder, name, folders.layout)
        files += in_class
        labels += [folders.label_of[name]] * len(in_class)
    stats = np.array([file.stat for file in files], dtype=np.int64)
    sizes, times = stats[:, 1].tolist(), stats[:, 2].tolist()
    content = [
        part
        for file, size, label in zip(files, sizes, labels, strict=True)
        for part in (file.name, size, label)
    ]
    return Listing(
        name=folders.reported,
        side=side,
        files=tuple(file.name for file in files),
        labels=np.array(labels, dtype=np.int64),
        classes=len(names),
        fingerprint=fingerprint_of(content),
        stamp=fingerprint_of([folders.folder.resolve(), *times]),
        outputs=len(folders.label_of),
        stats=stats,
    )
