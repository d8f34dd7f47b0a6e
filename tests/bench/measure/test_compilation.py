"""Compiled graphs: which network gets which, and that they compute what the network does."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, fx, nn
from torch._inductor.runtime.cache_dir_utils import default_cache_dir

from bench.measure import compilation
from bench.measure.compilation import checked, compiled, multiplications, worth_compiling
from models.errors import BenchError
from models.inference import with_fixed_batchnorm
from models.quantize.network import quantize
from models.quantize.spec import QuantSpec
from models.zoo import entry

IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[fx.GraphModule]]:
    """Get every graph that is compiled, by a compiler that needs no C++ and changes nothing."""
    made: list[fx.GraphModule] = []

    def backend(graph: fx.GraphModule, example: list[Tensor]) -> Callable[..., object]:
        made.append(graph)
        return graph.forward

    monkeypatch.setattr(compilation, "BACKEND", backend)
    torch.compiler.reset()
    yield made
    torch.compiler.reset()


def test_multiplications_of_a_network(tiny_network: nn.Module) -> None:
    # Three convolutions of 3 x 3 at 8 x 8 places, from 3, 4 and 4 channels to 4; a layer 4 to 5.
    of_one = 64 * 4 * 9 * (3 + 4 + 4) + 20
    assert multiplications(tiny_network, IMAGES) == 4 * of_one


def test_multiplications_of_resnet20() -> None:
    # He et al. 2015, table 6 has the network; 41 million is the figure that is quoted for it.
    assert (
        multiplications(entry("resnet20").network().eval(), torch.zeros(1, 3, 32, 32)) == 40813184
    )


@pytest.mark.parametrize("images", [2, 3, 4])
def test_worth_it_from_a_number_of_multiplications_on(
    images: int, tiny_network: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = IMAGES[:1]
    monkeypatch.setitem(compilation._WORTH, "cpu", 3 * multiplications(tiny_network, one))
    assert worth_compiling(tiny_network, images, one, "auto") == (images >= 3)


@pytest.mark.parametrize("wish", [True, False])
def test_a_wish_is_followed(wish: bool, tiny_network: nn.Module) -> None:
    assert worth_compiling(tiny_network, 1, IMAGES[:1], wish) == wish


@pytest.mark.thorough
def test_one_graph_serves_every_bit_width_and_none_of_another_network(
    tiny_network: nn.Module, graphs: list[fx.GraphModule]
) -> None:
    def quantized(w_bits: int, a_bits: int, sites: str = "relu") -> nn.Module:
        return quantize(tiny_network, QuantSpec(w_bits, a_bits, sites=sites), IMAGES).network

    order = [
        (tiny_network, 1),
        (quantized(8, 8), 2),
        (quantized(4, 4), 2),
        (quantized(3, 6), 2),
        (tiny_network, 2),
        (quantized(4, 4, "all"), 3),
        (quantized(8, 2), 3),
    ]
    with torch.inference_mode():
        for network, expected in order:
            # The backend computes as PyTorch does, so only BatchNorm's rounding is another.
            expected_logits = with_fixed_batchnorm(network)(IMAGES)
            assert torch.equal(compiled(network)(IMAGES), expected_logits)
            assert len(graphs) == expected


def test_beyond_the_limit_of_graphs_it_is_compiled_anew(
    tiny_network: nn.Module, graphs: list[fx.GraphModule], monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTorch would go on uncompiled, without a word."""
    monkeypatch.setattr(compilation, "_GRAPHS", 1)
    quantized = quantize(tiny_network, QuantSpec(8, 8), IMAGES).network
    with torch.inference_mode():
        for network, expected in ((tiny_network, 1), (quantized, 2), (quantized, 2)):
            run = checked(network, IMAGES, True)
            assert run is not None
            assert torch.equal(run(IMAGES), with_fixed_batchnorm(network)(IMAGES))
            assert len(graphs) == expected


def failing(graph: fx.GraphModule, example: list[Tensor]) -> Callable[..., object]:
    raise RuntimeError("no compiler found\nsecond line")


def test_without_a_compiler_it_is_said_and_not_compiled(
    tiny_network: nn.Module, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(compilation, "BACKEND", failing)
    torch.compiler.reset()
    caplog.set_level("WARNING", logger="bench")
    with torch.inference_mode():
        assert checked(tiny_network, IMAGES, "auto") is None
    [line] = caplog.messages
    assert line.startswith("warning: the network is not compiled: ")
    assert "no compiler found" in line
    assert line.endswith("install a C++ compiler, or give runtime.compile=false")
    assert "second line" not in line


def test_without_a_compiler_what_asks_for_it_fails(
    tiny_network: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compilation, "BACKEND", failing)
    torch.compiler.reset()
    with pytest.raises(BenchError, match=r"cannot compile the network: .*no compiler found"):
        checked(tiny_network, IMAGES, True)


@pytest.mark.parametrize("named", ["", default_cache_dir(), "own"])
def test_compiled_code_is_kept_in_no_folder_that_others_share(
    tiny_network: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", named and str(tmp_path / named))
    compiled(tiny_network)
    used = tmp_path / ("own" if named == "own" else ".cache/quantization-bench/compiled")
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(used)
    assert used.is_dir()


@pytest.mark.parametrize(
    ("folder", "problem"),
    [
        ("/proc/none", "/proc/none cannot be made"),
        ("~nobody-of-this-name/compiled", "~nobody-of-this-name/compiled cannot be made"),
    ],
)
def test_without_a_folder_for_what_is_compiled(
    tiny_network: nn.Module,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    folder: str,
    problem: str,
) -> None:
    """As with a HOME that cannot be written, or none at all."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", folder)
    why = (
        f"{problem}; set TORCHINDUCTOR_CACHE_DIR to a folder that can be written, or give "
        "runtime.compile=false"
    )
    with pytest.raises(BenchError) as caught:
        checked(tiny_network, IMAGES, True)
    assert str(caught.value) == f"cannot compile the network: {why}"
    caplog.set_level("WARNING", logger="bench")
    assert checked(tiny_network, IMAGES, "auto") is None
    assert caplog.messages == [f"warning: the network is not compiled: {why}"]


@pytest.mark.compiler
@pytest.mark.parametrize("name", ["resnet20", "mobilenetv2_cifar"])
def test_compiled_predictions_are_those_of_the_network(name: str) -> None:
    torch.compiler.reset()
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(64, 3, 32, 32, generator=generator).to(memory_format=torch.channels_last)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = entry(name).network().eval().requires_grad_(False)
    network = network.to(memory_format=torch.channels_last)
    for spec in (None, QuantSpec(8, 8), QuantSpec(4, 4)):
        each = network if spec is None else quantize(network, spec, images).network
        with torch.inference_mode():
            expected, found = each(images), compiled(each)(images)
        # A value beside a rounding threshold may fall on its other side.
        assert (found.argmax(1) == expected.argmax(1)).sum() >= 63
        assert (found - expected).abs().mean() < 0.02 * expected.abs().mean()
