"""The composed configuration, checked and typed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveInt,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_serializer,
    field_validator,
)
from pydantic_core import PydanticCustomError

from models.errors import BenchError, first_mistake
from models.paths import expanded
from models.quantize.identity import written
from models.quantize.spec import QuantSpec
from models.registry import did_you_mean

if TYPE_CHECKING:
    from omegaconf import DictConfig


TORCH = "torch"
ONNXRUNTIME = "onnxruntime"
"""The engines of an evaluation."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class ModelConfig(_Strict):
    name: str
    weights: str = "default"


class RuntimeConfig(_Strict):
    """How a cell is run; recorded beside its number, not part of its identity.

    processes: that share each batch of a training, one GPU each where there are GPUs.
    machines, address: those that the processes are spread over, and HOST:PORT where the others
        reach the first; see `bench.training.host`. Names of hosts are not recorded.
    limit_s: seconds that measuring one cell may take, its float cell apart; see
        `bench.measure.limit`.
    compile: the network before its evaluation; "auto": where that is long enough to pay for it.
    precision: bf16 is that of the network while a method distils images, and part of the identity
        of a cell whose method heeds it: the images are others. tf32 is that of all matrix products
        on a GPU, and part of the identity of every cell.
    """

    device: str = "auto"
    batch_size: PositiveInt | None = None
    threads: PositiveInt | None = None
    workers: PositiveInt = 4
    channels_last: bool = True
    compile: Literal["auto"] | bool = "auto"
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    processes: PositiveInt = 1
    machines: PositiveInt = 1
    address: str | None = Field(None, exclude=True)
    limit_s: float | None = Field(None, gt=0, le=1e7)

    @field_validator("compile", mode="wrap")
    @classmethod
    def _one_message(cls, value: Any, check: ValidatorFunctionWrapHandler) -> Any:
        try:
            return check(value)
        except ValidationError as error:  # one a type, the first of which knows only of "auto"
            raise PydanticCustomError("compile", "give true, false or auto") from error


class EvaluateConfig(_Strict):
    """What evaluates the evaluation set, a part of a cell's identity, and how much of it, which is
    neither that nor recorded here.

    engine: what computes the logits of a quantized network.
    until: a number of images, "resolved", or None for all. tolerance: in points, of "resolved".
    published_drop: published float minus published top-1 in points, one or several, to be decided
        against; None: what the paper's table says that the experiment is of.
    """

    engine: Literal["torch", "onnxruntime"] = "torch"
    until: Annotated[int, Field(strict=True, gt=0)] | Literal["resolved"] | None = Field(
        default=None, exclude=True
    )
    tolerance: float = Field(default=0.5, ge=0, le=100, exclude=True)
    published_drop: float | tuple[float, ...] | None = Field(default=None, exclude=True)

    @field_validator("until", mode="wrap")
    @classmethod
    def _one_message(cls, value: Any, check: ValidatorFunctionWrapHandler) -> Any:
        try:
            return check(value)
        except ValidationError as error:
            raise PydanticCustomError(
                "until", "give a number of images above 0, resolved, or null for all"
            ) from error

    @property
    def drops(self) -> tuple[float, ...]:
        """The published drops, in points; none where none is known."""
        drops = self.published_drop
        if drops is None:
            return ()
        return drops if isinstance(drops, tuple) else (drops,)


class TrackingConfig(_Strict):
    """Weights & Biases.

    patience_s: how long the end of a run waits while no W&B run gets uploaded.
    """

    mode: Literal["online", "offline", "none"]
    project: str
    entity: str | None = None
    tags: list[str] = Field(default_factory=list)
    patience_s: NonNegativeFloat = 60.0


class PathsConfig(_Strict):
    outputs: Path

    @field_validator("outputs")
    @classmethod
    def _expand(cls, path: Path) -> Path:
        return expanded(path)


class Config(_Strict):
    """One cell and how to run it; `data` and `method` are checked by what they name.

    evaluate: its engine alone is recorded: a result says how many images it has.
    shard: the part of a sweep that is run, read by the sweeper; no cell has one.
    """

    model: ModelConfig
    data: dict[str, Any]
    method: dict[str, Any]
    quant: QuantSpec
    tracking: TrackingConfig
    runtime: RuntimeConfig
    paths: PathsConfig
    evaluate: EvaluateConfig = EvaluateConfig()
    seed: int = Field(ge=0)
    gate: Literal["stop", "warn"]
    force: bool
    group: str
    shard: str | None = Field(None, exclude=True)

    @field_validator("quant", mode="plain")
    @classmethod
    def _quantizer(cls, value: Any) -> QuantSpec:
        """Raises BenchError for a quantizer that does not exist."""
        if isinstance(value, QuantSpec):
            return value
        fields = QuantSpec.__dataclass_fields__
        for key in value.keys() - fields.keys():
            raise BenchError(f"quant has no key {key!r}; {did_you_mean(key, fields)}")
        for key in ("w_bits", "a_bits"):
            if key not in value:
                raise BenchError(f"quant.{key} is missing; add it to the config of this quant")
        return QuantSpec(**value)

    @field_serializer("quant")
    def _quantizer_values(self, spec: QuantSpec) -> dict[str, Any]:
        return written(spec)


def read_config(composed: "DictConfig | dict[str, Any]") -> Config:
    """Resolve and check what Hydra composed, or what a record holds.

    Raises BenchError, in one line, for the first value that does not fit.
    """
    plain: Any = composed
    if not isinstance(composed, dict):
        from omegaconf import OmegaConf

        plain = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    try:
        config = Config.model_validate(plain)
    except ValidationError as error:
        key, value, message = first_mistake(error)
        raise BenchError(f"config {key}{value}: {message}") from error
    if config.shard is not None:
        raise BenchError(f"shard={config.shard} divides a sweep, not one cell; list values with -m")
    if not isinstance(config.method.get("name"), str):
        raise BenchError("method.name is missing; add it to the config of this method")
    return config
