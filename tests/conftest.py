"""What the tests of several rooms share: a tiny network, a context, the golden figures."""

import copy
import gc
import io
import os
import random
import secrets
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from omegaconf import OmegaConf
from pytorchcv.models.resnet_cifar import resnet20_cifar10
from safetensors.torch import load_file
from torch import Tensor, nn

from bench.cells.seeds import torch_generator
from methods.base import Context

GOLDEN = Path(__file__).parent / "golden"

# Tiny tensors gain nothing from threads, and on a busy machine threads that wait for each other
# make a test 20 times slower. The variable is for the processes that tests start.
torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same examples wherever tests run, however long a busy machine takes to draw them;
# `--hypothesis-profile=default` draws others.
settings.register_profile(
    "same",
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("same")

# Millions of objects of libraries are looked through for garbage again and again, a quarter of the
# time of a test that composes configs. Whatever is there once the tests are known stays to the end.
gc.set_threshold(50_000)


def pytest_collection_finish() -> None:
    gc.freeze()


def pytest_unconfigure() -> None:
    gc.unfreeze()  # or libraries complain of objects that nobody takes apart


@pytest.fixture(scope="session", autouse=True)
def _configs_parsed_once() -> Iterator[None]:
    """Hydra parses every file again for each config that it composes, a fifth of its time."""
    parse, parsed = OmegaConf.load, dict[str, Any]()

    def load(file: Any) -> Any:
        if not isinstance(file, io.TextIOBase):
            return parse(file)
        if (text := file.read()) not in parsed:
            file.seek(0)
            parsed[text] = parse(file)
        return copy.deepcopy(parsed[text])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OmegaConf, "load", staticmethod(load))
        yield


# Of the moments at which tests kill; one for a run and all its workers, who get it from here.
SEED = os.environ.setdefault("TEST_SEED", str(secrets.randbelow(10**6)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """`-n auto`: the cores that this process may use, not those that the machine has."""
    return joblib.cpu_count()


@pytest.fixture(autouse=True)
def _threads_put_back() -> Iterator[None]:
    """A cell sets the threads of its process; the next test has the number from above again."""
    yield
    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)


@pytest.fixture
def moments(request: pytest.FixtureRequest) -> random.Random:
    """Random moments, the same in any order of tests; a failure shows how to draw them again."""
    sys.stdout.write(f"TEST_SEED={SEED} draws the same moments again\n")
    return random.Random(f"{SEED} {request.node.nodeid}")


class TinyNetwork(nn.Module):
    """Three convolutions with BatchNorm and one ReLU used three times: (N, 3, H, W) to (N, 5).

    BatchNorm layer i has running means i / 10, (i + 1) / 10, ... and running variances (1 + i) / 4.
    """

    def __init__(self) -> None:
        super().__init__()
        channels = (3, 4, 4, 4)
        pairs = list(pairwise(channels))
        self.convs = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1, bias=False) for i, o in pairs)
        self.norms = nn.ModuleList(nn.BatchNorm2d(o) for _, o in pairs)
        self.relu = nn.ReLU()
        self.head = nn.Linear(4, 5)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in self.parameters():
                if parameter.dim() > 1:
                    fan_in = parameter[0].numel()
                    draw = torch.randn(parameter.shape, generator=generator)
                    parameter.copy_(draw / fan_in**0.5)
        for index, (_, width) in enumerate(pairs):
            self.norms[index].running_mean = (index + torch.arange(width)) / 10
            self.norms[index].running_var = torch.full((width,), (1 + index) / 4)

    def forward(self, x: Tensor) -> Tensor:
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = self.relu(norm(conv(x)) + 0.5)
        return self.head(x.mean(dim=(2, 3)))


@pytest.fixture
def tiny_network() -> nn.Module:
    """A `TinyNetwork` as the harness hands networks over: in eval mode, frozen."""
    return TinyNetwork().eval().requires_grad_(False)


def _no_real_images(count: int) -> Tensor:
    raise AssertionError("a data-free method touched the training images")


@pytest.fixture
def make_context() -> Callable[..., Context]:
    """Make a context for 8 x 8 images on the CPU whose training images raise when touched."""

    def make(seed: int = 0, **changes: Any) -> Context:
        given: dict[str, Any] = {
            "input_shape": (3, 8, 8),
            "generator": lambda purpose: torch_generator(seed, purpose),
            "real_images": _no_real_images,
            "device": torch.device("cpu"),
            "pixel_range": (torch.full((1, 3, 1, 1), -2.0), torch.full((1, 3, 1, 1), 2.0)),
        }
        return Context(**(given | changes))

    return make


@pytest.fixture(scope="session")
def golden() -> Callable[[str], dict[str, np.ndarray]]:
    """Read a file of `tests/golden` by its stem."""

    def read(name: str) -> dict[str, np.ndarray]:
        with np.load(GOLDEN / f"{name}.npz") as arrays:
            return dict(arrays)

    return read


@pytest.fixture
def golden_network() -> nn.Module:
    """The network that the golden figures were recorded with."""
    network: nn.Module = resnet20_cifar10(num_classes=10)
    network.load_state_dict(load_file(GOLDEN / "resnet20_mnist5k.safetensors"))
    return network.eval().requires_grad_(False)
