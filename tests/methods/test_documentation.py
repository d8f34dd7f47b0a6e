"""What docs/add_a_method.md shows works as it stands there."""

import importlib
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from methods.base import Context, Method
from methods.registry import make_method
from models.quantize.network import quantize
from models.quantize.spec import QuantSpec
from tests.methods.contract import check_contract
from tests.methods.documentation import PAGE, blocks


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The page's first Python block as a module that can be imported; its method's path."""
    (tmp_path / "smooth_noise.py").write_text(blocks("python")[0])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "smooth_noise", raising=False)
    importlib.invalidate_caches()
    return "smooth_noise:SmoothNoise"


def test_example_keeps_the_contract(
    example: str, tiny_network: nn.Module, make_context: Callable[..., Context]
) -> None:
    check_contract(example, tiny_network, make_context)


def test_test_of_the_example_passes(example: str) -> None:
    namespace: dict[str, Callable[[], None]] = {}
    exec(compile(blocks("python")[1], PAGE, "exec"), namespace)
    namespace["test_smooth_noise"]()


def test_config_of_the_example(example: str) -> None:
    (config,) = blocks("yaml")
    made = make_method(yaml.safe_load(config))
    assert (made.name, made.images, made.coarse) == ("smooth_noise", 64, 2)  # type: ignore[attr-defined]


def test_entry_point_of_the_example(example: str) -> None:
    (toml,) = blocks("toml")
    groups = tomllib.loads(toml)["project"]["entry-points"]
    assert groups == {"quantization_bench.methods": {"smooth_noise": example}}


def test_class_attributes_have_the_defaults_it_states() -> None:
    page = PAGE.read_text()
    for name in ("needs_real_images", "cached", "version", "bibtex"):
        default = getattr(Method, name)
        stated = '""' if default == "" else str(default)
        assert f"| `{name}` | `{stated}` |" in page


def test_rounding_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_rounding.py").write_text(blocks("python")[2], encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_rounding", raising=False)
    importlib.invalidate_caches()
    wide = nn.Sequential(nn.Conv2d(1, 4, 1, bias=False), nn.ReLU()).requires_grad_(False)
    wide[0].weight.copy_(torch.tensor([-7.0, 1.2, 2.4, 7.0]).view(4, 1, 1, 1))  # type: ignore[operator]
    # Four bits over [-7, 7] for all channels: a step of 1.
    spec = QuantSpec(
        4, 32, w_scheme="symmetric", w_granularity="tensor", rounding="my_rounding:ToOdd"
    )
    quantized = quantize(wide, spec, torch.ones(1, 1, 2, 2)).network
    assert quantized.get_parameter("0.weight").flatten().tolist() == [-7, 1, 3, 7]
