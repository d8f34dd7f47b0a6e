"""What a published number leaves open, as choices of two values each."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bench.cells.request import Request
from bench.papers.protocol import UNKNOWN


class Factor(NamedTuple):
    """A choice. Level 0 is what the cell that is explained has, level 1 the other way.

    words: what to type for each level.
    """

    name: str
    levels: tuple[str, str]
    words: tuple[tuple[str, ...], tuple[str, ...]]


_QUANTIZER: Mapping[str, tuple[str, tuple[Any, Any]]] = {
    "sites": ("quantized places", ("relu", "all")),
    "w_granularity": ("weight grids", ("channel", "tensor")),
    "w_range": ("weight range", ("minmax", "mse")),
    "a_range": ("activation range", ("minmax", "mse")),
    "w_scheme": ("weight scheme", ("affine", "symmetric")),
    "fold": ("BatchNorm folded", (False, True)),
    "a_scheme": ("activation scheme", ("affine", "symmetric")),
}
"""Fields of `QuantSpec` that papers are silent on, by what they are called here; those first that
change most."""

_ENDS = ("first_bits", "last_bits")
KEYS = (*_QUANTIZER, *_ENDS, "images", "weights")
"""What there are choices of, as recipes call it."""

_IMAGES = (64, 16)
_OF_WEIGHTS, _OF_ACTIVATIONS = "w_", "a_"


def open_factors(request: Request, stated: Mapping[str, Any]) -> list[Factor]:
    """Return the choices that may explain the number of a cell, those first that change most.

    stated: what is known of the published recipe; a key that is there and not "unknown" is no
        choice.
    """
    spec = request.effective.quant
    if spec.is_float:
        return []
    factors = []
    others = [tag for tag in _weights(request) if tag != request.weights.tag]
    if others and _open("weights", stated):
        factors.append(_factor("weights", "model.weights", request.weights.tag, others[0]))
    if all(_open(key, stated) for key in _ENDS):
        factors.append(_ends(spec.first_bits, spec.last_bits))
    for key, (name, values) in _QUANTIZER.items():
        silent = (key.startswith(_OF_WEIGHTS) and spec.w_bits == 32) or (
            (key.startswith(_OF_ACTIVATIONS) or key == "sites") and spec.a_bits == 32
        )
        if not silent and _open(key, stated):
            here = getattr(spec, key)
            there = values[0] if here != values[0] else values[1]
            factors.append(_factor(name, f"quant.{key}", here, there))
    images = request.effective.method.get("images")
    if images is not None and _open("images", stated):
        other = _IMAGES[0] if images != _IMAGES[0] else _IMAGES[1]
        factors.append(_factor("calibration images", "method.images", images, other))
    return factors


def _open(key: str, stated: Mapping[str, Any]) -> bool:
    return stated.get(key, UNKNOWN) == UNKNOWN


def _weights(request: Request) -> Sequence[str]:
    return [tag for tag, weights in request.entry.weights.items() if weights.locate is not None]


def _factor(name: str, key: str, here: Any, there: Any) -> Factor:
    levels = _text(here), _text(there)
    return Factor(name, levels, ((f"{key}={levels[0]}",), (f"{key}={levels[1]}",)))


def _ends(first: int | None, last: int | None) -> Factor:
    other = 8 if first is None and last is None else None

    def words(*bits: int | None) -> tuple[str, ...]:
        return tuple(f"quant.{k}={_text(b)}" for k, b in zip(_ENDS, bits, strict=True))

    texts = [_ends_in_words(first, last), _ends_in_words(other, other)]
    return Factor(
        "first and last layer", (texts[0], texts[1]), (words(first, last), words(other, other))
    )


def _ends_in_words(first: int | None, last: int | None) -> str:
    if first is None and last is None:
        return "as the others"
    return "/".join("as the others" if bits is None else f"{bits} bits" for bits in (first, last))


def _text(value: Any) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
