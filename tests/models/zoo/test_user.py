import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from models.errors import BenchError
from models.preprocessing import Preprocessing
from models.zoo import choose_weights, entry, sha256_of
from models.zoo.weights import load

SOURCE = """
import torch
from torch import nn
from models.preprocessing import Preprocessing

preprocessing = Preprocessing(8, 9, "bicubic", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))

def small():
    "Three inputs a pixel."
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())

def other():
    return small()
other.preprocessing = Preprocessing(16, 16, "bilinear", (0, 0, 0), (1, 1, 1))

def random():
    return nn.Linear(2, 2)

def broken():
    raise KeyError("no such layer")

def nothing():
    return None

number = 3
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Write the module own_networks anew, where it can be imported from."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(source: str) -> Path:
        path = tmp_path / "own_networks.py"
        path.write_text(source)
        monkeypatch.delitem(sys.modules, "own_networks", raising=False)
        importlib.invalidate_caches()
        return path

    return write


@pytest.fixture(autouse=True)
def module(write: Callable[[str], Path]) -> Path:
    return write(SOURCE)


def test_the_weights_it_returns(module: Path, tmp_path: Path) -> None:
    found = entry("own_networks:small")
    assert (found.name, found.classes) == ("own_networks:small", None)
    assert found.code == sha256_of(module)
    weights = choose_weights(found, "none")
    assert weights.preprocessing == Preprocessing(8, 9, "bicubic", (0.5,) * 3, (0.25,) * 3)
    network, sha256 = load(found, weights)
    assert isinstance(network, nn.Sequential)
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    save_file(network.state_dict(), tmp_path / "same.safetensors")
    assert weights.identity == weights.sha256 == sha256 == sha256_of(tmp_path / "same.safetensors")


def test_a_file_of_weights(tmp_path: Path) -> None:
    found = entry("own_networks:small")
    state = {key: tensor + 1 for key, tensor in found.network().state_dict().items()}
    save_file(state, tmp_path / "mine.safetensors")
    weights = choose_weights(found, str(tmp_path / "mine.safetensors"))
    assert weights.preprocessing.size == 8
    network, sha256 = load(found, weights)
    assert sha256 == sha256_of(tmp_path / "mine.safetensors")
    assert all(torch.equal(tensor, state[key]) for key, tensor in network.state_dict().items())


def test_preprocessing_of_the_function_wins() -> None:
    assert entry("own_networks:other").preprocessing.size == 16


def test_another_source_is_another_network(write: Callable[[str], Path]) -> None:
    before = entry("own_networks:small").code
    write(SOURCE.replace("nn.ReLU()", "nn.ReLU6()"))
    assert entry("own_networks:small").code != before


@pytest.mark.parametrize("tag", ["default", "non", "pytorchcv-0.0.51"])
def test_its_weights_must_be_named(tag: str) -> None:
    with pytest.raises(BenchError, match=f"has no weights '{tag}'; give model.weights=FILE.safet"):
        choose_weights(entry("own_networks:small"), tag)


def test_other_weights_at_each_call() -> None:
    found = entry("own_networks:random")
    with pytest.raises(
        BenchError, match=r"'none' of own_networks:random were \w{64} and are \w{64}"
    ):
        load(found, choose_weights(found, "none"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("own_network:small", "cannot import 'own_network:small'"),
        ("own_networks:smal", "'own_networks' has no 'smal'; did you mean 'small'"),
        ("own_networks:number", "is 3; name a function that returns a network"),
        ("os.path:join", "does not say what to feed it; set preprocessing = Preprocessing"),
        ("own_networks:broken", "raised KeyError: 'no such layer'; call it"),
        ("own_networks:nothing", r"returned NoneType, not a torch\.nn\.Module"),
    ],
)
def test_what_cannot_be_used(name: str, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        choose_weights(entry(name), "none")


def test_preprocessing_of_another_kind(write: Callable[[str], Path]) -> None:
    write(SOURCE.replace("preprocessing = Pre", "preprocessing = 224 or Pre", 1))
    with pytest.raises(BenchError, match="'own_networks:small' does not say what to feed it"):
        entry("own_networks:small")


def test_the_example_in_the_docs(write: Callable[[str], Path]) -> None:
    text = (Path(__file__).parents[3] / "docs" / "models.md").read_text()
    blocks = text.split("```python\n")[1:]
    (block,) = [block.split("```")[0] for block in blocks if "def regnet()" in block]
    write(block)
    found = entry("own_networks:regnet")
    assert found.preprocessing.resize == 256
    assert sum(parameter.numel() for parameter in found.network().parameters()) == 2_684_792
