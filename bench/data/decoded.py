"""From what a data set gives, an image or a text, to the numbers that are kept of it."""

from typing import cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from bench.data.listing import Text
from bench.data.pixels import pixels_of
from models.preprocessing import UNKNOWN, Preparation, Preprocessing, Words


def decoded(item: Image.Image | Text, preparation: Preparation) -> npt.NDArray[np.generic]:
    """Return what is kept of an image or of a text, `preparation.stored_shape`.

    Raises as `pixels_of` and `ids_of`.
    """
    if isinstance(preparation, Words):
        return ids_of(cast("Text", item), preparation)
    return pixels_of(cast("Image.Image", item), cast("Preprocessing", preparation))


def ids_of(text: Text, words: Words) -> npt.NDArray[np.int32]:
    """Return the row of ids (words.size,) of a text; see `Words`.

    Raises ValueError for one without a word, and for numbers that are no rank.
    """
    if text.ndim != 1 or not len(text):
        raise ValueError("it has no words")
    if text.min() < 0:
        raise ValueError(f"{text.min()} is the rank of no word, which count from 0")
    ids = text[: words.size] + UNKNOWN + 1
    row = np.zeros(words.size, dtype=words.stored_type)
    row[: len(ids)] = np.where(ids < words.vocabulary, ids, UNKNOWN)
    return row
