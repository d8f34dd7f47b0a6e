"""What is kept under outputs/cache to be used again, and how each kind of it lies on disk.

contents/<key>.npz        checksums of image files; lock: contents/<key>.lock
data/<key>/               decoded images, memory-mapped by who evaluates; lock: data/<key>.lock
calibration/<key>/        images, curve, preview; lock: inside
grams/<key>/              Gram matrices of what enters the layers; lock: inside
rounded/<key>/            weights that roundings have learned; lock: inside
sensitivity/<key>.json    of each layer; lock: sensitivity/<key>.lock
search/<key>/             chosen bits, state of the agents; lock: inside
training/<key>/           trained weights, history, a picture of generated images; lock: inside
"""

import re
from dataclasses import dataclass
from typing import Literal

_KEY = re.compile(r"[0-9a-f]{64}|[0-9a-f]{16}")

PIXELS = "images.npy"
PIXEL_CHECKSUMS = "checksums.npy"
ABOUT = "about.json"

IMAGES = "images.safetensors"
INDICES = "indices.json"
CURVE = "curve.json"
PREVIEW = "preview.png"

GRAMS = "grams.safetensors"
LAYERS = "layers.json"

LEARNED = "learned.safetensors"

WEIGHTS = "trained.safetensors"
HISTORY = "history.json"
IDENTITY = "identity.json"
CHECKPOINT = "checkpoint.pt"
GENERATED = "generated.png"

FOUND = "found.json"
AGENTS = "agents.pt"


@dataclass(frozen=True)
class Kind:
    """One kind of cache entry. Paths are below the folder `name`; {key} names the entry.

    path: of the entry, a folder or a file.
    whole: what is written or renamed last and removed first, so that an entry that has it is whole.
    lock: held by who writes or removes the entry. It stays when the entry goes: whoever waits for
        it must not wait for another file.
    damaged: the warning when an entry is not what was written there; %s is its path.
    files: of an entry that is a folder. checked: those whose checksum is kept beside that of
        `whole`; none for a kind that knows by itself when it is damaged.
    lasting: files that outlive a damaged entry. mapped: the file that processes hold memory-mapped.
    copied: when an entry is worth a place in the cache of another folder of results.
    """

    name: str
    path: str
    whole: str
    lock: str
    damaged: str
    files: tuple[str, ...] = ()
    checked: tuple[str, ...] = ()
    lasting: tuple[str, ...] = ()
    mapped: str | None = None
    copied: Literal["never", "whole", "in part too"] = "never"


CONTENTS = Kind(
    name="contents",
    path="{key}.npz",
    whole="{key}.npz",
    lock="{key}.lock",
    damaged="the checksums of images in %s are damaged; the images are read again",
)
DATA = Kind(
    name="data",
    path="{key}",
    whole="{key}",  # made under another name
    lock="{key}.lock",
    damaged="%s is damaged, or has no checksums; decoded again",
    files=(PIXELS, PIXEL_CHECKSUMS, ABOUT),
    mapped=PIXELS,
)
CALIBRATION = Kind(
    name="calibration",
    path="{key}",
    whole=f"{{key}}/{IMAGES}",
    lock="{key}/lock",
    damaged="the calibration images in %s are damaged; made again",
    files=(IMAGES, INDICES, CURVE, PREVIEW),
    checked=(CURVE, INDICES),
    # Images that are made in no time are not kept; their preview and indices are.
    copied="in part too",
)
GRAM = Kind(
    name="grams",
    path="{key}",
    whole=f"{{key}}/{GRAMS}",
    lock="{key}/lock",
    damaged="the Gram matrices in %s are damaged; made again",
    files=(GRAMS, LAYERS),
    checked=(LAYERS,),
)
ROUNDED = Kind(
    name="rounded",
    path="{key}",
    whole=f"{{key}}/{LEARNED}",
    lock="{key}/lock",
    damaged="the rounded weights in %s are damaged; learned again",
    files=(LEARNED, ABOUT),
    checked=(ABOUT,),
)
SENSITIVITY = Kind(
    name="sensitivity",
    path="{key}.json",
    whole="{key}.json",
    lock="{key}.lock",
    damaged="the sensitivities in %s are damaged; measured again",
)
SEARCH = Kind(
    name="search",
    path="{key}",
    whole=f"{{key}}/{FOUND}",
    lock="{key}/lock",
    damaged="the bits found in %s are damaged; searched again",
    files=(FOUND, AGENTS),
    lasting=(AGENTS,),
)
TRAINING = Kind(
    name="training",
    path="{key}",
    whole=f"{{key}}/{WEIGHTS}",
    lock="{key}/lock",
    damaged="the trained network in %s is damaged; trained again",
    files=(WEIGHTS, HISTORY, IDENTITY, CHECKPOINT, GENERATED),
    checked=(HISTORY,),
    lasting=(IDENTITY, CHECKPOINT),
    copied="whole",
)
KINDS = (CONTENTS, DATA, CALIBRATION, GRAM, ROUNDED, SENSITIVITY, SEARCH, TRAINING)


def is_key(text: str) -> bool:
    """Return whether `text` may name an entry; one of a foreign record may lead elsewhere."""
    return _KEY.fullmatch(text) is not None
