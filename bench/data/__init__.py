"""Image sets: what they consist of, and their decoded cache.

Importing this imports neither torch nor Pillow; a data set's own module is imported when asked for.
"""

from bench.data.cache import ImageCache, decode, discard, reopen, with_whole_images
from bench.data.calibration import calibration_indices
from bench.data.datasets import DATASETS, scan
from bench.data.imageset import DamagedImages, ImageSet
from bench.data.listing import Dataset, Listing, Side
from bench.data.options import Options
from bench.data.outputs import check_outputs
from bench.data.training import check_training

__all__ = [
    "DATASETS",
    "DamagedImages",
    "Dataset",
    "ImageCache",
    "ImageSet",
    "Listing",
    "Options",
    "Side",
    "calibration_indices",
    "check_outputs",
    "check_training",
    "decode",
    "discard",
    "reopen",
    "scan",
    "with_whole_images",
]
