"""A quantizer that learns its bits: residuals of doubling width behind gates (Bayesian Bits)."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from models.errors import BenchError
from models.qat import gates
from models.qat.quantizer import SMALLEST_STEP, Levels, Quantizer, used_step
from models.qat.surrogate import Surrogate
from models.quantize.rounding.steps import dot
from models.quantize.scales import STEP_BITS, index_bits

WIDTHS = (32, 16, 8, 4, 2)
"""The bit-widths that there are gates for; the last one has none."""

_MARGIN = 1e-7  # of the range, that values are clipped within: 0.5 is not rounded up to a level
_CLOSED_FOR_GOOD = -2.0
_OPEN = 6.0


class GatedQuantizer(Quantizer):
    """x^ = z2 (x2 + z4 (e4 + z8 (e8 + z16 (e16 + z32 e32)))), gates z and range learned.

    x2 = s2 round(c / s2) with c the value clipped to [-xmax, xmax], or [0, xmax] without a sign;
    e_b = s_b round((c - x_{b/2}) / s_b) is the residual of half the width; s2 is a third of the
    range and s_b = s_{b/2} / (2^(b/2) + 1). Gates are those of `models.qat.gates`, each shut one
    shutting those of more bits. Roundings are passed by the gradient (STE).
    Source: van Baalen et al., "Bayesian Bits: Unifying Quantization and Pruning" (NeurIPS 2020),
    sections 2.1 to 2.3; the release, straight_through.py.

    bits: some last ones of WIDTHS; the largest is what all gates together come to. xmax: where the
    range starts, (). channels: of a weight's outputs that have a z2 each, which prunes them; None
    where there is no z2.

    draws: uniform numbers (gates,) of a step of training; None where gates are as in use: open or
        shut, by the threshold.
    release: whether a gate with phi of -2 or less, and those behind it, are shut in training too,
        so that no gradient of the task opens them again.
    price_share: the multiply-accumulates that the tensor takes part in, of those of the largest
        layer: 0..1.
    shares: of each output channel of a weight, how much of it matters once channels are pruned;
        None where that is not known yet.
    """

    def __init__(
        self,
        bits: Sequence[int],
        surrogate: Surrogate,
        signed: bool,
        xmax: Tensor,
        channels: int | None,
    ) -> None:
        super().__init__((), surrogate, signed)
        self.widths = tuple(bits)
        if self.widths != WIDTHS[-len(self.widths) :]:
            raise BenchError(
                f"bits={list(bits)}; the quantizers of Bayesian Bits double their width from 2: "
                f"give {list(WIDTHS)} without some of the first"
            )
        self.xmax = nn.Parameter(xmax.detach().clone().float().view(()))
        self.phi = nn.Parameter(torch.full((len(self.widths) - 1,), _OPEN))
        self.phi_channels = nn.Parameter(torch.full((channels,), _OPEN)) if channels else None
        self.draws: Tensor | None = None
        self.release = False
        self.price_share = 1.0
        self.shares: list[float] | None = None

    @property
    def gated_widths(self) -> tuple[int, ...]:
        """The widths that have a gate, ascending, in the order of `phi`."""
        return self.widths[-2::-1]

    @property
    def gates(self) -> int:
        """How many gates there are, those of channels included."""
        return self.phi.numel() + (0 if self.phi_channels is None else self.phi_channels.numel())

    def forward(self, x: Tensor, bits: int) -> Tensor:
        """Return `x` quantized. bits: without effect."""
        of_widths, of_channels = self._gates()
        quantized: Tensor = _Gated.apply(x, self.xmax, of_widths, self.signed)
        if of_channels is None:
            return quantized
        return quantized * of_channels.view(-1, *(1,) * (x.dim() - 1))

    def _gates(self) -> tuple[Tensor, Tensor | None]:
        """Return the gates of the widths, ascending, and of the channels."""
        count = self.phi.numel()
        if self.draws is None:
            of_widths = gates.is_open(self.phi).to(self.phi.dtype).cumprod(0)
            if self.phi_channels is None:
                return of_widths, None
            return of_widths, gates.is_open(self.phi_channels).to(self.phi.dtype)
        of_widths = gates.drawn(self.phi, self.draws[:count])
        if self.release:
            reachable = (self.phi.detach() > _CLOSED_FOR_GOOD).to(self.phi.dtype)
            of_widths = of_widths * reachable.cumprod(0)
        if self.phi_channels is None:
            return of_widths, None
        of_channels = gates.drawn(self.phi_channels, self.draws[count:])
        if self.release:
            of_channels = of_channels * (self.phi_channels.detach() > _CLOSED_FOR_GOOD)
        return of_widths, of_channels

    def price(self) -> Tensor:
        """Return the expected bits, times `price_share`, as the prior counts them; ().

        With q_b the probability that gate b is not 0, the sum over b of b q_2 ... q_b, of the mean
        over channels where they have gates; else q_2 is 1 and its term 1 without bits. Each tensor
        is charged alone: bits of weights and inputs add up, and do not multiply. Source: section
        2.3; the release, regularizer().
        """
        widths = torch.tensor(self.gated_widths, dtype=self.phi.dtype, device=self.phi.device)
        behind = (gates.probability(self.phi).cumprod(0) * widths).sum() * self.price_share
        if self.phi_channels is None:
            return 1 + behind
        channels = gates.probability(self.phi_channels)
        return ((2 * self.price_share + behind) * channels).mean()

    @property
    def width(self) -> int:
        """The bits in use of what is not pruned."""
        of_widths = gates.is_open(self.phi).long().cumprod(0)
        return self.widths[::-1][int(of_widths.sum())]

    def bits_in_use(self, bits: int) -> int | list[float]:
        """Return the bits of the values, of a weight those of each channel: 0 of a pruned one.

        Where a channel's inputs do not matter because those are pruned, they have no bits either.
        """
        kept, shares = self.kept(), self.shares
        if shares is None and kept is not None:
            shares = kept.float().tolist()
        if shares is None or {*shares} == {1.0}:
            return self.width
        return [self.width * share for share in shares]

    def scale_bits(self, weight: Tensor, bits: int) -> int:
        """Return what a step takes, and which channels are pruned where some are."""
        kept = self.kept()
        return STEP_BITS + (0 if kept is None else index_bits(kept.tolist()))

    def levels(self, bits: int) -> Levels:
        """Return the grid of the width in use; with a sign it has an odd number of levels."""
        xmax, steps = used_step(self.xmax), 2**self.width - 1
        if not self.signed:
            return Levels(xmax / steps, 0, steps)
        return Levels(2 * xmax / steps, -(steps // 2), steps // 2)

    def ranges(self, bits: int) -> list[float]:
        return [self.xmax.item()]

    def kept(self) -> Tensor | None:
        """Return which output channels are not pruned, (channels,) bool; None without z2."""
        return None if self.phi_channels is None else gates.is_open(self.phi_channels)


class _Stage(NamedTuple):
    """A rounding to `bits` of what the stages before have left, behind a gate.

    gate: its value, the first one's 1. place: of its parameter among those of the widths.
    """

    bits: int
    gate: Any
    place: int = -1


class _Gated(torch.autograd.Function):
    """The residuals of one range behind gates, as one operation.

    Every step is proportional to xmax, so its gradient is that of a learned step with gradient g_x
    within the range: (g x^ - g_x x) / xmax.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, xmax: Tensor, of_widths: Tensor, signed: bool) -> Tensor:
        high = _number(xmax.detach().abs().clamp(min=SMALLEST_STEP))
        low = -high if signed else high * 0
        stages = _stages(of_widths)
        residual = x.clamp(low * (1 - _MARGIN), high * (1 - _MARGIN))
        parts = []
        out, through = residual, 1.0
        for number, stage in enumerate(stages):
            step = (high - low) / (2**stage.bits - 1)
            part = (residual / step).round_().mul_(step)
            if number + 1 < len(stages):
                residual.sub_(part)
            if number == 0:
                out = part
            else:
                parts.append(part)
                through = through * stage.gate
                out.add_(part * through)
        ctx.save_for_backward(x, out, *parts)
        ctx.grid = low, high, stages, of_widths, xmax.detach().sign()
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor | None, None]:
        (gradient,) = gradients
        x, out, *parts = ctx.saved_tensors
        low, high, stages, of_widths, sign = ctx.grid
        if isinstance(high, float):
            # The gradient where low < x < high, else 0, in one pass.
            of_x = torch.ops.aten.hardtanh_backward(gradient, x, low, high)
        else:
            of_x = torch.where((x > low) & (x < high), gradient, 0.0)
        of_xmax = (dot(gradient, out) - dot(of_x, x)) / high * sign
        if not ctx.needs_input_grad[2]:
            return of_x, of_xmax, None, None
        of_gates = torch.zeros_like(of_widths)
        before = [math.prod(s.gate for s in stages[1:number]) for number in range(len(stages))]
        behind: Any = 0.0
        for number in range(len(stages) - 1, 0, -1):
            following = stages[number + 1].gate if number + 1 < len(stages) else 0.0
            behind = dot(gradient, parts[number - 1]) + following * behind
            of_gates[stages[number].place] = before[number] * behind
        return of_x, of_xmax, of_gates, None


def _stages(of_widths: Tensor) -> list[_Stage]:
    """Return the roundings that gates, those of ascending widths from 4 on, leave to be done.

    Where reading them does not wait for a device, what lies between open gates is one rounding, and
    behind a shut one there is none.
    """
    on_host = _on_host(of_widths)
    stages = [_Stage(2, 1.0)]
    for place, gate in enumerate(of_widths.tolist() if on_host else of_widths.unbind()):
        bits = 2 ** (place + 2)
        if on_host and gate == 0:
            break
        if on_host and gate == 1:
            stages[-1] = stages[-1]._replace(bits=bits)
        else:
            stages.append(_Stage(bits, gate, place))
    return stages


def _number(value: Tensor) -> Any:
    """Return `value`, (), as a float where that does not wait for a device."""
    return value.item() if _on_host(value) else value


def _on_host(value: Tensor) -> bool:
    return value.device.type == "cpu"
