"""The networks of the zoo and their weights, by name."""

import os
from functools import cache

from models.checksum import sha256_of
from models.errors import BenchError
from models.paths import expanded
from models.registry import did_you_mean
from models.zoo.efficientnet_lite import efficientnet_lite_entries
from models.zoo.identity import Weights, ZooEntry, existing
from models.zoo.own import own_entries
from models.zoo.pytorchcv import pytorchcv_entries
from models.zoo.torchvision import torchvision_entries

FILE_SUFFIXES = (".safetensors", ".pth", ".pt")
TIMM = "timm/"
UNTRAINED = "none"


def entry(name: str) -> ZooEntry:
    """Return the entry called `name`.

    timm/<name> is a network of timm, and package.module:function a user's own.
    Raises BenchError, with the closest name, when there is none.
    """
    # Only these two import torch.
    if name.startswith(TIMM):
        from models.zoo.timm import timm_entry

        return timm_entry(name)
    if ":" in name:
        from models.zoo.user import user_entry

        return user_entry(name)
    entries = _entries()
    if name not in entries:
        raise BenchError(
            f"unknown model {name!r}; {did_you_mean(name, entries)} (or timm/NAME, or "
            "package.module:function)"
        )
    return entries[name]


def choose_weights(entry: ZooEntry, tag: str) -> Weights:
    """Return the weights of `entry` called `tag`; "default" is the first of them.

    timm/<name> is what timm has under this name, its network and preprocessing included. Another
    `tag` with a slash, or ending in .safetensors, .pth or .pt, is a local file, which has the
    network's own keys and was trained for the preprocessing of the entry. "none" is no weights, for
    a method that trains from scratch; of a user's own network, those its function returns it with.

    Raises BenchError for an unknown tag, for a file that does not exist, and for another network.
    """
    if tag in entry.weights:
        return entry.weights[tag]
    if tag == "default" and entry.weights:
        return next(iter(entry.weights.values()))
    if tag.startswith(TIMM):
        return _timm_weights(entry, tag)
    if "/" in tag or os.sep in tag or tag.endswith(FILE_SUFFIXES):
        path = existing(expanded(tag))
        return Weights(
            tag=path.name,
            source="local file",
            locate=path,
            sha256=sha256_of(path),
            preprocessing=entry.preprocessing,
            published=None,
        )
    if entry.code is not None:
        return _user_weights(entry, tag)
    if tag == UNTRAINED:
        return Weights(
            tag=UNTRAINED,
            source="none, trained from scratch",
            locate=None,
            sha256=None,
            preprocessing=entry.preprocessing,
            published=None,
        )
    if not entry.weights:
        raise BenchError(
            f"{entry.name} comes without weights, so there are none called {tag!r}; give "
            f"model.weights={UNTRAINED} to train it from scratch, or model.weights=FILE.safetensors"
        )
    options = did_you_mean(tag, ["default", UNTRAINED, *entry.weights])
    raise BenchError(f"{entry.name} has no weights {tag!r}; {options}")


def zoo() -> dict[str, ZooEntry]:
    """Return every entry by its name."""
    return dict(_entries())


@cache
def _entries() -> dict[str, ZooEntry]:
    sources = (own_entries, efficientnet_lite_entries, pytorchcv_entries, torchvision_entries)
    return {entry.name: entry for entries in sources for entry in entries()}


def _timm_weights(entry: ZooEntry, tag: str) -> Weights:
    from models.zoo.timm import architecture_of, timm_weights

    weights = timm_weights(tag)
    if architecture_of(tag) != entry.timm:
        known = f"model.weights={TIMM}{entry.timm}.TAG or " if entry.timm else ""
        raise BenchError(
            f"{tag} is another network than {entry.name}; use {known}model.name={weights.tag} "
            "model.weights=default"
        )
    return weights


def _user_weights(entry: ZooEntry, tag: str) -> Weights:
    from models.zoo.user import user_weights

    if tag == UNTRAINED:
        return user_weights(entry)
    raise BenchError(
        f"{entry.name} has no weights {tag!r}; give model.weights=FILE.safetensors, or "
        "model.weights=none when the function returns the network with its weights"
    )
