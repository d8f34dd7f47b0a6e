"""What identifies a network and its weights; importing this imports neither torch nor a network."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from models.errors import BenchError
from models.preprocessing import Preparation
from models.registry import import_attribute

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class PublishedAccuracy:
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
class PublishedPrecision:
    """A mean average precision of an FP32 detector that someone printed for these weights.

    map: percent, as COCO defines it, on all `images` of the evaluation set called `data`.
    source: who printed it, where.
    """

    map: float
    data: str
    images: int
    source: str


@dataclass(frozen=True)
class Release:
    """One file of a release, fetched when first used: `url` is a zip that holds `file` alone.

    sha1: of the file, 40 lower-case hexadecimal digits.
    """

    url: str
    file: str
    sha1: str


@dataclass(frozen=True)
class HubFile:
    """One file of PyTorch's model hub, fetched when first used.

    url: of the file itself, whose name says the first digits of its SHA-256.
    """

    url: str

    @property
    def sha256(self) -> str:
        """The first digits of the file's SHA-256."""
        return self.url.rpartition("-")[2].partition(".")[0]


@dataclass(frozen=True)
class Factory:
    """What makes a network: "module:function", called with `arguments`. Its weights come along."""

    function: str
    arguments: tuple[str, ...] = ()

    def network(self) -> "nn.Module":
        return cast("Callable[..., nn.Module]", import_attribute(self.function))(*self.arguments)


@dataclass(frozen=True)
class Weights:
    """The identity of the weights of a network.

    tag: how a config names them. source: where they come from, in words.
    locate: "module:function" returning the file's Path, or the Path itself for a local file, or a
        Release or a HubFile, or what makes the network with these weights in it. The function
        raises BenchError, saying what to install, when the file is not there. None: there are no
        weights, the network is to be trained from scratch.
    sha256: of the file; of what a Factory makes, of its state dict as a safetensors file. None
        where it is only known once the weights are here.
    convert: "module:function" from the file's state dict to the network's; None when they agree.
    """

    tag: str
    source: str
    locate: str | Path | Release | HubFile | Factory | None
    sha256: str | None
    preprocessing: Preparation
    published: PublishedAccuracy | PublishedPrecision | None
    convert: str | None = None

    @property
    def identity(self) -> str:
        """What stands for the weights in the id of a cell; known without having them."""
        if self.sha256 is not None:
            return self.sha256
        if isinstance(self.locate, HubFile):
            return f"sha256:{self.locate.sha256}"
        return f"sha1:{self.locate.sha1}" if isinstance(self.locate, Release) else self.tag

    def path(self) -> Path:
        """Return the path of the file, which is fetched if it is a release's.

        Raises BenchError when the file or its package is absent, cannot be fetched, or is not the
        release's, and for weights that are no file.
        """
        if self.locate is None:
            raise BenchError(
                f"model.weights={self.tag} is an untrained network, and trained weights are needed "
                "here; give model.weights=FILE.safetensors, such as bench train writes"
            )
        if isinstance(self.locate, Factory):
            raise BenchError(f"weights {self.tag!r} are no file; they are made with their network")
        if isinstance(self.locate, Release):
            from models.zoo.fetch import fetch  # which imports the web's part of the library

            return fetch(self.locate.url, self.locate.file, self.locate.sha1)
        if isinstance(self.locate, HubFile):
            from models.zoo.fetch import fetch_plain

            return fetch_plain(self.locate.url, self.locate.sha256)
        if isinstance(self.locate, Path):
            return existing(self.locate)
        return existing(cast("Callable[[], Path]", import_attribute(self.locate))())


@dataclass(frozen=True)
class ZooEntry:
    """One architecture and the weights known for it.

    build: "module:function" that, given `arguments`, returns the untrained network.
    classes: number of its outputs; None for a user's own network, which was not built yet.
    weights: by tag, the default first. summary: one line for people.
    preprocessing: for training it, and for a local file of weights.
    timm: what timm calls this network, where it has one; details may differ, such as the
        convolution of a block that has the stride.
    code: SHA-256 of the source file of a user's own network.
    task: what it does with an image: "classification", or "detection" (`bench.tasks`).
    """

    name: str
    build: str
    classes: int | None
    weights: dict[str, Weights]
    summary: str
    preprocessing: Preparation
    arguments: tuple[str, ...] = ()
    timm: str | None = None
    code: str | None = None
    task: str = "classification"

    def network(self) -> "nn.Module":
        """Return a new, untrained network."""
        return Factory(self.build, self.arguments).network()


def existing(path: Path) -> Path:
    """Return `path`. Raises BenchError when there is no such file."""
    if not path.is_file():
        raise BenchError(f"weights file {path} does not exist; check the path or install it again")
    return path
