"""The image sets there are, by name."""

from collections.abc import Mapping

from bench.data.listing import Dataset, Listing, Side, limited, subset
from bench.data.options import Options, name_of, read_options
from models.registry import Registry

DATASETS: Registry[type[Dataset]] = Registry(
    "data set",
    {
        "cifar10": "bench.data.cifar10:Cifar10",
        "folder": "bench.data.folder:Folder",
        "imagenet": "bench.data.imagenet:ImageNet",
        "mnist5k": "bench.data.mnist5k:Mnist5k",
    },
)


def options_of(config: Mapping[str, object]) -> Options:
    """Check the `data` node. Raises BenchError on an option that is not right."""
    return read_options(config, DATASETS.get(name_of(config)).keys)


def open_dataset(options: Options) -> Dataset:
    return DATASETS.get(options.name)(options)


def scan(config: Mapping[str, object], side: Side) -> Listing:
    """List the images of one side of the data set that `config`, the `data` node, describes.

    No pixel is decoded. `limit` holds for the eval side, `subset` for the train side.
    Raises BenchError on a wrong option and on files that are missing or laid out otherwise.
    """
    options = options_of(config)
    listing = open_dataset(options).scan(side)
    if side == "train":
        return listing if options.subset is None else subset(listing, options.subset)
    return listing if options.limit is None else limited(listing, options.limit)
