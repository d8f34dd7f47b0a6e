"""What docs/models.md shows of a network of your own works as it stands there, line by line."""

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

PAGE = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
Bench = Callable[..., Finished]


OWN, TIMM = "Your own network", "Networks of timm"


def blocks(section: str, language: str) -> list[str]:
    """Return the code blocks of a language in a section of the page, in order."""
    text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def commands(section: str, language: str) -> list[list[str]]:
    """Return the arguments of every command in a section's blocks of a language."""
    lines = [
        shlex.split(line) for block in blocks(section, language) for line in block.splitlines()
    ]
    assert all(line[0] == "bench" for line in lines)
    return [line[1:] for line in lines]


@pytest.fixture
def follow(bench_main: Bench, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Write the files of the page into an empty folder, and run commands there."""
    network, save, timm_network = blocks(OWN, "python")
    (config,) = blocks(OWN, "yaml")
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


@pytest.mark.thorough
def test_every_command_of_the_page(follow: Bench, workplace: Path) -> None:
    ran = []
    for command in commands(OWN, "sh"):
        quick = ["data.limit=10", "method.images=4", "tracking=none"] if command[0] == "run" else []
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
    own = ("model.name=tiny_net:tiny", "model.weights=none", "data.limit=10", "tracking=none")
    done = follow("run", *own, "method=zeroq", "quant=w8a8")
    assert done.status == 1
    assert "every BatchNorm of the network has mean 0 and variance 1" in done.out


def test_networks_of_timm(follow: Bench) -> None:
    one, beside = commands(TIMM, "text")
    name = next(word for word in one if word.startswith("model=")).partition("=")[2]
    assert f"model.weights={name},default" in beside
    found = entry(name)
    assert (found.name, found.timm) == ("timm/resnet18", "resnet18")
    own = entry("timm_nets:regnet")
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    assert own.preprocessing == Preprocessing(224, 256, "bilinear", mean, std)
    built = own.network()
    assert type(built) is type(timm.create_model("regnetx_002"))
    assert isinstance(built.get_submodule("head.fc"), nn.Linear)
