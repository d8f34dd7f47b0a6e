"""Networks that are not shipped: fetched weights, timm's, a user's own."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn

import models.zoo.catalogue
import models.zoo.pytorchcv
from bench.cells.recipe import recipe_of
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
    config = make_fast(model("shufflenet") | {"data.limit": 4})

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
    assert done.fp32_expected is None  # published for ImageNet, not for digits
    assert (done.model, done.weights) == ("shufflenet", "pytorchcv-0.0.51")


def test_a_network_of_timm(make_fast: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    create = timm.create_model

    def random(name: str, pretrained: bool = False) -> nn.Module:
        torch.manual_seed(0)
        return create(name, pretrained=False)

    monkeypatch.setattr(timm, "create_model", random)
    name = "timm/mobilenetv3_small_050.lamb_in1k"
    done = run_cell(make_fast(model(name) | {"data.limit": 4})).result
    assert done is not None
    assert (done.status, done.reason) == ("done", None)
    assert (done.model, done.weights) == ("timm/mobilenetv3_small_050", name)
    assert done.weights_sha256 is not None
    assert done.recipe.preprocessing["interpolation"] == "bicubic"


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
