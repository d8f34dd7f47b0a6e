"""Image files become pixels, in several threads; what cannot be decoded is named."""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np

from bench.data.datasets import open_dataset
from bench.data.listing import Listing
from bench.data.options import Options
from models.errors import BenchError
from models.preprocessing import Preparation

log = logging.getLogger(__name__)

# Images decoded between two writes: enough to keep the threads busy, 40 MB at 224 pixels.
CHUNK = 256
_CHUNK_BYTES = 2**28  # of clips, which are larger
_NAMED = 5  # of the images left out, in the log


def decoded_chunks(
    listing: Listing, options: Options, preprocessing: Preparation, workers: int
) -> Iterator[dict[str, bytes | None]]:
    """Yield the images in order, `CHUNK` at a time: what is kept, in C order, by name.

    With `skip_bad` one that cannot be decoded is None. Raises BenchError, naming the file, for any
    other image that there is no reading of.
    """
    from PIL import Image

    from bench.data.decoded import decoded

    read = open_dataset(options).reader(listing)
    damage = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)

    def one(index: int) -> bytes | None:
        try:
            opened = read(index)
            if not isinstance(opened, list):
                return decoded(opened, preprocessing).tobytes()
            frames = [decoded(frame, preprocessing) for frame in opened]
            return np.concatenate(frames, axis=2).tobytes()
        except damage as error:
            # An error of the system says nothing of the image, and has a number; Pillow's have not.
            of_image = getattr(error, "errno", None) is None
            if options.skip_bad and of_image:
                return None
            why = " ".join(str(error).split())
            hint = ", or leave such images out with data.skip_bad=true" if of_image else ""
            raise BenchError(cannot_decode(listing, listing.files[index], why) + hint) from error

    size = CHUNK
    if listing.clip is not None:
        size = max(1, min(CHUNK, _CHUNK_BYTES // (preprocessing.places * listing.channels)))
    with _truncated_files_raise(), ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(listing), size):
            chunk = range(start, min(start + size, len(listing)))
            names = (listing.files[i] for i in chunk)
            yield dict(zip(names, pool.map(one, chunk), strict=True))


@contextmanager
def _truncated_files_raise() -> Iterator[None]:
    """Let Pillow raise on a truncated file, though something imported may have told it not to.

    Else the part that is missing would be grey or black, without a word.
    """
    from PIL import ImageFile

    before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def cannot_decode(listing: Listing, name: str, why: str) -> str:
    """Return the error of one image in words."""
    return (
        f"cannot decode {listing.kind} {name!r} of the {listing.side} side of {listing.name!r}: "
        f"{why}; replace the file"
    )


def report(listing: Listing, left_out: list[str]) -> None:
    """Say in one line which images are left out. Raises BenchError when all are."""
    if not left_out:
        return
    side = f"{listing.kind}s of the {listing.side} side of {listing.name!r}"
    if len(left_out) == len(listing):
        raise BenchError(f"none of the {len(listing)} {side} can be decoded; look at data.root")
    more = f" and {len(left_out) - _NAMED} more" if len(left_out) > _NAMED else ""
    log.warning(
        "warning: %d of the %d %s cannot be decoded and are left out: %s%s",
        len(left_out),
        len(listing),
        side,
        ", ".join(left_out[:_NAMED]),
        more,
    )
