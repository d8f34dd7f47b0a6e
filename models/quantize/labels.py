"""What bits are called for short: `W4A8`, or of bits that are chosen, their budget."""

from models.quantize.budget import (
    OF_ACTIVATIONS,
    OF_PRODUCTS,
    OF_WEIGHTS,
    Limits,
    budget_label,
)
from models.quantize.checks import MIXED


def w_label(w_bits: int | str, limits: Limits) -> str:
    """Return `W4`, or of mixed precision its budget: `MP4/` (mean bits), `MP2.5MiB/` (size).

    Limits on products of weights and activations are among them, as in `MP1.5GBOPs/`.
    """
    if w_bits != MIXED:
        return f"W{w_bits}"
    return f"MP{budget_label(limits, (*OF_WEIGHTS, *OF_PRODUCTS))}/"


def a_label(w_bits: int | str, a_bits: int | str, limits: Limits) -> str:
    """Return `8`, or of mixed precision the budget: `MP4` (mean bits), `MP0.1MiB` (size).

    Bits that are said may have a limit too, `8+0.1MiB`. What limits products is named here where
    it is not by `w_label`.
    """
    names = OF_ACTIVATIONS if w_bits == MIXED else (*OF_ACTIVATIONS, *OF_PRODUCTS)
    budget = budget_label(limits, names)
    if a_bits == MIXED:
        return f"MP{budget}"
    return f"{a_bits}+{budget}" if budget else str(a_bits)


def bits_label(w_bits: int | str, a_bits: int | str, limits: Limits) -> str:
    """Return such as `W4A8`, `MP4/A8`, or `MP4/AMP4` where those of activations are chosen too."""
    return f"{w_label(w_bits, limits)}A{a_label(w_bits, a_bits, limits)}"
