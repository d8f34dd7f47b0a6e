"""BatchNorm folding keeps the function and finds its pairs by what flows where."""

import pytest
import torch
from torch import Tensor, nn

from models.errors import NotApplicable
from models.quantize.fold import fold_batchnorm
from models.quantize.identity import effective, identity
from models.quantize.layers import call_order
from models.quantize.network import quantize
from models.quantize.spec import QuantSpec
from tests.models.frozen import frozen_network


def test_one_channel_by_hand() -> None:
    conv = nn.Conv2d(1, 1, 1)
    batchnorm = nn.BatchNorm2d(1, eps=0.0)
    with torch.no_grad():
        conv.weight.fill_(3.0)
        conv.bias.fill_(1.0)  # type: ignore[union-attr]
        batchnorm.weight.fill_(2.0)
        batchnorm.bias.fill_(5.0)
    batchnorm.running_mean, batchnorm.running_var = torch.tensor([7.0]), torch.tensor([4.0])
    network = nn.Sequential(conv, batchnorm).eval()
    assert fold_batchnorm(network, torch.ones(1, 1, 2, 2)) == ["1"]
    # (3x + 1 - 7) / 2 * 2 + 5 = 3x - 1
    folded = network[0]
    assert isinstance(folded, nn.Conv2d) and folded.bias is not None
    assert (folded.weight.item(), folded.bias.item()) == (3, -1)
    assert isinstance(network[1], nn.Identity)


def test_whole_network_computes_the_same(golden_network: nn.Module) -> None:
    x = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = golden_network(x)
        folded = fold_batchnorm(golden_network, x[:1])
        after = golden_network(x)
    assert len(folded) == 21
    assert torch.allclose(before, after, atol=1e-4)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in golden_network.modules())


def test_efficientnet_keeps_the_activations_inside_its_batchnorms() -> None:
    from models.networks.efficientnet_lite import lite0

    network = lite0().eval()
    for module in network.modules():  # statistics that folding would show
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-1, 1)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    relus = sum(isinstance(m, nn.ReLU6) for m in network.modules())
    assert len(fold_batchnorm(network, torch.randn(1, 3, 64, 64))) == 49
    assert sum(isinstance(m, nn.ReLU6) for m in network.modules()) == relus == 33


class Forked(nn.Module):
    """The convolution's output is used beside its BatchNorm too."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.norm(y) - y


def test_output_that_is_used_elsewhere_is_refused() -> None:
    network = Forked().eval()
    network.norm.running_var = torch.full((3,), 9.0)
    with pytest.raises(NotApplicable, match="used elsewhere"):
        fold_batchnorm(network, torch.randn(1, 3, 4, 4))


def test_a_synchronised_batchnorm_is_folded_behind_a_convolution() -> None:
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Flatten(), nn.BatchNorm1d(64))
    network.train()(x)
    before = network.eval()(x)
    network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
    with torch.no_grad():
        assert fold_batchnorm(network, x[:1]) == ["1"]
        assert torch.allclose(network(x), before, atol=1e-5)


def test_chance_is_not_taken_for_another_use() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), Dropping()).eval()
    with pytest.raises(NotApplicable, match="two passes of one image differ, so that folding"):
        fold_batchnorm(network, torch.ones(1, 3, 4, 4))


class Dropping(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, 0.5)


def test_batchnorm_before_its_convolution_is_left() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 3, 1)).eval()
    assert fold_batchnorm(network, torch.randn(1, 3, 4, 4)) == []


def test_spec_fold_quantizes_the_folded_weights(golden_network: nn.Module) -> None:
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    quantized = quantize(golden_network, QuantSpec(8, 8, fold=True), x).network
    assert not any(isinstance(m, nn.BatchNorm2d) for m in quantized.modules())
    assert any(isinstance(m, nn.BatchNorm2d) for m in golden_network.modules())
    with torch.no_grad():
        assert torch.equal(quantized(x).argmax(1), golden_network(x).argmax(1))


def test_first_and_last_bits_reach_the_layers_called_first_and_last() -> None:
    class Backwards(nn.Module):
        """Registered in the opposite order of the calls."""

        def __init__(self) -> None:
            super().__init__()
            self.head, self.middle = nn.Linear(4, 3), nn.Conv2d(4, 4, 1)
            self.stem = nn.Conv2d(3, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.middle(self.stem(x)).mean((2, 3)))

    torch.manual_seed(0)
    network = Backwards().eval()
    x = torch.randn(2, 3, 5, 5)
    assert call_order(network, x[:1]) == ["stem", "middle", "head"]
    spec = QuantSpec(2, 2, sites="all", first_bits=8, last_bits=32, w_granularity="tensor")
    quantized, quantizers, *_ = quantize(network, spec, x)
    assert {name: q.bits for name, q in quantizers.items()} == {"stem": 8, "middle": 2}
    assert len(quantized.get_parameter("middle.weight").unique()) <= 4
    assert len(quantized.get_parameter("stem.weight").unique()) > 4
    assert torch.equal(quantized.get_parameter("head.weight"), network.head.weight)


@pytest.mark.parametrize(
    ("spec", "float_like"),
    [
        (QuantSpec(32, 32, fold=True, sites="all"), True),
        (QuantSpec(32, 32, first_bits=32), True),
        (QuantSpec(32, 32, first_bits=8), False),
    ],
)
def test_float_is_float_whatever_idles(spec: QuantSpec, float_like: bool) -> None:
    assert spec.is_float is float_like
    assert (effective(spec) == QuantSpec(32, 32)) is float_like


def test_identity_holds_only_what_differs_from_the_defaults() -> None:
    assert identity(QuantSpec(4, 8)) == {"w_bits": 4, "a_bits": 8}
    spec = QuantSpec(4, 32, sites="all", a_range="mse", fold=True)  # no activation is quantized
    assert identity(spec) == {"w_bits": 4, "a_bits": 32, "fold": True}


def test_tf32_is_off_while_outputs_are_compared(golden_network: nn.Module) -> None:
    """Its rounding is as large as what folding may change."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    seen = []
    golden_network.register_forward_hook(
        lambda *_: seen.append((cudnn.allow_tf32, matmul.allow_tf32))
    )
    before = cudnn.allow_tf32, matmul.allow_tf32
    try:
        cudnn.allow_tf32 = matmul.allow_tf32 = True
        fold_batchnorm(golden_network, torch.zeros(1, 3, 32, 32))
        assert (cudnn.allow_tf32, matmul.allow_tf32) == (True, True)
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = before
    assert (seen[0], seen[-1]) == ((False, False), (False, False))


def test_a_frozen_batchnorm_is_folded_with_its_own_eps() -> None:
    x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    for eps in (0.0, 0.1):
        network = frozen_network(eps)
        frozen, weight = network[1], network[0].weight.clone()
        scale = frozen.weight * (frozen.running_var + eps).rsqrt()
        with torch.no_grad():
            before = network(x)
            assert fold_batchnorm(network, x[:1]) == ["1", "4"]
            assert torch.allclose(network(x), before, atol=1e-4)
        assert torch.allclose(network[0].weight, weight * scale.view(-1, 1, 1, 1))
