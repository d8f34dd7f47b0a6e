"""What every method keeps to, whoever wrote it."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from methods.base import Context, Method
from methods.registry import make_method, method_class
from models.errors import BenchError

IMAGES = 2


def tiny_parameters(name: str) -> dict[str, Any]:
    """Return a config of the method called `name` that takes no time."""
    known = {field.name for field in fields(method_class(name))}
    tiny: dict[str, Any] = {"name": name, "images": IMAGES}
    tiny |= {"source": {"name": "gaussian"}} if "source" in known else {}
    return tiny | ({"iterations": 2} if "iterations" in known else {})


def real_images(count: int) -> Tensor:
    """Training images for the methods that may have some."""
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(3))


def check_contract(name: str, network: nn.Module, make_context: Callable[..., Context]) -> None:
    """Assert that the method called `name` does to `network` what `methods.base` asks for."""
    cls = method_class(name)
    assert is_dataclass(cls) and cls.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert isinstance(cls.name, str) and cls.name
    assert isinstance(cls.version, int)
    assert cls.__doc__ and not cls.__doc__.startswith(f"{cls.__name__}(")

    method = make_method(tiny_parameters(name))
    assert method.not_applicable(network) is None
    before = {key: value.clone() for key, value in network.state_dict().items()}
    first = _images(method, network, make_context)
    torch.manual_seed(99)  # the global generator must not matter
    again = _images(method, network, make_context)
    assert torch.equal(first, again)
    assert not torch.equal(first, _images(method, network, make_context, seed=1))
    after = network.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert not network.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
    assert not any(p.requires_grad or p.grad is not None for p in network.parameters())

    with pytest.raises(BenchError, match="has no parameter 'imags'; did you mean 'images'"):
        make_method({"name": name, "imags": 1})
    with pytest.raises(BenchError, match="images=0; give at least 1"):
        make_method({"name": name, "images": 0})


def _images(
    method: Method, network: nn.Module, make_context: Callable[..., Context], seed: int = 0
) -> Tensor:
    changes: dict[str, Any] = {}
    if method.needs_real_images:
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(20, generator=generator)
        changes["real_images"] = lambda count: real_images(20)[order[:count]]
    calls: list[tuple[int, int]] = []

    def progress(done: int, total: int, loss: float | None = None) -> None:
        calls.append((done, total))

    found = method.calibrate(network, make_context(seed, progress=progress, **changes))
    assert found.images.shape == (IMAGES, 3, 8, 8)
    assert found.images.dtype == torch.float32
    assert found.images.device.type == "cpu"
    assert not found.images.requires_grad
    assert bool(torch.isfinite(found.images).all())
    assert all(isinstance(loss, float) for loss in found.curve)
    assert all(0 < done <= total for done, total in calls)
    assert calls == sorted(calls)
    return found.images
