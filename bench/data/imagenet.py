"""ImageNet-1k (ILSVRC 2012), or any part of it, in synset folders."""

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from bench.data.class_folders import ClassFolders, FilesInClasses, class_names
from bench.data.listing import Side
from bench.data.options import Options
from models.errors import BenchError

CLASSES = 1000
SYNSET = re.compile(r"n\d{8}")


@cache
def synsets() -> tuple[str, ...]:
    """Return the 1,000 synsets in the order of the networks' outputs.

    From the list that timm packages, read as a file: importing timm would import torch.
    Raises BenchError when timm is not installed or no longer has it.
    """
    spec = find_spec("timm")
    for location in (spec and spec.submodule_search_locations) or []:
        path = Path(location, "data", "_info", "imagenet_synsets.txt")
        names = tuple(path.read_text(encoding="utf-8").split()) if path.is_file() else ()
        if len(names) == CLASSES:
            return names
    raise BenchError(
        "timm's list of the 1,000 ImageNet synsets (timm/data/_info/imagenet_synsets.txt) is not "
        "there; install timm again"
    )


class ImageNet(FilesInClasses):
    """root/train/SYNSET/*.JPEG and root/val/SYNSET/*.JPEG; for evaluation also root/SYNSET/*.JPEG.

    A label is the synset's place among all 1,000, however few of their folders there are.
    """

    keys: ClassVar[frozenset[str]] = frozenset({"root", "skip_bad"})

    def __init__(self, options: Options) -> None:
        self.options = options

    def _layout(self, side: Side) -> str:
        folder = "train" if side == "train" else "val"
        return f"data.root/{folder}/SYNSET/*.JPEG with SYNSET one of the 1,000 such as n01440764"

    def _folder(self, side: Side) -> Path:
        root = self.options.folder("train/SYNSET/*.JPEG and val/SYNSET/*.JPEG")
        folder = root / ("train" if side == "train" else "val")
        if folder.is_dir():
            return folder
        if side == "eval" and any(SYNSET.fullmatch(name) for name in class_names(root)):
            return root
        raise BenchError(f"no folder {str(folder)!r}; expected {self._layout(side)}")

    def class_folders(self, side: Side) -> ClassFolders:
        label_of = {name: label for label, name in enumerate(synsets())}
        return ClassFolders(self._folder(side), "imagenet", label_of, self._layout(side))
