"""What a quantized network is quantized to: the part of a recipe that the quantizer carries out."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from models.errors import BenchError
from models.quantize.budget import (
    LATENCY,
    OF_WEIGHTS,
    Limits,
    budget_items,
    limits_of,
)
from models.quantize.checks import (
    FLOAT_BITS,
    MIXED,
    check_bits,
    check_count,
    check_fraction,
    check_positive,
    check_power_of_two,
    check_share,
    check_switch,
    counts,
    whole,
)
from models.quantize.labels import bits_label, w_label
from models.quantize.rounding.registry import (
    parameters,
    variants,
)
from models.registry import did_you_mean

OF_MIXED = ("w_candidates", "a_candidates", *OF_WEIGHTS, "budget")
"""Fields of `QuantSpec` that have a meaning with mixed precision only."""

OF_BUDGET = (*OF_WEIGHTS, "budget")
"""Those of them that set limits."""

_BASELINES = ("haq", "omse", "fq_vit", "aciq_laplace", "aciq_gauss")
"""Range estimators that papers compare with."""
_CHOICES = {
    "w_scheme": ("affine", "symmetric"),
    "a_scheme": ("affine", "symmetric"),
    "w_granularity": ("channel", "tensor"),
    "a_granularity": ("channel", "tensor"),
    "w_range": ("minmax", "percentile", "mse", "entropy", *_BASELINES),
    "a_range": ("minmax", "ema", "percentile", "mse", "entropy", "alternating", *_BASELINES),
    "sites": ("relu", "all", "integer"),
    "reach": ("all", "release"),
    "equalise": ("none", "one_step", "two_step"),
    "weight_correction": ("none", "mean", "mean_variance"),
    "rounding_loss": ("mse", "fisher", "fisher_release"),
    "rounding_step_inputs": ("float", "quantized"),
    "rounding_objective": ("output", "table"),
    "bias_correction": ("none", "empirical", "data_free"),
}


@dataclass(frozen=True)
class QuantSpec:
    """Bits, grids and places of a uniform integer quantizer.

    w_bits, a_bits: 2..16, or 32 for float; or `mixed`: each layer has those of w_candidates, or
        a_candidates, that its method chooses, by itself (`Method.chooses_bits`) or by the search of
        `models.quantize.mixed`.
    size_mb, mean_bits, budget: what the choice may cost. size_mb: of all convolution and linear
        weights, in MiB (2^20 bytes); what stays float (biases, BatchNorm) is not counted.
        mean_bits: of a weight. budget: the same and other costs by name (`models.quantize.budget`),
        as items or a mapping; size_mb and mean_bits are moved to their own fields.
    latency_table: a file of `models.quantize.latency`, for the cost and the limit `latency_ms`.
    w_scheme, a_scheme: `affine` maps [min, max] to all 2^b levels with a free integer zero point
        (the ZeroQ release); `symmetric` maps [-T, T], T = max |x|, to 2^b - 1 levels with zero
        point 0, and [0, T] to 2^b levels where no value is negative.
    w_granularity, a_granularity: one grid a channel (output channel of a weight, dimension 1 of
        an activation, the last one of what a linear layer sees) or one a tensor.
    w_range, a_range: how the clipping range is estimated (`models.quantize.ranges`). Activation
        ranges always contain 0.
    first_bits, last_bits: bits of the first and the last convolution or linear layer, in the order
        they are called: of its weights, and where `sites` is not `relu` of its input. None: as the
        other layers.
    fold: whether each BatchNorm is folded into the convolution before it, ahead of everything.
    equalise: whether channels are rescaled between layers before anything is quantized, by weight
        factorization (`models.quantize.factorise`) in one step or two. Needs `fold`.
    rounding: how weights are brought onto few values (`models.quantize.rounding`), by name; its
        parameters are those of the fields `rounding_*` that `rounding.registry` names for it.
    weight_correction: whether each output channel of a rounded weight gets the mean of its float
        weights again, or mean and variance (`models.quantize.rounding.corrected`).
    bias_correction: whether the mean error that rounding causes in each layer's output is taken
        from its bias (`models.quantize.bias`): as measured on the calibration images, or as
        BatchNorm says without any.
    reestimate_batchnorm: whether BatchNorm takes its statistics again behind quantized weights,
        on the calibration images (`models.quantize.batchnorm`), before activations are calibrated.
    sites: which activations are quantized. `relu`: outputs of ReLU and ReLU6 modules (the ZeroQ
        release). `all`: the input of every convolution and linear layer, the image included.
        `integer`: these, and what enters additions of two activations and average pools
        (`models.quantize.places`), so that a whole network can run in integers.
    reach: which modules are quantized at all. `all`, or with `release` those that the release of
        ZeroQ comes by (`models.quantize.reach`): nothing that lies in an nn.ModuleList.

    Every convolution and linear weight in reach is quantized; biases stay float, and so does
    BatchNorm that is not folded.
    Raises BenchError for anything else.
    """

    w_bits: int | Literal["mixed"]
    a_bits: int | Literal["mixed"]
    w_scheme: str = "affine"
    a_scheme: str = "affine"
    w_granularity: str = "channel"
    a_granularity: str = "tensor"
    w_range: str = "minmax"
    a_range: str = "minmax"
    sites: str = "relu"
    reach: str = "all"
    first_bits: int | None = None
    last_bits: int | None = None
    fold: bool = False
    equalise: str = "none"
    rounding: str = "nearest"
    rounding_iterations: int = 10_000
    rounding_rate: float = 1e-3
    rounding_epochs: int = 10
    rounding_variant: str = "release"
    rounding_ratio: float = 0.01
    rounding_block: tuple[int, int, int] = (1, 4, 4)
    rounding_centroids: int | None = None
    rounding_layer_steps: int = 0
    rounding_network_steps: int = 0
    rounding_batch: int = 32
    rounding_penalty: float = 0.01
    rounding_loss: str = "mse"
    rounding_drop: float = 0.5
    rounding_step_iterations: int = 5_000
    rounding_step_rate: float = 4e-4
    rounding_step_inputs: str = "float"
    rounding_shared: bool = False
    rounding_objective: str = "output"
    weight_correction: str = "none"
    bias_correction: str = "none"
    reestimate_batchnorm: bool = False
    w_candidates: tuple[int, ...] = (2, 4, 8)
    size_mb: float | None = None
    mean_bits: float | None = None
    a_candidates: tuple[int, ...] = (2, 4, 8)
    budget: tuple[tuple[str, float], ...] | None = None
    latency_table: str | None = None

    def __post_init__(self) -> None:
        for name in ("w_bits", "a_bits"):
            if getattr(self, name) != MIXED:
                check_bits(f"quant.{name}", getattr(self, name))
        self._check_candidates("w_candidates")
        self._check_candidates("a_candidates")
        self._check_budget()
        for name in ("first_bits", "last_bits"):
            if getattr(self, name) is not None:
                check_bits(f"quant.{name}", getattr(self, name))
        for name in ("fold", "reestimate_batchnorm", "rounding_shared"):
            check_switch(f"quant.{name}", getattr(self, name))
        for name in (
            *("rounding_iterations", "rounding_epochs"),
            *("rounding_batch", "rounding_step_iterations"),
        ):
            check_count(f"quant.{name}", getattr(self, name))
        parameters(self.rounding)
        for name in ("rounding_rate", "rounding_penalty", "rounding_step_rate"):
            check_positive(f"quant.{name}", getattr(self, name))
        check_share("quant.rounding_drop", self.rounding_drop)
        check_fraction("quant.rounding_ratio", self.rounding_ratio)
        self._check_codebook()
        choices = _CHOICES | {"rounding_variant": variants(self.rounding)}
        for name, options in choices.items():
            value = getattr(self, name)
            if value not in options:
                close = did_you_mean(str(value), options)
                raise BenchError(f"quant.{name}={value} cannot be represented; {close}")
        for name, value in vars(self).items():
            object.__setattr__(self, name, whole(value))  # 4.0 is the same budget as 4

    def _check_codebook(self) -> None:
        block = self.rounding_block
        if not isinstance(block, list | tuple) or len(block) != 3 or not all(map(counts, block)):
            raise BenchError(
                f"quant.rounding_block={block!r}; give three whole numbers, 1 or more, as in "
                "[1,4,4]"
            )
        object.__setattr__(self, "rounding_block", tuple(block))
        check_power_of_two("quant.rounding_centroids", self.rounding_centroids)
        for name in ("rounding_layer_steps", "rounding_network_steps"):
            check_count(f"quant.{name}", getattr(self, name), least=0)

    def _check_candidates(self, name: str) -> None:
        candidates = getattr(self, name)
        if not isinstance(candidates, list | tuple):
            raise BenchError(f"quant.{name}={candidates!r}; give a list, as in [2,4,8]")
        for bits in candidates:
            check_bits(f"quant.{name}", bits)
        if not candidates or len(set(candidates)) < len(candidates):
            raise BenchError(f"quant.{name}={list(candidates)}; give one or more, each once")
        object.__setattr__(self, name, tuple(candidates))  # YAML has lists

    def _check_budget(self) -> None:
        items = budget_items(self.budget)
        own = {name: value for name, value in items if name in OF_WEIGHTS}
        for name, value in own.items():
            if getattr(self, name) not in (None, value):
                raise BenchError(
                    f"quant.{name}={getattr(self, name)} and quant.budget.{name}={value}: give one"
                )
            object.__setattr__(self, name, value)
        rest = tuple((name, value) for name, value in items if name not in OF_WEIGHTS)
        object.__setattr__(self, "budget", rest or None)
        if self.limits and not self.is_mixed:
            name = next(iter(self.limits))
            raise BenchError(
                f"quant.{name if name in OF_WEIGHTS else 'budget'} has a meaning with quant=mixed "
                "only; leave it out, or add quant=mixed"
            )
        for name in OF_WEIGHTS:
            if getattr(self, name) is not None:
                check_positive(f"quant.{name}", getattr(self, name))
        if LATENCY in self.limits and self.latency_table is None:
            raise BenchError(
                f"quant.budget.{LATENCY} needs a table of the layers: quant.latency_table=FILE"
            )

    @property
    def is_mixed(self) -> bool:
        return MIXED in (self.w_bits, self.a_bits)

    @property
    def limits(self) -> Limits:
        """What the choice of bits may cost; nothing where bits are said, or left to the method."""
        return limits_of(vars(self))

    @property
    def label(self) -> str:
        """Short form such as `W4A8`, or with mixed precision `MP2.5MiB/A8` or `MP4/AMP4`."""
        return bits_label(self.w_bits, self.a_bits, self.limits)

    @property
    def w_label(self) -> str:
        """The weights' part of `label`: `W4`, `MP4/` (mean bits) or `MP2.5MiB/` (size)."""
        return w_label(self.w_bits, self.limits)

    @property
    def is_float(self) -> bool:
        return {self.w_bits, self.a_bits, *self.special_bits} == {FLOAT_BITS}

    @property
    def special_bits(self) -> list[int]:
        """Those of the first and the last layer, where they have their own."""
        return [bits for bits in (self.first_bits, self.last_bits) if bits is not None]

    def with_inputs_at(self, bits: int) -> "QuantSpec":
        """Return the spec without limits, with activations at `bits`."""
        return replace(
            self, a_bits=bits, size_mb=None, mean_bits=None, budget=None, latency_table=None
        )

    def as_dict(self) -> dict[str, Any]:
        return dict(vars(self)) | {"budget": None if self.budget is None else dict(self.budget)}
