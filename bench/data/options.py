"""The `data` node of the configuration, checked."""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from models.errors import BenchError
from models.paths import expanded
from models.registry import did_you_mean

CLIP_KEYS = ("segments", "candidates")


@dataclass(frozen=True)
class Options:
    """What the `data` node says; a key that a data set does not have is at its default.

    root: the folder the files are under; relative to the current directory, `~` expanded.
    download: whether missing files may be fetched.
    label: the name results are reported under, where the data set does not fix it.
    limit: number of images of the eval side to keep, at least 1; None for all.
    subset: the same of the train side.
    skip_bad: whether images that cannot be decoded are left out, or else end the cell.
    segments: equal parts of a clip, of each of which a frame is seen, at least 1.
    candidates: frames of each segment that are kept of a training clip, at least 1.
    """

    name: str
    root: Path | None = None
    download: bool = False
    label: str | None = None
    limit: int | None = None
    subset: int | None = None
    skip_bad: bool = False
    segments: int = 1
    candidates: int = 1

    def folder(self, holds: str) -> Path:
        """Return `root`. Raises BenchError, saying what it `holds`, when there is none."""
        if self.root is None:
            raise BenchError(
                f"data.root is not set for data set {self.name!r}; set it to the folder that "
                f"holds {holds}"
            )
        if not self.root.is_dir():
            raise BenchError(
                f"data.root={str(self.root)!r} is not a folder; set it to the one that holds "
                f"{holds}"
            )
        return self.root


def name_of(config: Mapping[str, object]) -> str:
    """Return `name`. Raises BenchError when it is missing or not a name."""
    name = config.get("name")
    if not isinstance(name, str) or not name:
        raise BenchError(f"data.name={name!r} is not a name; set it to that of a data set")
    return name


def read_options(config: Mapping[str, object], keys: Collection[str]) -> Options:
    """Check `config` against the `keys` a data set has besides `name`, `limit` and `subset`.

    Raises BenchError on an unknown key and on a value of the wrong type or range.
    """
    name = name_of(config)
    known = {"name", "limit", "subset", *keys}
    for key in config:
        if key not in known:
            hint = did_you_mean(str(key), known)
            raise BenchError(f"data set {name!r} has no option {str(key)!r}; {hint}")
    root, label = config.get("root"), config.get("label")
    if root is not None and not (isinstance(root, str | os.PathLike) and str(root).strip()):
        raise BenchError(f"data.root={root!r} is not a path; set it to a folder, or leave it null")
    if label is not None and not (isinstance(label, str) and label.strip()):
        raise BenchError(f"data.label={label!r} is not a name; set it to one, or leave it null")
    try:
        path = None if root is None else expanded(str(root)).absolute()
    except BenchError as error:
        raise BenchError(f"data.root={error}") from error
    return Options(
        name=name,
        root=path,
        download=_flag(config, "download"),
        label=label,
        limit=_count(config, "limit"),
        subset=_count(config, "subset"),
        skip_bad=_flag(config, "skip_bad"),
        segments=_number(config, "segments"),
        candidates=_number(config, "candidates"),
    )


def _flag(config: Mapping[str, object], key: str) -> bool:
    flag = config.get(key, False)
    if not isinstance(flag, bool):
        raise BenchError(f"data.{key}={flag!r} is neither true nor false; set it to one")
    return flag


def _number(config: Mapping[str, object], key: str) -> int:
    number = config.get(key, 1)
    if isinstance(number, int) and not isinstance(number, bool) and number >= 1:
        return number
    raise BenchError(f"data.{key}={number!r} is not a number of frames; set it to 1 or more")


def _count(config: Mapping[str, object], key: str) -> int | None:
    count = config.get(key)
    # A bool is an int, and true is no number of images.
    if count is None or (isinstance(count, int) and not isinstance(count, bool) and count >= 1):
        return count
    raise BenchError(
        f"data.{key}={count!r} is not a number of images; set it to 1 or more, or leave it null "
        "for all"
    )
