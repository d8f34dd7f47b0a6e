"""Video clips that a list file names with their labels, such as those of Mini-Kinetics."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from bench.data.class_folders import ClassFolders, FilesInClasses
from bench.data.listing import Listing, Side, fingerprint_of
from bench.data.options import Options
from bench.data.segments import places
from bench.data.video import decoder_version, frames_at
from models.clips import Clip
from models.errors import BenchError

if TYPE_CHECKING:
    from PIL import Image

LISTS: Mapping[Side, tuple[str, ...]] = {
    "train": ("train.txt", "mini_train.txt"),
    "eval": ("val.txt", "mini_val.txt", "test.txt", "mini_test.txt"),
}
SUFFIXES = (".mp4", ".mkv", ".webm", ".avi", ".mov")
"""Tried, in this order, where a list names a clip without one."""

LINE = "path[, number of frames], label"
# The numbers end the line; what is before them is the path, which may have spaces.
_LINE = re.compile(r"(?P<path>.+?)(?:[\s;,]+(?P<numbers>\d+(?:[\s;,]+\d+){0,2}))\s*")


class _Listed(NamedTuple):
    """The clips of a list, in its order: paths as they are there, and labels."""

    names: tuple[str, ...]
    labels: np.ndarray


@dataclass(frozen=True)
class ClipFolder(ClassFolders):
    """The folder that paths are relative to, and `file`, the list of one side."""

    file: Path = Path()
    clip: Clip | None = None

    @property
    def kept_apart(self) -> tuple[object, ...]:
        return tuple(self.clip or ())

    def signature(self) -> str:
        """Return what changes when the list does, or a clip comes, goes or is renamed."""
        about = self.file.stat()
        folders = sorted({(self.folder / name).parent for name in _read(self.file).names})
        parts: list[object] = [about.st_ino, about.st_size, about.st_mtime_ns]
        for folder in folders:
            if folder.is_dir():
                of_folder = folder.stat()
                parts += [of_folder.st_ino, of_folder.st_mtime_ns]
        return fingerprint_of(parts)


class Clips(FilesInClasses):
    """root/train.txt and root/val.txt (or mini_train.txt, mini_val.txt), which name video files.

    A line has the path of a clip, relative to the root, and its label, counted from 0; between
    them may stand the number of frames, as in the lists of TSN's release, or the first and the last
    frame, as in those of VideoIQ's (Sun et al., ICCV 2021), whose first author is CoQuant's: 1 and
    their number. They are those of a folder of extracted frames; here frames are counted as they
    are decoded. Fields are separated by blanks, semicolons or commas. A path without a suffix is
    that of the file with one of `SUFFIXES`.
    """

    keys: ClassVar[frozenset[str]] = frozenset(
        {"root", "label", "skip_bad", "segments", "candidates"}
    )

    def __init__(self, options: Options) -> None:
        self.options = options

    def class_folders(self, side: Side) -> ClipFolder:
        names = LISTS[side]
        layout = f"data.root/{names[0]} with lines of {LINE}"
        root = self.options.folder(f"{' or '.join(names)}, and clips")
        file = next((root / name for name in names if (root / name).is_file()), None)
        if file is None:
            raise BenchError(f"no file {' or '.join(names)} in {str(root)!r}; expected {layout}")
        reported = self.options.label or root.resolve().name
        return ClipFolder(root, reported, {}, layout, file, self._clip(side))

    def _clip(self, side: Side) -> Clip:
        return Clip(self.options.segments, self.options.candidates if side == "train" else 1)

    def scan(self, side: Side) -> Listing:
        """List one side in the order of its list, with names, sizes and labels as fingerprint.

        Raises BenchError, naming the line, for a list that cannot be read, and for clips that are
        not there; and where PyAV is not installed.
        """
        decoder = decoder_version()
        where = self.class_folders(side)
        listed = _read(where.file)
        names, stats = _found(where, listed.names)
        sizes, times = stats[:, 1].tolist(), stats[:, 2].tolist()
        marks = zip(names, sizes, listed.labels.tolist(), strict=True)
        return Listing(
            name=where.reported,
            side=side,
            files=names,
            labels=listed.labels,
            classes=len(np.unique(listed.labels)),
            fingerprint=fingerprint_of([part for parts in marks for part in parts]),
            stamp=fingerprint_of([where.folder.resolve(), decoder, *times]),
            stats=stats,
            clip=where.clip,
        )

    def reader(self, listing: Listing) -> "Callable[[int], Image.Image | list[Image.Image]]":
        folder, side = self.class_folders(listing.side).folder, listing.side
        clip = self._clip(side)

        def read(index: int) -> "list[Image.Image]":
            return frames_at(folder / listing.files[index], lambda n: places(n, clip, side))

        return read


def _read(file: Path) -> _Listed:
    """Return what a list says. Raises BenchError naming a line that is not understood."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise BenchError(f"cannot read {str(file)!r}: {reason}") from error
    names: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if line.strip():
            name, label = _parsed(line, f"line {number} of {str(file)!r}")
            if name in names:
                raise BenchError(
                    f"line {number} of {str(file)!r} names {name!r}, which another does; "
                    "take one of them out"
                )
            names[name] = label
    if not names:
        raise BenchError(f"{str(file)!r} names no clip; expected lines of {LINE}")
    return _Listed(tuple(names), np.array(list(names.values()), dtype=np.int64))


def _parsed(line: str, where: str) -> tuple[str, int]:
    match = _LINE.fullmatch(line)
    if match is None:
        raise BenchError(f"{where} is {line.strip()!r}; expected {LINE}, separated by blanks or ;")
    name, numbers = match["path"].strip(), re.findall(r"\d+", match["numbers"])
    if len(numbers) == 3 and int(numbers[0]) != 1:
        raise BenchError(
            f"{where} takes frames {numbers[0]} to {numbers[1]} out of {name!r}; only whole files "
            "are read: cut it, or let it begin with frame 1"
        )
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise BenchError(f"{where} names {name!r}, which is not inside data.root")
    return name, int(numbers[-1])


def _found(where: ClipFolder, listed: tuple[str, ...]) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the names of the files, and what `Listing.stats` says of each."""
    names, missing = [], []
    stats = np.zeros((len(listed), 4), dtype=np.int64)
    for row, name in zip(stats, listed, strict=True):
        paths = (where.folder / f"{name}{suffix}" for suffix in ("", *SUFFIXES))
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            missing.append(name)
            continue
        about = path.stat()
        row[:] = about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns
        names.append(path.relative_to(where.folder).as_posix())
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        frames = " (a folder of frames is not read)" if (where.folder / missing[0]).is_dir() else ""
        raise BenchError(
            f"{str(where.file)!r} names clips that are not in {str(where.folder)!r}: {missing[0]}"
            f"{more}{frames}; put the video files there, or take the lines out of the list"
        )
    return tuple(names), stats
