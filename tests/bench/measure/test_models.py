"""Networks that are not shipped: fetched weights, timm's, a user's own."""

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from PIL import Image
from torch import nn

import models.zoo.catalogue
import models.zoo.pytorchcv
from bench.cells.recipe import recipe_of
from bench.cells.store import Store
from bench.config.schema import Config
from models.zoo import entry, sha256_of
from models.zoo.fetch import FOLDER_VARIABLE
from models.zoo.pytorchcv import File
from tests.bench.cells_of import plan, request_id, run_cell
from tests.bench.conftest import FAST, Finished, records

Make = Callable[..., Config]

OWN = """
import torch
from pytorchcv.models.resnet_cifar import resnet20_cifar10
from models.preprocessing import Preprocessing

preprocessing = Preprocessing(32, 32, "bilinear", (0.1307,) * 3, (0.3081,) * 3)

def build():
    torch.manual_seed(0)
    return resnet20_cifar10(num_classes=10)
"""


def model(name: str, weights: str = "default") -> dict[str, Any]:
    return {"model": {"name": name, "weights": weights}}


def photos(folder: Path) -> dict[str, Any]:
    """Return the `data` node of four images of ImageNet's first class."""
    images = folder / "photos" / "val" / "n01440764"
    images.mkdir(parents=True)
    for shade in range(4):
        Image.new("RGB", (8, 8), (60 * shade,) * 3).save(images / f"{shade}.png")
    return {"name": "imagenet", "root": str(folder / "photos"), "limit": None, "subset": None}


def test_ids_are_known_without_the_weights(
    make_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "nothing here"))
    asked = [
        *(model(name) for name in ("resnet18", "resnet50", "resnet152", "inceptionv3")),
        model("resnet18", "pytorchcv-latest"),
        model("resnet18", "timm/resnet18.tv_in1k"),
        model("resnet18", "timm/resnet18.a1_in1k"),
    ]
    ids = [plan(make_config(change)).id for change in asked]
    assert len(set(ids)) == len(ids)
    assert recipe_of(plan(make_config(asked[0]))).weights.sha256 is None
    same = make_config(model("resnet50", "pytorchcv-latest"))
    assert plan(same).id == ids[1]
    assert request_id(same) == request_id(make_config(model("resnet50")))


def test_a_record_has_the_sha256_of_the_fetched_file(
    make_fast: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    torch.save(entry("shufflenet").network().state_dict(), tmp_path / "random.pth")
    sha1 = hashlib.sha1((tmp_path / "random.pth").read_bytes()).hexdigest()
    networks = [
        network._replace(papers=File("v0", sha1, (34.93, 13.89)))
        for network in models.zoo.pytorchcv.NETWORKS
        if network.name == "shufflenet"
    ]
    monkeypatch.setattr(models.zoo.pytorchcv, "NETWORKS", networks)
    monkeypatch.setattr(models.zoo.pytorchcv, "RELEASES", "http://127.0.0.1:9")
    monkeypatch.setattr("models.zoo.fetch.ATTEMPTS", 1)
    changed = models.zoo.catalogue._entries.__wrapped__()
    monkeypatch.setattr(models.zoo.catalogue, "_entries", lambda: changed)
    config = make_fast(model("shufflenet") | {"data": photos(tmp_path), "gate": "warn"})

    failed = run_cell(config).result
    assert failed is not None
    assert (failed.status, failed.weights_sha256) == ("failed", None)
    assert "cannot fetch http://127.0.0.1:9/v0/shufflenet_g1_w1-1389-" in str(failed.reason)

    file = folder / f"shufflenet_g1_w1-1389-{sha1[:8]}.pth"
    (tmp_path / "random.pth").rename(file)
    done = run_cell(config).result
    assert done is not None
    assert (done.status, done.reason) == ("done", None)
    assert done.id == failed.id
    assert done.weights_sha256 == done.recipe.weights.sha256 == sha256_of(file)
    assert done.fp32_expected is None  # published for other images
    assert (done.model, done.weights) == ("shufflenet", "pytorchcv-0.0.51")


def test_a_network_of_timm(
    make_fast: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = timm.create_model

    def random(name: str, pretrained: bool = False) -> nn.Module:
        torch.manual_seed(0)
        return create(name, pretrained=False)

    monkeypatch.setattr(timm, "create_model", random)
    name = "timm/mobilenetv3_small_050.lamb_in1k"
    done = run_cell(make_fast(model(name) | {"data": photos(tmp_path)})).result
    assert done is not None
    assert (done.status, done.reason) == ("done", None)
    assert (done.model, done.weights) == ("timm/mobilenetv3_small_050", name)
    assert done.weights_sha256 is not None
    assert done.recipe.preprocessing["interpolation"] == "bicubic"
    # Few of its functions are ReLUs, and an untrained one knows no class.
    assert done.quantized_weights == 100
    assert done.quantized_inputs is not None and done.quantized_inputs < 50
    guessing, floating = done.warnings
    assert guessing.startswith("the float network is no better than guessing one of 1000 classes")
    assert "activation functions stay float, because only nn.ReLU and nn.ReLU6 are" in floating


def test_a_network_of_your_own_from_the_command_line(
    bench_main: Callable[..., Finished], workplace: Path, outputs: Path
) -> None:
    (workplace / "my_networks.py").write_text(OWN)
    finished = bench_main(
        *("run", "model.name=my_networks:build", "model.weights=none", *FAST),
        *("quant=w8a8", "method.images=8", f"paths.outputs={outputs}"),
    )
    assert finished.status == 0, finished.out + finished.err
    quantized = [one for one in records(outputs).values() if one["w_bits"] == 8]
    assert [one["model"] for one in quantized] == ["my_networks:build"]
    assert quantized[0]["weights"] == "none"
    assert len(quantized[0]["weights_sha256"]) == 64
    assert json.dumps(quantized[0]["recipe"])
    refused = bench_main("run", "model.name=my_networks:build", f"paths.outputs={outputs}", *FAST)
    assert refused.status != 0
    assert "my_networks:build has no weights 'default'; give model.weights=FILE" in refused.out


ODD = """
import torch
from torch import nn
from torch.nn import functional
from models.preprocessing import Preprocessing

preprocessing = Preprocessing(32, 32, "bilinear", (0.1307,) * 3, (0.3081,) * 3)

class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.norm = nn.Conv2d(3, 4, 3, 4), nn.BatchNorm2d(4, track_running_stats=False)
        self.relu, self.kernel = nn.ReLU(), nn.Parameter(torch.randn(8, 4, 3, 3))
        self.head = nn.Linear(8, 10)

    def forward(self, x):
        x = functional.relu(functional.conv2d(self.relu(self.norm(self.stem(x))), self.kernel))
        return {"logits": self.head(x.mean((2, 3)))}

def odd():
    return Odd()

def wide():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 100))

def pair():
    return Pair()

class Pair(Odd):
    def forward(self, x):
        logits = super().forward(x)["logits"]
        return logits, logits
"""


def test_what_a_reader_must_know_is_recorded(
    make_fast: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "odd_networks.py").write_text(ODD)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "odd_networks", raising=False)
    own = {"model": {"name": "odd_networks:odd", "weights": "none"}, "data.limit": 20}
    done = run_cell(make_fast(own | {"quant.w_bits": 4, "runtime.batch_size": 16})).result
    assert done is not None and done.status == "done", done
    stem, middle, head = 4 * 27 * 64, 8 * 36 * 36, 80
    total, weights = stem + middle + head, 4 * 27 + 8 * 36 + 80
    assert done.quantized_multiplications == pytest.approx(100 * (stem + head) / total)
    assert done.quantized_weights == pytest.approx(100 * (4 * 27 + 80) / weights)
    batch, guessing, weight, function = done.warnings
    assert guessing.startswith("the float network is no better than guessing one of 10 classes; ")
    assert batch == (
        "the logits of an image depend on the other images of its batch (without running "
        "statistics: 'norm'), so this number belongs to runtime.batch_size=16"
    )
    assert weight.endswith("only nn.Conv2d and nn.Linear are quantized: convolution in forward()")
    assert function.startswith("1 activation functions stay float")
    assert done.fp32_id is not None
    read = Store(make_fast().paths.outputs).read(done.fp32_id)
    assert read is not None
    assert read.warnings == [batch, guessing]
    assert read.quantized_weights is None


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("wide", "mnist5k has 10 classes and the network 100 outputs; choose a data set that "),
        (
            "pair",
            "the network returns a tuple of a tensor (2, 10), a tensor (2, 10) for 2 images, ",
        ),
    ],
)
def test_what_cannot_be_measured_says_so(
    make_fast: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, said: str
) -> None:
    (tmp_path / "odd_networks.py").write_text(ODD)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "odd_networks", raising=False)
    failed = run_cell(make_fast(model(f"odd_networks:{function}", "none"))).result
    assert failed is not None
    assert failed.status == "failed"
    assert str(failed.reason).startswith(f"the float network could not be measured: {said}")


def test_a_network_of_other_classes_is_refused_before_its_weights_are_fetched(
    make_fast: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "nothing here"))
    failed = run_cell(make_fast(model("resnet18"))).result
    assert failed is not None and failed.status == "failed"
    assert str(failed.reason).endswith(
        "mnist5k has 10 classes and the network 1000 outputs; choose a data set that belongs to "
        "the model, or a model with as many outputs"
    )
