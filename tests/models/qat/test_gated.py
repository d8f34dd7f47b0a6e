"""Gated quantizers give the figures of Bayesian Bits' release (tests/golden/README.md)."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from models.errors import BenchError
from models.qat.gated import WIDTHS, GatedQuantizer
from models.qat.surrogate import Surrogate

Golden = Callable[[str], dict[str, np.ndarray]]
Figures = Mapping[str, Tensor]
OPEN, SHUT = 6.0, -6.0


@pytest.fixture
def figures(golden: Golden) -> Figures:
    numbers = golden("bayesian_bits").items()
    return {k: torch.from_numpy(v) for k, v in numbers if v.dtype.kind != "U"}


def make(signed: bool, xmax: Tensor, channels: int | None = None) -> GatedQuantizer:
    return GatedQuantizer(WIDTHS, Surrogate(), signed, xmax, channels)


def set_gates(quantizer: GatedQuantizer, phi: Tensor | Sequence[float]) -> None:
    with torch.no_grad():
        quantizer.phi.copy_(torch.as_tensor(phi))


def evenly(quantizer: GatedQuantizer) -> None:
    """Let gates be at the middle of their draws, as those without noise of the release."""
    quantizer.draws = torch.full((quantizer.gates,), 0.5)
    quantizer.release = True


@pytest.mark.parametrize("kind", ["weight", "act"])
@pytest.mark.parametrize("bits", [2, 4, 8, 16, 32])
def test_open_gates_come_to_one_rounding(figures: Figures, kind: str, bits: int) -> None:
    quantizer = make(bool(figures[f"{kind}_signed"]), figures[f"{kind}_xmax"])
    open_ones = WIDTHS[::-1].index(bits)
    set_gates(quantizer, [OPEN] * open_ones + [SHUT] * (4 - open_ones))
    out = quantizer(figures[kind], 0).detach()
    assert quantizer.width == bits
    step = float(figures[f"{kind}_scales"][open_ones])
    for name in (f"{kind}_z{bits}_out", f"{kind}_z{bits}_pact"):
        # float32 has no more than 24 bits.
        assert float((out - figures[name]).abs().max()) < max(1e-4 * step, 3e-7), name


@pytest.mark.parametrize("kind", ["weight", "act"])
@pytest.mark.parametrize("state", ["open", "sat", "low", "cut"])
def test_values_and_all_gradients_are_those_of_the_release(
    figures: Figures, kind: str, state: str
) -> None:
    """Also where a gate is 0 or behind one with phi of -2 or less."""
    quantizer = make(bool(figures[f"{kind}_signed"]), figures[f"{kind}_{state}_xmax"])
    set_gates(quantizer, figures[f"{kind}_{state}_gammas"])
    evenly(quantizer)
    x = figures[kind].clone().requires_grad_()
    out = quantizer(x, 0)
    out.backward(figures[f"{kind}_G"])
    xmax, phi = quantizer.xmax.grad, quantizer.phi.grad
    assert x.grad is not None and xmax is not None and phi is not None
    for ours, name in ((out.detach(), "out"), (x.grad, "dx"), (xmax.view(1), "dxmax")):
        torch.testing.assert_close(ours, figures[f"{kind}_{state}_{name}"], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(phi, figures[f"{kind}_{state}_dgamma"], rtol=2e-4, atol=2e-7)


def test_channels_are_pruned_as_in_the_release(figures: Figures) -> None:
    quantizer = make(True, figures["weight_xmax"], channels=6)
    assert quantizer.phi_channels is not None
    set_gates(quantizer, [OPEN, SHUT, SHUT, SHUT])
    with torch.no_grad():
        quantizer.phi_channels.copy_(figures["prune_gamma2"])
    torch.testing.assert_close(quantizer(figures["weight"], 0), figures["prune_eval_out"])
    kept = quantizer.kept()
    assert kept is not None and torch.equal(kept, figures["prune_eval_gate2"].bool())
    evenly(quantizer)
    out = quantizer(figures["weight"], 0)
    torch.testing.assert_close(out.detach(), figures["prune_train_out"])
    out.backward(figures["weight_G"])
    torch.testing.assert_close(quantizer.phi_channels.grad, figures["prune_dgamma2"])
    quantizer.zero_grad()
    quantizer.price_share = 300 / 1200
    price = quantizer.price()
    assert price.item() == pytest.approx(float(figures["prune_reg"]), rel=1e-6)
    price.backward()
    torch.testing.assert_close(quantizer.phi_channels.grad, figures["prune_reg_dgamma2"])
    assert quantizer.phi.grad is not None
    torch.testing.assert_close(
        quantizer.phi.grad.double(), figures["prune_reg_dgamma"], rtol=1e-5, atol=0
    )


# Of the release's LeNet-5: the layer whose multiplications a quantizer is charged, and channels.
LENET = ((1, None), (0, 32), (2, None), (1, 64), (3, None), (2, 512), (3, None))


@pytest.mark.parametrize("state", ["init", "mixed"])
def test_the_prior_is_that_of_the_release(figures: Figures, state: str) -> None:
    shares = figures["lenet_macs"] / figures["lenet_macs"].max()
    bits = {"init": [8] * 7, "mixed": [8, 8, 4, 4, 2, 2, 2]}[state]
    for at, (layer, channels) in enumerate(LENET):
        quantizer = make(True, torch.tensor(1.0), channels)
        open_ones = {2: 0, 4: 1, 8: 2}[bits[at]]
        set_gates(quantizer, [OPEN] * open_ones + [SHUT] * (4 - open_ones))
        if channels and state == "mixed":
            assert quantizer.phi_channels is not None
            with torch.no_grad():
                quantizer.phi_channels[: channels // 4] = SHUT
        quantizer.price_share = float(shares[layer])
        price = quantizer.price()
        assert price.item() == pytest.approx(float(figures[f"lenet_{state}_reg"][at]), rel=1e-5)
        price.backward()
        of_channels = 0.0 if channels is None else float(quantizer.phi_channels.grad.sum())
        ours = [*quantizer.phi.grad.tolist(), of_channels]
        assert ours == pytest.approx(
            figures[f"lenet_{state}_grad"][at].tolist(), rel=2e-4, abs=1e-9
        )


def test_a_gate_that_is_shut_for_good_is_so_in_the_release_alone() -> None:
    """No gradient reaches it there; otherwise a draw opens it now and then."""
    x = torch.linspace(-1, 1, 101)
    for release in (True, False):
        quantizer = make(True, torch.tensor(1.0))
        set_gates(quantizer, [OPEN, -2.5, OPEN, OPEN])
        quantizer.release = release
        quantizer.draws = torch.tensor([0.5, 0.95, 0.5, 0.5])
        (quantizer(x, 0) * x).sum().backward()
        assert quantizer.phi.grad is not None
        assert bool(quantizer.phi.grad[1] != 0) is not release


@given(
    st.lists(st.sampled_from([0.0, 0.3, 0.8, 1.0]), min_size=4, max_size=4),
    st.booleans(),
    st.integers(0, 9),
)
def test_it_is_the_sum_that_the_paper_writes(gates: list[float], signed: bool, seed: int) -> None:
    """And its gradient of x and of the gates is that of the sum, written out."""
    from models.qat.gated import _Gated

    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(3, 5, generator=generator)
    upstream = torch.randn(3, 5, generator=generator)
    xmax = torch.tensor(1.3, requires_grad=True)
    z = torch.tensor(gates, requires_grad=True)
    ours = x.clone().requires_grad_()
    out = _Gated.apply(ours, xmax, z, signed)
    (of_x, of_xmax, of_z) = torch.autograd.grad(out, (ours, xmax, z), upstream)

    theirs, range_, w = (
        x.clone().requires_grad_(),
        torch.tensor(1.3, requires_grad=True),
        z.detach(),
    )
    w.requires_grad_()
    written = written_out(theirs, range_, w, signed)
    torch.testing.assert_close(out, written, rtol=0, atol=1e-5)
    expected = torch.autograd.grad(written, (theirs, range_, w), upstream)
    torch.testing.assert_close(of_x, expected[0])
    torch.testing.assert_close(of_xmax, expected[1], rtol=1e-3, atol=2e-3)
    for at, gate in enumerate(gates):
        if 0 < gate < 1:  # at 0 and 1 the gate itself passes no gradient
            torch.testing.assert_close(of_z[at], expected[2][at], rtol=1e-3, atol=1e-4)


def written_out(x: Tensor, xmax: Tensor, z: Tensor, signed: bool) -> Tensor:
    low = -xmax if signed else torch.zeros(())
    inside = torch.minimum(torch.maximum(x, low * (1 - 1e-7)), xmax * (1 - 1e-7))
    step = (xmax - low) / 3
    rest, through, total = inside, torch.ones(()), torch.zeros(())
    for bits, gate in zip((2, 4, 8, 16, 32), (torch.ones(()), *z), strict=True):
        step = step if bits == 2 else step / (2 ** (bits // 2) + 1)
        u = rest / step
        part = step * (u + (u.round() - u).detach())
        through = through * gate
        total = total + through * part
        rest = rest - part
    return total


def test_where_reading_gates_would_wait_all_residuals_are_computed() -> None:
    """The same values, from tensors instead of numbers."""
    from models.qat import gated

    x, xmax = torch.randn(50), torch.tensor(1.5)
    z = torch.tensor([1.0, 0.4, 0.0, 0.0])
    on_host = gated._Gated.apply(x, xmax, z, True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gated, "_on_host", lambda value: False)
        assert len(gated._stages(z)) == 5
        torch.testing.assert_close(gated._Gated.apply(x, xmax, z, True), on_host)


def test_fewer_widths() -> None:
    quantizer = GatedQuantizer((8, 4, 2), Surrogate(), False, torch.tensor(1.0), None)
    assert quantizer.gated_widths == (4, 8)
    assert quantizer.width == 8
    only = GatedQuantizer((2,), Surrogate(), False, torch.tensor(3.0), None)
    x = torch.tensor([-1.0, 0.4, 0.6, 2.4, 9.0])
    assert only(x, 0).tolist() == [0, 0, 1, 2, 3]
    with pytest.raises(BenchError, match=r"bits=\[8, 2\]; the quantizers of Bayesian Bits double"):
        GatedQuantizer((8, 2), Surrogate(), False, torch.tensor(1.0), None)
