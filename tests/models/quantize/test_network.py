"""A whole network is quantized: what changes, and what does not."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from models.errors import BenchError, NotApplicable
from models.quantize.activation import weighted_layers
from models.quantize.mixed import size_mb
from models.quantize.network import quantize
from models.quantize.ranges import WeightFormat, quantize_weight
from models.quantize.spec import QuantSpec


@pytest.fixture
def images() -> Tensor:
    return torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def state(network: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in network.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return list(one) == list(other) and all(torch.equal(one[key], other[key]) for key in one)


def layers_of(network: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    return list(weighted_layers(network).values())


@pytest.mark.parametrize("sites", ["relu", "all"])
def test_float_network_is_untouched(tiny_network: nn.Module, images: Tensor, sites: str) -> None:
    before, output = state(tiny_network), tiny_network(images)
    quantized = quantize(tiny_network, QuantSpec(2, 2, sites=sites), images).network
    assert same(before, state(tiny_network))
    assert torch.equal(tiny_network(images), output)
    assert not torch.equal(quantized(images), output)
    hooks = [(m._forward_hooks, m._forward_pre_hooks) for m in tiny_network.modules()]
    assert not any(post or pre for post, pre in hooks)


def test_returned_in_eval_mode(tiny_network: nn.Module, images: Tensor) -> None:
    assert not quantize(tiny_network.train(), QuantSpec(8, 8), images).network.training
    assert tiny_network.training


@pytest.mark.parametrize("scheme", ["affine", "symmetric"])
@pytest.mark.parametrize("granularity", ["channel", "tensor"])
def test_weights_are_quantized_once(
    tiny_network: nn.Module, images: Tensor, scheme: str, granularity: str
) -> None:
    spec = QuantSpec(3, 8, w_scheme=scheme, w_granularity=granularity)
    quantized = quantize(tiny_network, spec, images).network
    after = state(quantized)
    for _ in range(2):
        quantized(images)
    assert same(after, state(quantized))
    for layer, original in zip(layers_of(quantized), layers_of(tiny_network), strict=True):
        expected = quantize_weight(original.weight, WeightFormat(3, scheme, granularity))
        assert torch.equal(layer.weight, expected)
    assert torch.equal(
        quantized.get_parameter("head.bias"), tiny_network.get_parameter("head.bias")
    )


@pytest.mark.parametrize("sites", ["relu", "all"])
def test_keys_of_the_network_are_kept(tiny_network: nn.Module, images: Tensor, sites: str) -> None:
    quantized = quantize(tiny_network, QuantSpec(4, 4, sites=sites), images).network
    before, after = state(tiny_network), state(quantized)
    assert before.keys() <= after.keys()
    added = after.keys() - before.keys()
    assert added and all(".input_quantizer." in k or ".output_quantizer." in k for k in added)
    for key in before:
        if "norms" in key:
            assert torch.equal(before[key], after[key])


def test_32_bit_activations_leave_no_quantizer(tiny_network: nn.Module, images: Tensor) -> None:
    quantized = quantize(tiny_network, QuantSpec(4, 32), images)
    assert quantized.quantizers == {}
    assert state(quantized.network).keys() == state(tiny_network).keys()


def test_32_bit_weights_stay(tiny_network: nn.Module, images: Tensor) -> None:
    quantized = quantize(tiny_network, QuantSpec(32, 4), images)
    before, after = state(tiny_network), state(quantized.network)
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert len(quantized.quantizers) == 1


def test_float_spec_is_the_float_network(tiny_network: nn.Module, images: Tensor) -> None:
    quantized = quantize(tiny_network, QuantSpec(32, 32), images)
    assert torch.equal(quantized.network(images), tiny_network(images))


def test_more_bits_come_closer(tiny_network: nn.Module, images: Tensor) -> None:
    exact = tiny_network(images)
    gaps = [
        float((quantize(tiny_network, QuantSpec(b, b), images).network(images) - exact).norm())
        for b in (2, 4, 8, 16)
    ]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 1e-3 * float(exact.norm())


def test_every_layer_input(tiny_network: nn.Module, images: Tensor) -> None:
    quantized = quantize(tiny_network, QuantSpec(8, 8, sites="all"), images)
    assert list(quantized.quantizers) == ["convs.0", "convs.1", "convs.2", "head"]
    first = quantized.quantizers["convs.0"]
    assert [first.low.item(), first.high.item()] == [images.min().item(), images.max().item()]


def test_shared_relu_has_one_range(tiny_network: nn.Module, images: Tensor) -> None:
    outputs: list[Tensor] = []
    quantized = quantize(tiny_network, QuantSpec(32, 16), images)
    assert list(quantized.quantizers) == ["relu"]
    tiny_network.get_submodule("relu").register_forward_hook(
        lambda module, args, output: outputs.append(output)
    )
    tiny_network(images)
    assert len(outputs) == 3
    highest = max(float(output.max()) for output in outputs)
    assert quantized.quantizers["relu"].high.item() == pytest.approx(highest, rel=1e-3)


def test_a_network_without_relu() -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.SiLU())
    with pytest.raises(NotApplicable, match=r"quant\.sites=relu: the network has no such place"):
        quantize(network, QuantSpec(8, 8), torch.zeros(1, 3, 2, 2))
    assert list(quantize(network, QuantSpec(8, 8, sites="all"), torch.ones(1, 3, 2, 2))[1]) == ["0"]


def test_ranges_by_channel_cannot_be_shared_by_other_channels() -> None:
    relu = nn.ReLU()
    network = nn.Sequential(nn.Conv2d(3, 1, 1), relu, nn.Conv2d(1, 6, 1), relu)
    images = torch.ones(1, 3, 2, 2)
    with pytest.raises(NotApplicable, match="serves 1 and 6 channels, which cannot share ranges"):
        quantize(network, QuantSpec(8, 8, a_granularity="channel"), images)
    assert len(quantize(network, QuantSpec(8, 8), images).quantizers) == 1


class Tokens(nn.Module):
    """A linear layer that sees (N, tokens, C), or (N, H, W, C)."""

    def __init__(self, flat: bool) -> None:
        super().__init__()
        self.conv, self.relu, self.linear = nn.Conv2d(3, 6, 1), nn.ReLU(), nn.Linear(6, 10)
        self.flat = flat

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).permute(0, 2, 3, 1)
        return self.linear(self.relu(x.flatten(1, 2) if self.flat else x)).flatten(1, -2).mean(1)


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("name", ["minmax", "ema", "percentile", "mse", "entropy"])
def test_ranges_by_channel_of_a_linear_layer_are_by_its_last_axis(name: str, flat: bool) -> None:
    network = Tokens(flat).requires_grad_(False)
    spec = QuantSpec(32, 8, sites="all", a_granularity="channel", a_range=name)
    images = torch.randn(3, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    quantized = quantize(network, spec, images)
    found = quantized.quantizers["linear"]
    assert found.low.shape == found.high.shape == (1,) * (2 if flat else 3) + (6,)
    if name == "minmax":
        seen = network.conv(images).relu()
        assert torch.allclose(found.high.flatten(), seen.amax((0, 2, 3)), rtol=0.02)
    # As many tokens as an image has: what held for 20 of them holds for 9.
    assert quantized.network(images[:, :, :3, :3]).shape == (3, 10)


def test_channels_behind_a_relu_are_not_guessed() -> None:
    spec = QuantSpec(32, 8, a_granularity="channel")
    with pytest.raises(NotApplicable) as caught:
        quantize(Tokens(flat=True), spec, torch.ones(1, 3, 2, 2))
    assert str(caught.value) == (
        "quant.a_granularity=channel: an activation of shape (1, 4, 6) passes, and which of its "
        "axes holds the channels is not known; use tensor"
    )


@pytest.mark.parametrize("scheme", ["affine", "symmetric"])
@pytest.mark.parametrize("granularity", ["tensor", "channel"])
@pytest.mark.parametrize("sites", ["relu", "all"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_calibration_that_is_not_finite(
    tiny_network: nn.Module,
    images: Tensor,
    bad: float,
    sites: str,
    granularity: str,
    scheme: str,
) -> None:
    images[3, 1, 2, 2] = bad
    spec = QuantSpec(8, 8, a_scheme=scheme, a_granularity=granularity, sites=sites)
    first = {"relu": "relu", "all": "convs.0"}[sites]
    with pytest.raises(BenchError, match=f"the activation range of '{first}' is not finite; look"):
        quantize(tiny_network, spec, images)


@pytest.mark.parametrize(
    "name", ["ema", "percentile", "mse", "entropy", "omse", "fq_vit", "aciq_gauss"]
)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_no_range_estimator_hides_what_is_not_finite(
    tiny_network: nn.Module, images: Tensor, bad: float, name: str
) -> None:
    images[3, 1, 2, 2] = bad
    for scheme in ("affine", "symmetric")[name == "omse" :]:
        spec = QuantSpec(8, 8, sites="all", a_range=name, a_scheme=scheme)
        with pytest.raises(BenchError, match=r"range of 'convs\.0' is not finite"):
            quantize(tiny_network, spec, images)


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
@pytest.mark.parametrize("sites", ["relu", "all"])
def test_an_image_does_not_see_its_batch(
    tiny_network: nn.Module, images: Tensor, granularity: str, sites: str
) -> None:
    # Fine levels: another order of summing may move a value by one of them, which is 2e-4 here.
    spec = QuantSpec(32, 16, a_granularity=granularity, sites=sites)
    quantized = quantize(tiny_network, spec, images).network
    others = 100 * torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    batch = torch.cat([images[:1], others])
    together = quantized(batch)
    alone = torch.cat([quantized(image[None]) for image in batch])
    assert torch.allclose(together, alone, rtol=0, atol=1e-3)
    assert torch.equal(quantized(batch), together)


def test_a_dead_relu_stays_dead() -> None:
    conv = nn.Conv2d(3, 2, 1, bias=False).requires_grad_(False)
    conv.weight.fill_(1)
    network = nn.Sequential(conv, nn.ReLU())
    quantized = quantize(network, QuantSpec(32, 8), -torch.ones(2, 3, 4, 4)).network
    ones = torch.ones(1, 3, 4, 4)
    assert network(ones).min() == 3
    assert quantized(ones).abs().max() <= 1e-8


@pytest.mark.parametrize("bits", [(4, 4), (32, 8), (8, 32)])
def test_repeatable(tiny_network: nn.Module, images: Tensor, bits: tuple[int, int]) -> None:
    make: Callable[[], nn.Module] = lambda: quantize(tiny_network, QuantSpec(*bits), images).network  # noqa: E731
    assert torch.equal(make()(images), make()(images))


def test_a_calibration_batch_without_images(tiny_network: nn.Module, images: Tensor) -> None:
    with pytest.raises(BenchError, match="the calibration batch has no images"):
        quantize(tiny_network, QuantSpec(4, 4), images[:0])


class Scaling(nn.Module):
    """Scales its input, in place or not, before a network sees it."""

    def __init__(self, network: nn.Module, in_place: bool) -> None:
        super().__init__()
        self.network, self.in_place = network, in_place

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x.mul_(0.9) if self.in_place else x * 0.9)


@pytest.mark.parametrize("rounding", ["nearest", "adaround"])
def test_calibration_images_are_as_they_were_at_each_pass(
    tiny_network: nn.Module, images: Tensor, rounding: str
) -> None:
    spec = QuantSpec(4, 4, rounding=rounding, rounding_iterations=3, fold=True)
    ranges = []
    for in_place in (True, False):
        given = images.clone()
        made = quantize(Scaling(tiny_network, in_place), spec, given)
        assert torch.equal(given, images)
        ranges.append([(float(q.low), float(q.high)) for q in made.quantizers.values()])
        weights = [layer.weight for layer in layers_of(made.network)]
        ranges[-1].extend((float(w.min()), float(w.max())) for w in weights)
    assert ranges[0] == ranges[1]


def test_a_network_without_a_layer_to_see_is_refused(
    tiny_network: nn.Module, images: Tensor
) -> None:
    traced = torch.jit.trace(tiny_network.eval(), images[:1])
    for spec in (QuantSpec(2, 32), QuantSpec(32, 32, first_bits=4), QuantSpec(4, 4, sites="all")):
        with pytest.raises(NotApplicable, match="is TorchScript, whose layers cannot be seen"):
            quantize(traced, spec, images)
    with pytest.raises(NotApplicable, match=r"has no nn\.Conv2d or nn\.Linear layer: nothing"):
        quantize(nn.Sequential(nn.Conv1d(3, 3, 1)), QuantSpec(4, 32), images[..., 0])


class Tied(nn.Module):
    """Two linear layers of one weight, which is far from symmetric."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
        weight = torch.linspace(-0.2, 3, 16).exp().view(4, 4)
        self.a.weight = self.b.weight = nn.Parameter(weight, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x.mean((2, 3))[:, [0, 1, 2, 0]]))


@pytest.mark.parametrize("rounding", ["nearest", "adaround"])
def test_a_weight_that_layers_share_is_quantized_once(images: Tensor, rounding: str) -> None:
    spec = QuantSpec(3, 32, w_range="mse", rounding=rounding, rounding_iterations=1)
    network = Tied()
    made = quantize(network, spec, images).network
    first, second = layers_of(made)
    assert first.weight is second.weight
    once = quantize_weight(network.a.weight, WeightFormat(3, "affine", "channel", "mse"))
    assert rounding == "adaround" or torch.equal(first.weight, once)
    assert size_mb(network, {"a": 3, "b": 3}) == 16 * 3 / 8 / 2**20
    with pytest.raises(BenchError, match="'b' shares its weight with another, and they are to ha"):
        quantize(network, QuantSpec(3, 32, last_bits=8), images)
