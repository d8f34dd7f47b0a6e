"""What the zoo knows of each network; importing this imports neither torch nor a network."""

from models.checksum import sha256_of
from models.zoo.catalogue import FILE_SUFFIXES, TIMM, choose_weights, entry, zoo
from models.zoo.identity import PublishedAccuracy, Release, Weights, ZooEntry

__all__ = [
    "FILE_SUFFIXES",
    "TIMM",
    "PublishedAccuracy",
    "Release",
    "Weights",
    "ZooEntry",
    "choose_weights",
    "entry",
    "sha256_of",
    "zoo",
]
