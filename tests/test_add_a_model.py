"""What docs/add_a_model.md shows works as it stands there, followed line by line."""

import re
import runpy
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
from torch import nn

from models.preprocessing import Preprocessing
from models.zoo import entry, sha256_of
from tests.bench.conftest import Finished, records

PAGE = Path(__file__).parents[1] / "docs" / "add_a_model.md"
Bench = Callable[..., Finished]


def blocks(language: str) -> list[str]:
    """Return the page's code blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def commands(language: str) -> list[list[str]]:
    """Return the arguments of every command in the page's blocks of a language."""
    lines = [shlex.split(line) for block in blocks(language) for line in block.splitlines()]
    assert all(line[0] == "bench" for line in lines)
    return [line[1:] for line in lines]


@pytest.fixture
def follow(bench_main: Bench, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Write the files of the page into an empty folder, and run commands there."""
    network, save, timm_network = blocks("python")
    (config,) = blocks("yaml")
    (workplace / "tiny_net.py").write_text(network)
    (workplace / "save.py").write_text(save)
    (workplace / "timm_nets.py").write_text(timm_network)
    (workplace / "my_configs" / "model").mkdir(parents=True)
    (workplace / "my_configs" / "model" / "tiny.yaml").write_text(config)
    monkeypatch.syspath_prepend(workplace)
    for name in ("tiny_net", "timm_nets"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    runpy.run_path(str(workplace / "save.py"))
    return bench_main


def test_every_command_of_the_page(follow: Bench, workplace: Path) -> None:
    ran = []
    for command in commands("sh"):
        quick = ["data.limit=100", "tracking=none"] if command[0] == "run" else []
        done = follow(*command, *quick)
        assert (done.status, done.err) == (0, ""), command
        ran.append(done.out)
    first, second, listed, sweep = ran
    assert first.startswith("tiny_net:tiny mnist5k gaussian W8A8 seed 0: ")
    assert second.startswith("tiny_net:tiny mnist5k real W8A8 seed 0: ")
    assert "tiny" in [line.split()[0] for line in listed.splitlines()]
    assert "three layers for 32 x 32 images, untrained" in listed
    measured = records(workplace / "outputs").values()
    assert {(r["model"], r["method"], r["w_bits"]) for r in measured} >= {
        ("tiny_net:tiny", "real", 8),
        ("tiny_net:tiny", "gaussian", 8),
        ("tiny_net:tiny", "gaussian", 4),
        ("resnet20", "gaussian", 8),
        ("resnet20", "gaussian", 4),
    }
    assert sweep.splitlines()[-1] == "4 cells: 3 done, 1 found"  # the same weights, the same cell
    file = sha256_of(workplace / "tiny.safetensors")
    assert {r["weights_sha256"] for r in measured if "tiny" in r["model"]} == {file}


def test_a_method_that_needs_statistics_says_so(follow: Bench) -> None:
    own = ("model.name=tiny_net:tiny", "model.weights=none", "data.limit=100", "tracking=none")
    done = follow("run", *own, "method=zeroq", "quant=w8a8")
    assert done.status == 1
    assert "every BatchNorm of the network has mean 0 and variance 1" in done.out


def test_networks_of_timm(follow: Bench) -> None:
    (command,) = commands("text")
    name = next(word for word in command if word.startswith("model.name=")).partition("=")[2]
    found = entry(name)
    assert (found.name, found.timm) == ("timm/resnet18", "resnet18")
    own = entry("timm_nets:lcnet")
    assert own.preprocessing == Preprocessing(32, 32, "bilinear", (0.5,) * 3, (0.5,) * 3)
    built = own.network()
    assert type(built) is type(timm.create_model("lcnet_035"))
    assert isinstance(built.get_submodule("classifier"), nn.Linear)
