"""What a reader must know before trusting a number."""

from collections.abc import Sequence

from models.canonical import Behaviour
from models.quantize.coverage import Coverage, shortfalls
from models.quantize.spec import FLOAT_BITS, QuantSpec

_NAMED = 3


def of_behaviour(shown: Behaviour, batch_size: int) -> list[str]:
    """Return a line on each thing besides images and weights that the number depends on.

    batch_size: of images, that it was measured with.
    """
    lines = []
    if shown.chance:
        lines.append(
            "two passes of the same images differ: something is drawn at random, such as by "
            "dropout that eval() does not stop, and a repeated cell comes out otherwise"
        )
    if shown.batch:
        norms = f" (without running statistics: {_names(shown.unfixed)})" if shown.unfixed else ""
        lines.append(
            "the logits of an image depend on the other images of its batch"
            f"{norms}, so this number belongs to runtime.batch_size={batch_size}"
        )
    if shown.changed:
        lines.append(
            f"each forward pass changes {_names(shown.changed)}, so the number depends on what "
            "passed before"
        )
    return lines


def of_coverage(found: Coverage, spec: QuantSpec) -> list[str]:
    """Return a line on what stays float although `spec` does not say so."""
    return shortfalls(
        found,
        weights=spec.w_bits != FLOAT_BITS,
        sites=None if spec.a_bits == FLOAT_BITS else spec.sites,
        reach=spec.reach,
    )


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(map(repr, names[:_NAMED])) + more
