"""The sets of images, and of texts, there are, by name."""

from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import NamedTuple

from bench.data.class_folders import ClassFolders, FilesInClasses
from bench.data.contents import SetIdentity, read_kept, with_contents
from bench.data.listing import Dataset, Listing, Side, fingerprint_of, limited, subset
from bench.data.options import Options, name_of, read_options
from bench.files.entry import CacheEntry
from bench.files.kinds import CONTENTS
from models.errors import BenchError
from models.registry import Registry

DATASETS: Registry[type[Dataset]] = Registry(
    "data set",
    {
        "cifar10": "bench.data.cifar10:Cifar10",
        "clips": "bench.data.clips:Clips",
        "coco": "bench.data.coco:Coco",
        "digits_canvas": "bench.data.digits_canvas:DigitsCanvas",
        "folder": "bench.data.folder:Folder",
        "imagenet": "bench.data.imagenet:ImageNet",
        "mnist5k": "bench.data.mnist5k:Mnist5k",
        "motion": "bench.data.motion:Motion",
        "topics": "bench.data.topics:Topics",
    },
)


def options_of(config: Mapping[str, object]) -> Options:
    """Check the `data` node. Raises BenchError on an option that is not right."""
    return read_options(config, DATASETS.get(name_of(config)).keys)


def open_dataset(options: Options) -> Dataset:
    return DATASETS.get(options.name)(options)


# Of sets that are always the same.
PACKAGED: Mapping[str, Mapping[Side, int]] = {
    "cifar10": {"train": 50_000, "eval": 10_000},
    "digits_canvas": {"train": 3_000, "eval": 500},
    "mnist5k": {"train": 4_000, "eval": 1_000},
    "motion": {"train": 2_000, "eval": 500},
    "topics": {"train": 12_000, "eval": 4_000},
}

# What a table may read of files that are not known: about a second's work.
_QUICK_BYTES = 2**28


class KnownSet(NamedTuple):
    """What is known of the images that a configuration describes, as a folder was last listed.

    images: of the whole side, without `limit` and `subset`; None where that is not known.
    identity: None of packaged sets, which are always the same.
    """

    images: int | None
    identity: SetIdentity | None


def scan(config: Mapping[str, object], side: Side, cache: Path | None = None) -> Listing:
    """List the images of one side of the data set that `config`, the `data` node, describes.

    No pixel is decoded; files whose content is not known are read. `limit` holds for the eval side,
    `subset` for the train side.
    cache: where checksums of files are kept, `outputs/cache`; None to read every file.
    Raises BenchError on a wrong option and on files that are missing or laid out otherwise.
    """
    return _listed(config, side, cache, inf)[1]


def known_set(config: Mapping[str, object], side: Side, cache: Path) -> KnownSet | None:
    """Return what is known of the images that `config` describes, without reading many.

    Of a folder that is as it was when it was last listed, only the class folders are looked at.
    Returns None where there is none, or too much to be read at once.
    """
    try:
        options = options_of(config)
        if options.name in PACKAGED:
            return KnownSet(PACKAGED[options.name][side], None)
        dataset, count = open_dataset(options), _count(options, side)
        if not isinstance(dataset, FilesInClasses):
            return None
        folders = dataset.class_folders(side)
        kept = read_kept(_entry(cache, options, side, folders), files=False)
        identity = kept.sets.get(count or kept.images)
        if identity is not None and kept.signature == folders.signature():
            return KnownSet(kept.images, identity)
        whole, listing = _listed(config, side, cache, _QUICK_BYTES)
    except (BenchError, OSError):
        return None
    return KnownSet(len(whole), SetIdentity(listing.fingerprint, listing.earlier))


def _listed(
    config: Mapping[str, object], side: Side, cache: Path | None, most_bytes: float
) -> tuple[Listing, Listing]:
    """Return the whole side, and what `limit` or `subset` keep of it."""
    options = options_of(config)
    dataset, count = open_dataset(options), _count(options, side)
    # Before the files are listed: what changes meanwhile is seen the next time.
    folders = dataset.class_folders(side) if isinstance(dataset, FilesInClasses) else None
    signature = "" if folders is None else folders.signature()
    whole = dataset.scan(side)
    keep = subset if side == "train" else limited
    listing = whole if count is None else keep(whole, count)
    if folders is not None:
        entry = None if cache is None else _entry(cache, options, side, folders)
        listing = with_contents(whole, listing, folders.folder, signature, entry, most_bytes)
    return whole, listing


def _count(options: Options, side: Side) -> int | None:
    return options.subset if side == "train" else options.limit


def _entry(cache: Path, options: Options, side: Side, folders: ClassFolders) -> CacheEntry:
    """Return where checksums are kept: by inode, which a folder keeps when it is moved."""
    inode = folders.folder.stat().st_ino
    key = (options.name, side, inode, *folders.kept_apart)
    return CacheEntry(cache, CONTENTS, fingerprint_of(key))
