"""Networks, weights and preprocessing of timm, which belong together: `timm/<name>[.<tag>]`."""

import math
from typing import Literal, cast

import timm
from timm.models import PretrainedCfg, get_pretrained_cfg, list_models, split_model_name_tag
from torch import nn

from models.errors import BenchError
from models.preprocessing import Preprocessing
from models.registry import did_you_mean
from models.zoo.identity import Factory, Weights, ZooEntry

PREFIX = "timm/"


def timm_entry(name: str) -> ZooEntry:
    """Return the entry of `name`, such as timm/resnet18.tv_in1k, whose weights are the default.

    Without a tag (timm/resnet18) they are timm's own default.
    Raises BenchError when timm has no such weights, or feeds them in a way that is not known here.
    """
    architecture, config = _known(name)
    weights = timm_weights(name)
    return ZooEntry(
        name=f"{PREFIX}{architecture}",
        build="models.zoo.timm:untrained",
        arguments=(architecture,),
        classes=config.num_classes,
        weights={weights.tag: weights},
        summary=f"timm's {architecture} at {weights.preprocessing.size} px",
        preprocessing=weights.preprocessing,
        timm=architecture,
    )


def timm_weights(name: str) -> Weights:
    """Return the weights called `name`. Raises BenchError as `timm_entry` does."""
    architecture, config = _known(name)
    full = f"{architecture}.{config.tag}"
    return Weights(
        tag=f"{PREFIX}{full}",
        source=f"timm, {config.hf_hub_id or config.url or full}",
        locate=Factory("models.zoo.timm:pretrained", (full,)),
        sha256=None,
        preprocessing=_preprocessing(full, config),
        published=None,
    )


def architecture_of(name: str) -> str:
    """Return timm's name of the network of timm/<name>.<tag>."""
    return split_model_name_tag(name.removeprefix(PREFIX))[0]


def untrained(architecture: str) -> nn.Module:
    return timm.create_model(architecture, pretrained=False)


def pretrained(name: str) -> nn.Module:
    """Return the network with its weights, which timm downloads once and keeps.

    Raises BenchError when they can be neither downloaded nor found where timm keeps them.
    """
    try:
        return timm.create_model(name, pretrained=True)
    # The download goes through several packages, each with errors of its own.
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0].rstrip(".")
        raise BenchError(
            f"timm cannot load {name}: {type(error).__name__}: {reason}; check the network, or set "
            "HF_HOME to a folder of the Hugging Face cache that has it"
        ) from error


def _known(name: str) -> tuple[str, PretrainedCfg]:
    short = name.removeprefix(PREFIX)
    try:
        config = get_pretrained_cfg(short)
    except RuntimeError:  # an unknown tag of a known network
        config = None
    if config is None or not config.tag:
        names = list_models(pretrained=True)
        of_network = [known for known in names if known.startswith(f"{architecture_of(short)}.")]
        options = [f"{PREFIX}{known}" for known in of_network or names]
        raise BenchError(f"timm has no weights {short!r}; {did_you_mean(PREFIX + short, options)}")
    return architecture_of(short), config


def _preprocessing(name: str, config: PretrainedCfg) -> Preprocessing:
    channels, height, width = config.input_size
    faults = {
        f"{channels} x {height} x {width} inputs": channels != 3 or height != width,
        f"crop mode {config.crop_mode!r}": config.crop_mode != "center",
        f"{config.interpolation} resizing": config.interpolation not in ("bilinear", "bicubic"),
    }
    for fault in (fault for fault, present in faults.items() if present):
        raise BenchError(
            f"timm feeds {name} with {fault}, which is not supported; choose weights of square RGB "
            "images, crop mode 'center', bilinear or bicubic resizing"
        )
    return Preprocessing(
        size=height,
        resize=math.floor(height / config.crop_pct),
        interpolation=cast("Literal['bilinear', 'bicubic']", config.interpolation),
        mean=cast("tuple[float, float, float]", tuple(config.mean)),
        std=cast("tuple[float, float, float]", tuple(config.std)),
    )
