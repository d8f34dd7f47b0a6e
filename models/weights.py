"""From the identity of a weights file to a network that carries it."""

import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from models.errors import BenchError
from models.registry import import_attribute
from models.zoo import Weights, ZooEntry, sha256_of

StateDict = dict[str, Tensor]

KEYS_NAMED = 3


def load_model(entry: ZooEntry, weights: Weights) -> nn.Module:
    """Build the network of `entry` on the CPU and load `weights` into it, strictly.

    Returns it in eval mode, with no parameter requiring gradients.
    Raises BenchError when the file is missing, has another sha256 than `weights` says (checked
    before any of it is parsed), cannot be read, holds NaN or infinity, or does not fit the network.
    """
    path = weights.path()
    where = f"weights {weights.tag!r} of {entry.name} at {path}"
    found = sha256_of(path)
    if found != weights.sha256:
        raise BenchError(
            f"{where} have sha256 {found}, expected {weights.sha256}; "
            "the file is damaged or another release: install or copy it again"
        )
    state = read_state(path)
    if weights.convert is not None:
        convert = cast("Callable[[StateDict], StateDict]", import_attribute(weights.convert))
        state = convert(state)
    _refuse_not_finite(state, where)
    network = cast("Callable[[], nn.Module]", import_attribute(entry.build))()
    _refuse_misfit(state, network.state_dict(), where)
    network.load_state_dict(state, strict=True)
    return network.eval().requires_grad_(False)


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
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BenchError(
            f"cannot read weights from {path}: {reason}; give a complete .safetensors file or a "
            "PyTorch state dict that loads with weights_only=True"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(t, Tensor) for t in state.values()):
        raise BenchError(
            f"{path} holds no state dict (names to tensors); save the network's state_dict() alone"
        )
    return dict(state)


def _refuse_not_finite(state: Mapping[str, Tensor], where: str) -> None:
    for key, tensor in state.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise BenchError(f"{where}: {key!r} holds NaN or infinity; use another weights file")


def _refuse_misfit(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], where: str) -> None:
    faults = []
    for word, keys in (
        ("missing", [key for key in wanted if key not in state]),
        ("unexpected", [key for key in state if key not in wanted]),
    ):
        if keys:
            more = f" and {len(keys) - KEYS_NAMED} more" if len(keys) > KEYS_NAMED else ""
            faults.append(f"{word} {', '.join(keys[:KEYS_NAMED])}{more}")
    shapes = [
        f"{key} is {tuple(state[key].shape)}, not {tuple(tensor.shape)}"
        for key, tensor in wanted.items()
        if key in state and state[key].shape != tensor.shape
    ]
    faults.extend(shapes[:KEYS_NAMED])
    if faults:
        raise BenchError(f"{where} do not fit the network: {'; '.join(faults)}; use its own keys")
