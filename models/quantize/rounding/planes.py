"""Bit-Split and Stitching (Wang et al., ICML 2020): the bits of a weight, one after the other.

An integer of b bits with a sign is the sum of b - 1 ternary digits times powers of two. The digits
of one power, over a whole layer, are a plane. Planes are optimised in turn, each by coordinate
descent, so that the layer's output stays what it was; the other planes stay as they are.

Written from the paper and from what the authors' release computes (peiswang/BitSplit, quant.py:
`fwa`, `split`, `ofwa_rr`, `ofwa_rr_dw`); the release looks at all patches, here their Gram matrix
is enough, and gives the same planes.

Shapes: a weight is (G, M, N), with G groups, M output channels of a group and N = input channels of
a group x kernel height x width; planes are (b - 1, G, M, N), the most significant first, of -1, 0
and 1; steps and scales are (G, M, 1).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

MIN_BITS = 3
"""With two bits there is one plane, and nothing to stitch: the release refuses them too."""

_TOLERANCE = 1e-9  # of the steps' change, at which they no longer move
_ROUNDS = 1000  # some dozens are enough; a cycle by rounding ends here
_BLOCK = 32  # columns that are decided together


class Stitched(NamedTuple):
    """Planes and the scale of the most significant one: weight = scale x sum_k 2^-k plane_k."""

    planes: Tensor
    scale: Tensor

    @property
    def weight(self) -> Tensor:
        return self.scale * stitch(self.planes)


class Codes(NamedTuple):
    """Integers -(2^(b-1) - 1)..2^(b-1) - 1 and the step of each output channel."""

    integers: Tensor
    step: Tensor


def alternate(weight: Tensor, bits: int) -> Codes:
    """Return the integers and steps that are the best for each other.

    From the step that reaches the largest weight on: round, then take the step with the least
    squared error for these integers, until no step changes. A local optimum of the error of the
    weight (`fwa` of the release). All-zero channels have integers and a step of 0.
    """
    top = 2 ** (bits - 1) - 1
    step = weight.abs().amax(2, keepdim=True) / top
    integers = torch.zeros_like(weight)
    for _ in range(_ROUNDS):
        integers = torch.nan_to_num(weight / step).round().clamp(-top, top)
        before = step
        products, squares = ((x * integers).sum(2, keepdim=True) for x in (weight, integers))
        step = torch.where(squares > 0, products / squares, 0.0)
        if float((step - before).norm()) < _TOLERANCE:
            break
    return Codes(integers, step)


def split(codes: Codes, bits: int) -> Stitched:
    """Return `codes` in planes: the binary digits of each integer, with its sign."""
    sizes = codes.integers.abs()
    digits = [(sizes / 2.0**power).floor() % 2 for power in range(bits - 2, -1, -1)]
    return Stitched(torch.stack(digits) * codes.integers.sign(), codes.step * 2.0 ** (bits - 2))


def stitch(planes: Tensor) -> Tensor:
    """Return sum_k 2^-k planes_k, (G, M, N)."""
    return sum((plane * 2.0**-k for k, plane in enumerate(planes)), torch.zeros_like(planes[0]))


def optimise(start: Stitched, gram: Tensor, cross: Tensor, epochs: int) -> Stitched:
    """Return planes and scales that bring a layer's output nearer to what it should be.

    Each epoch takes the best scale for the planes, then goes through the planes, and in a plane
    through its columns, all output channels side by side, taking the best of -1, 0 and 1. The
    squared error never rises. The scale is the last one taken: as in the release it is not taken
    again after the last planes, and a channel that has become zero keeps the one it had.

    gram: X'X of the patches X of the layer's input, (G, N, N). cross: Y'X, (G, M, N), Y being
        the outputs that are to be met, without the bias.
    """
    planes, scale = start.planes.clone(), start.scale
    columns = _columns(gram)
    for _ in range(epochs):
        stitched = stitch(planes)
        product = stitched @ gram
        squares = (product * stitched).sum(2, keepdim=True)
        best = (cross * stitched).sum(2, keepdim=True) / squares
        scale = torch.where(squares > 0, best, scale)
        # What is still to be made, Y'X less what all planes make: the same for each of them.
        rest = cross - scale * product
        steps = [scale * 2.0**-k for k in range(len(planes))]
        changed = [_descend(*each, rest, columns) for each in zip(planes, steps, strict=True)]
        if not any(changed):
            break  # the next epoch would find what this one has found
    return Stitched(planes, scale)


class _Columns(NamedTuple):
    """Columns of a plane that are decided together, and what they share of the Gram matrix.

    width: of the matrix's diagonal, (G, 1, B). later: what a column adds to those behind it in the
        block, (G, B, B), strictly upper triangular. rows: what it adds to all, (G, B, N).
    """

    block: slice
    width: Tensor
    later: Tensor
    rows: Tensor


def _columns(gram: Tensor) -> list[_Columns]:
    diagonal = torch.diagonal(gram, dim1=1, dim2=2)[:, None]
    blocks = [slice(n, n + _BLOCK) for n in range(0, gram.shape[2], _BLOCK)]
    return [
        _Columns(b, diagonal[..., b], gram[:, b, b].triu(diagonal=1), gram[:, b]) for b in blocks
    ]


def _descend(plane: Tensor, scale: Tensor, rest: Tensor, columns: Sequence[_Columns]) -> bool:
    """Take `plane` through one pass of coordinate descent, in place; return whether it changed.

    The digit of a column follows from those before it. All digits of a block are guessed, at first
    to stay, and computed from the guess, until that is what comes out: each time one column more
    is right for certain, and a few times are enough, because few digits change.

    scale: of the plane. rest: Y'X of what is still to be made, (G, M, N); kept up to date.
    """
    changed = False
    for block, width, later, rows in columns:
        digits = plane[..., block]
        guess, change = digits, None
        alone = torch.addcmul(rest[..., block], scale, width * digits)
        half = 0.5 * scale * width
        for _ in range(_BLOCK):
            left = alone if change is None else alone - scale * (change @ later)
            found = left.sign() * (left.abs() >= half)
            if torch.equal(found, guess):
                break
            guess, change = found, found - digits
        if change is not None:
            changed = True
            rest.addcmul_(scale, change @ rows, value=-1)
            plane[..., block] = guess
    return changed
