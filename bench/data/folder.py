"""Any image set in class folders, under a name of its own."""

from pathlib import Path
from typing import ClassVar

from bench.data.class_folders import ClassFolders, FilesInClasses, class_names
from bench.data.listing import Side
from bench.data.options import Options
from models.errors import BenchError

LAYOUT = "data.root/train/CLASS/* and data.root/test/CLASS/* (or val instead of test)"


class Folder(FilesInClasses):
    """root/train/CLASS/image and root/test/CLASS/image; val where there is no test.

    The labels number the sorted class names of both sides together, so that a class missing from
    one side shifts nothing. Reported as `label`, or else as the name of the root folder.
    """

    keys: ClassVar[frozenset[str]] = frozenset({"root", "label", "skip_bad"})

    def __init__(self, options: Options) -> None:
        self.options = options

    def _folders(self) -> dict[Side, Path]:
        root = self.options.folder("train/CLASS/* and test/CLASS/*")
        test = root / "test"
        folders: dict[Side, Path] = {
            "train": root / "train",
            "eval": test if test.is_dir() else root / "val",
        }
        # Both, whichever is asked for: the labels number the classes of the two together.
        for side, folder in folders.items():
            if not folder.is_dir():
                missing = folder if side == "train" else test
                raise BenchError(f"no folder {str(missing)!r}; expected {LAYOUT}")
        return folders

    def class_folders(self, side: Side) -> ClassFolders:
        folders = self._folders()
        names = {name for folder in folders.values() for name in class_names(folder)}
        label_of = {name: label for label, name in enumerate(sorted(names))}
        reported = self.options.label or folders["train"].parent.resolve().name
        return ClassFolders(folders[side], reported, label_of, LAYOUT)
