"""What one cell is, and the hash that names it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.config.schema import Config
from bench.data import Listing, Side, check_training, scan
from methods.registry import make_method, method_class, needs_real_images
from models.errors import BenchError
from models.quantize.spec import FLOAT_BITS, QuantSpec
from models.zoo import Weights, ZooEntry, choose_weights, entry

if TYPE_CHECKING:  # tables and status hash requests without importing torch
    from methods.base import Method

IDENTITY_VERSION = 1
"""Raised when the harness itself changes what a cell measures."""

_HASH_LENGTH = 16  # hex digits: 64 bits

# Where the images lie and how they got there does not change what they are. Nor does leaving out
# bad ones where there are none, and which ones are bad is known only once they are decoded.
_PLACE_KEYS = ("root", "download", "skip_bad")
_FLOAT_METHOD = {"name": "float", "images": 1}


def digest(content: Any) -> str:
    """Return a short sha256 of `content`, any JSON value; the order of keys does not matter."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_HASH_LENGTH]


@dataclass(frozen=True)
class Cell:
    """One measurement: model x method x quantization recipe x data x seed.

    listing: the evaluation set. calibration: the training side, for a method that needs it.
    precision: bf16 of the network while a method that heeds it makes the images, tf32 of the whole
        cell, or fp32.
    """

    entry: ZooEntry
    weights: Weights
    method: "Method"
    spec: QuantSpec
    listing: Listing
    calibration: Listing | None
    seed: int
    precision: str = "fp32"

    @cached_property
    def source(self) -> dict[str, Any]:
        """What the calibration images depend on: all but the bits and the evaluation set."""
        return {
            **_unusual(self.precision),
            "version": IDENTITY_VERSION,
            **model_identity(self.entry, self.weights),
            "method": {
                "name": self.method.name,
                "version": self.method.version,
                **asdict(self.method),
            },
            "calibration": self.calibration.fingerprint if self.calibration else None,
            "seed": self.seed,
        }

    @cached_property
    def id(self) -> str:
        evaluation = {"quant": self.spec.identity(), "evaluation": self.listing.fingerprint}
        return digest(self.source | evaluation)

    @property
    def calibration_key(self) -> str:
        return digest(self.source)


def model_identity(model: ZooEntry, weights: Weights) -> dict[str, Any]:
    """Return what identifies a network with its weights, without having them."""
    # Weights whose sha256 is known only once they are here go by another name until then.
    known = "weights_sha256" if weights.sha256 is not None else "weights"
    identity = {
        "architecture": model.name,
        known: weights.identity,
        "preprocessing": weights.preprocessing.as_dict(),
    }
    return identity if model.code is None else identity | {"code": model.code}


def plan(config: Config) -> Cell:
    """Return the cell that `config` asks for; image folders are listed, nothing is decoded.

    A W32A32 cell has no method and no seed. Raises BenchError for what does not exist.
    """
    config = normalised(config)
    model = entry(config.model.name)
    method = make_method(config.method)
    data = json.dumps(config.data, sort_keys=True)
    cell = Cell(
        entry=model,
        weights=choose_weights(model, config.model.weights),
        method=method,
        spec=config.spec,
        listing=_listing(data, "eval"),
        calibration=_listing(data, "train") if method.needs_real_images else None,
        seed=config.seed,
        precision=identifying_precision(config),
    )
    _check_training(cell)
    return cell


def _check_training(cell: Cell) -> None:
    """Raise BenchError for what cannot be trained as asked, and for a network left untrained."""
    from methods.training.base import TrainedMethod

    method = cell.method
    from_scratch = isinstance(method, TrainedMethod) and method.init == "scratch"
    if cell.weights.locate is None and not from_scratch:
        raise BenchError(
            f"model.weights={cell.weights.tag} is an untrained network; give "
            "model.weights=FILE.safetensors, such as bench train writes, or a method that trains "
            "with method.init=scratch"
        )
    if isinstance(method, TrainedMethod) and cell.calibration is not None:
        method.check(cell.spec)
        check_training(
            cell.calibration, cell.listing, cell.entry.classes, method.schedule.batch_size
        )


# The cells of a sweep share their images, and listing a million files takes half a minute.
@lru_cache(maxsize=8)
def _listing(data: str, side: Side) -> Listing:
    return scan(json.loads(data), side)


def forget_listings() -> None:
    """List image folders anew from now on: a command sees the files of the moment it starts."""
    _listing.cache_clear()


def normalised(config: Config) -> Config:
    """Return `config` with everything that has no effect at its bit-widths set to nothing."""
    spec = config.spec
    update: dict[str, Any] = {"quant": spec.effective().as_dict()}
    if spec.is_float:
        update |= {"method": dict(_FLOAT_METHOD), "seed": 0}
    return config.model_copy(update=update)


def identifying_precision(config: Config) -> str:
    """Return the precision that matters to the number of `config`: fp32 where none other does.

    The method is imported only when the configuration asks for bf16.
    """
    wanted = config.runtime.precision
    if wanted != "bf16":
        return wanted
    if config.spec.is_float:
        return "fp32"
    return wanted if method_class(config.method["name"]).heeds_precision else "fp32"


def _unusual(precision: str) -> dict[str, str]:
    """Return what a precision adds to an identity; ids from before there was a choice stay."""
    return {} if precision == "fp32" else {"precision": precision}


def float_config(config: Config) -> Config:
    """Return the configuration of the float cell on the same weights and images."""
    quant = QuantSpec(FLOAT_BITS, FLOAT_BITS).as_dict()
    return normalised(config.model_copy(update={"quant": quant, "force": False}))


def reported_name(data: Mapping[str, Any]) -> str:
    """Return the name that results on `data` carry, as far as its config tells it."""
    if data.get("label"):
        return data["label"]
    if "label" in data and data.get("root"):
        return Path(data["root"]).expanduser().resolve().name
    return data["name"]


def _integral(value: Any) -> Any:
    """Return 1 for 1.0: the method's own type decides which of them it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _asked_data(config: Config) -> dict[str, Any]:
    """Return what the `data` node of a normalised `config` says about the images of its cell.

    A training subset is left out where there is none, so that ids from before there was a choice
    stay, and where the method sees no training image.
    """
    data = {k: v for k, v in config.data.items() if k not in _PLACE_KEYS}
    if data.get("subset") is None or not needs_real_images(config.method["name"]):
        data.pop("subset", None)
    return data


def request_id(config: Config) -> str:
    """Hash what `config` asks for, without looking at any image.

    No method is imported, except for bf16, and for a training subset where it is no built-in.
    """
    config = normalised(config)
    model = entry(config.model.name)
    return digest(
        {
            **model_identity(model, choose_weights(model, config.model.weights)),
            "data": _asked_data(config) | {"label": reported_name(config.data)},
            "method": {key: _integral(value) for key, value in config.method.items()},
            "quant": config.spec.identity(),
            "seed": config.seed,
            **_unusual(identifying_precision(config)),
        }
    )
