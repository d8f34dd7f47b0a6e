"""From the identity of a weights file to a network that carries it."""

import hashlib
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from models.checksum import sha256_of
from models.errors import BenchError, first_line
from models.registry import import_attribute
from models.zoo.identity import Factory, Weights, ZooEntry

StateDict = dict[str, Tensor]

KEYS_NAMED = 3
# How many batches a BatchNorm has seen. Only training reads it, and files that PyTorch wrote before
# 0.4.1 lack it: it may be absent.
COUNTER = ".num_batches_tracked"


class LoadedNetwork(NamedTuple):
    """A network with its weights, and their sha256 (see Weights.sha256)."""

    network: nn.Module
    sha256: str


def load(entry: ZooEntry, weights: Weights) -> LoadedNetwork:
    """Build the network of `entry` on the CPU and load `weights` into it, strictly.

    Weights that come with a network bring it along. The network is in eval mode, with no parameter
    requiring gradients.

    Raises BenchError when the weights are missing, have another sha256 than `weights` says (checked
    before any of a file is parsed), cannot be read, hold NaN or infinity, or do not fit the
    network.
    """
    if isinstance(weights.locate, Factory):
        where = f"weights {weights.tag!r} of {entry.name}"
        network = weights.locate.network()
        state = network.state_dict()
        sha256 = state_sha256(state)
        if weights.sha256 not in (None, sha256):
            raise BenchError(
                f"{where} were {weights.sha256} and are {sha256} now (sha256); return the same "
                "weights at each call, or give model.weights=FILE.safetensors"
            )
        _refuse_not_finite(state, where)
    else:
        path = weights.path()
        where = f"weights {weights.tag!r} of {entry.name} at {path}"
        sha256 = sha256_of(path)
        if weights.sha256 not in (None, sha256):
            raise BenchError(
                f"{where} have sha256 {sha256}, expected {weights.sha256}; "
                "the file is damaged or another release: install or copy it again"
            )
        state = read_state(path)
        if weights.convert is not None:
            convert = cast("Callable[[StateDict], StateDict]", import_attribute(weights.convert))
            state = convert(state)
        _refuse_not_finite(state, where)
        network = entry.network()
        needed = network.state_dict()
        state = {k: t for k, t in needed.items() if k.endswith(COUNTER)} | state
        _refuse_misfit(state, needed, where)
        network.load_state_dict(state, strict=True)
    return LoadedNetwork(network.eval().requires_grad_(False), sha256)


def state_sha256(state: Mapping[str, Tensor]) -> str:
    """Return the sha256 of the safetensors file that would hold `state` and nothing else."""
    # Cloned, because tensors that share memory cannot be saved.
    plain = {
        key: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for key, tensor in state.items()
    }
    return hashlib.sha256(save(plain)).hexdigest()


def read_state(path: Path) -> StateDict:
    """Read a file of named tensors: safetensors by its suffix, otherwise a PyTorch checkpoint.

    No code of a checkpoint is executed (`weights_only`).
    Raises BenchError when it is not such a file, is cut short, or holds anything but tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (
        SafetensorError,
        pickle.UnpicklingError,
        zipfile.BadZipFile,
        EOFError,
        RuntimeError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
    ) as error:
        raise BenchError(
            f"cannot read weights from {path}: {_why(error, path)}; give a complete .safetensors "
            "file or a PyTorch state dict that loads with weights_only=True"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(t, Tensor) for t in state.values()):
        raise BenchError(
            f"{path} holds no state dict (names to tensors); save the network's state_dict() alone"
        )
    return dict(state)


def _why(error: Exception, path: Path) -> str:
    reason = first_line(error) or type(error).__name__
    if path.suffix == ".safetensors":
        return reason
    if not _is_of_pytorch(path):
        return "it is no PyTorch or safetensors file"
    if program := _program(path):
        return f"it is {program}, and weights are wanted"
    # PyTorch advises to run its code.
    is_code = isinstance(error, pickle.UnpicklingError) or "weights_only" in str(error)
    return "it holds more than tensors, or is damaged" if is_code else reason


def _program(path: Path) -> str | None:
    """Return in words what a file holds that is a whole network with its code."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.rpartition("/")[2] for name in archive.namelist()}
    except (OSError, zipfile.BadZipFile):
        return None
    if "constants.pkl" in names:
        return "a TorchScript program (torch.jit.save)"
    return "an exported program (torch.export.save)" if "archive_format" in names else None


def _is_of_pytorch(path: Path) -> bool:
    """Return whether a file begins as one of PyTorch: a zip archive, or before 1.6 a pickle."""
    with path.open("rb") as file:
        return file.read(2).startswith((b"PK", b"\x80"))


def _refuse_not_finite(state: Mapping[str, Tensor], where: str) -> None:
    for key, tensor in state.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise BenchError(f"{where}: {key!r} holds NaN or infinity; use another weights file")


def _refuse_misfit(state: Mapping[str, Tensor], needed: Mapping[str, Tensor], where: str) -> None:
    faults = []
    for word, keys in (
        ("missing", [key for key in needed if key not in state]),
        ("unexpected", [key for key in state if key not in needed]),
    ):
        if keys:
            more = f" and {len(keys) - KEYS_NAMED} more" if len(keys) > KEYS_NAMED else ""
            faults.append(f"{word} {', '.join(keys[:KEYS_NAMED])}{more}")
    shapes = [
        f"{key} is {tuple(state[key].shape)}, not {tuple(tensor.shape)}"
        for key, tensor in needed.items()
        if key in state and state[key].shape != tensor.shape
    ]
    faults.extend(shapes[:KEYS_NAMED])
    if faults:
        raise BenchError(f"{where} do not fit the network: {'; '.join(faults)}; use its own keys")
