"""What a configuration asks for, as far as it is known without looking at any image."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.config.experiments import experiment_jobs
from bench.config.schema import TORCH, Config, EvaluateConfig
from bench.tasks.registry import task_named
from methods.identity import identifying
from methods.registry import image_method, method_class, sees_real_images
from models.errors import BenchError
from models.paths import expanded
from models.quantize.identity import effective, identity
from models.quantize.spec import FLOAT_BITS, QuantSpec
from models.zoo import Weights, ZooEntry, choose_weights, entry, zoo

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
class Request:
    """A cell that is asked for.

    config: the configuration as it was given. effective: with everything that has no effect at its
        bit-widths set to nothing.
    precision: the one that matters to the number, fp32 where none other does.
    overrides: what to type after `bench run` for it, where it is one of an experiment.
    """

    config: Config
    effective: Config
    entry: ZooEntry
    weights: Weights
    precision: str
    overrides: tuple[str, ...] = ()

    @cached_property
    def id(self) -> str:
        """Hash of what is asked for, the same on any copy of the images.

        No method is imported for it, but for a training subset where the method is no built-in.
        """
        config = self.effective
        data = _requested_data(config) | {"label": reported_name(config.data)}
        return digest(
            {
                **self.model_identity(),
                "data": data,
                "method": {k: _integral(v) for k, v in identifying(config.method).items()},
                "quant": self.quant_identity(),
                "seed": config.seed,
                **self.unusual_precision(),
                **self.unusual_engine(),
            }
        )

    def model_identity(self) -> dict[str, Any]:
        """Return what identifies the network with its weights, without having them."""
        # Weights whose sha256 is known only once they are here go by another name until then.
        known = "weights_sha256" if self.weights.sha256 is not None else "weights"
        identity = {
            "architecture": self.entry.name,
            known: self.weights.identity,
            "preprocessing": self.weights.preprocessing.as_dict(),
        }
        identity |= task_named(self.entry.task).identity()
        return identity if self.entry.code is None else identity | {"code": self.entry.code}

    def quant_identity(self) -> dict[str, Any]:
        """Return what identifies the quantizer.

        Where a linear layer sees (N, ..., C), ranges by channel were once by the second axis. No
        network of the zoo has such a layer, and their ids stay.
        """
        spec = self.effective.quant
        by_last = spec.a_granularity == "channel" and spec.sites == "all"
        axis = {"a_channel_axis": "last"} if by_last and self.entry.name not in zoo() else {}
        table = {} if spec.latency_table is None else {"latency_table": self.latency_digest}
        return identity(spec) | table | axis

    @cached_property
    def latency_digest(self) -> str:
        """The beginning of the sha256 of the table of latencies."""
        path = expanded(self.effective.quant.latency_table or "")
        try:
            return hashlib.sha256(path.read_bytes()).hexdigest()[:_HASH_LENGTH]
        except OSError as error:
            raise BenchError(
                f"quant.latency_table={path} cannot be read: {error.strerror}"
            ) from error

    def unusual_precision(self) -> dict[str, str]:
        """Return what the precision adds to an identity: nothing for fp32, so that old ids stay."""
        return {} if self.precision == "fp32" else {"precision": self.precision}

    def unusual_engine(self) -> dict[str, str]:
        """Return what the engine adds to the identity of a cell: nothing for torch."""
        engine = self.effective.evaluate.engine
        return {} if engine == TORCH else {"engine": engine}

    def as_float(self) -> "Request":
        """Return the request for the float network with the same weights, on the same images."""
        config = float_config(self.config)
        words = [word for word in self.overrides if not word.startswith(("quant=", "quant."))]
        return replace(
            self,
            config=config,
            effective=config,
            precision=_identifying_precision(config),
            overrides=(*words, "quant=fp32") if self.overrides else (),
        )


def request_of(config: Config, overrides: Sequence[str] = ()) -> Request:
    """Return what `config` asks for; a W32A32 cell has no method and no seed.

    Raises BenchError for a network, weights or, with bf16, a method that does not exist.
    """
    model = entry(config.model.name)
    effective = normalised(config)
    return Request(
        config=config,
        effective=effective,
        entry=model,
        weights=choose_weights(model, config.model.weights),
        precision=_identifying_precision(effective),
        overrides=tuple(overrides),
    )


def experiment_requests(
    name: str, overrides: Sequence[str] = (), user_configs: Path | None = None
) -> list[Request]:
    """Return the cells that an experiment asks for, in its order.

    user_configs: a folder of the user's own configs (`--config-dir`).

    Raises BenchError for an unknown experiment, and for a cell that does not compose.
    """
    jobs = experiment_jobs(name, overrides, user_configs)
    return [request_of(job.config, job.overrides) for job in jobs]


def normalised(config: Config) -> Config:
    """Return `config` with everything that has no effect at its bit-widths set to nothing."""
    update: dict[str, Any] = {"quant": effective(config.quant)}
    if config.quant.is_float:
        evaluate = config.evaluate.model_copy(update={"engine": TORCH})
        update |= {"method": dict(_FLOAT_METHOD), "seed": 0, "evaluate": evaluate}
    return config.model_copy(update=update)


def float_config(config: Config) -> Config:
    """Return the configuration of the float cell on the same weights and images."""
    quant = QuantSpec(FLOAT_BITS, FLOAT_BITS)
    whole = {"evaluate": EvaluateConfig(), "force": False}
    return normalised(config.model_copy(update={"quant": quant, **whole}))


def reported_name(data: Mapping[str, Any]) -> str:
    """Return the name that results on `data` carry, as far as its config tells it."""
    if data.get("label"):
        return data["label"]
    if "label" in data and data.get("root"):
        return expanded(data["root"]).resolve().name
    return data["name"]


def _identifying_precision(config: Config) -> str:
    """Return the precision that matters to the number of `config`: fp32 where none other does.

    The method is imported only when the configuration asks for bf16.
    """
    precision = config.runtime.precision
    if precision != "bf16":
        return precision
    if config.quant.is_float:
        return "fp32"
    name = image_method(config.method)["name"]
    return precision if method_class(name).heeds_precision else "fp32"


def _integral(value: Any) -> Any:
    """Return 1 for 1.0: the method's own type decides which of them it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _requested_data(config: Config) -> dict[str, Any]:
    """Return what the `data` node of a normalised `config` says about the images of its cell.

    A training subset is left out where there is none, so that ids from before there was a choice
    stay, and where the method sees no training image; so are the candidates of training clips.
    """
    data = {k: v for k, v in config.data.items() if k not in _PLACE_KEYS}
    if data.get("subset") is None or not sees_real_images(config.method):
        data.pop("subset", None)
    if "candidates" in data and not sees_real_images(config.method):
        del data["candidates"]
    return data
