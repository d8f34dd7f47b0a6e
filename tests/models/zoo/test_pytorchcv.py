import csv
import hashlib
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import nn

from models.errors import BenchError
from models.zoo import Weights, choose_weights, entry, sha256_of
from models.zoo.fetch import FOLDER_VARIABLE
from models.zoo.identity import Release, ZooEntry
from models.zoo.weights import load, state_sha256

# name: parameters, BatchNorms, input side, resize, keys of the state dict
NETWORKS = {
    "resnet18": (11_689_512, 20, 224, 256, 122),
    "resnet50": (25_557_032, 53, 224, 256, 320),
    "resnet152": (60_192_808, 155, 224, 256, 932),
    "mobilenetv2": (3_504_960, 53, 224, 256, 319),
    "shufflenet": (1_531_936, 49, 224, 256, 296),
    "squeezenext": (2_583_752, 111, 224, 256, 779),
    "inceptionv3": (23_834_568, 94, 299, 341, 566),
}
# name: release and file of pytorchcv 0.0.51, its published top-1 and top-5; the same of 0.0.74
FILES = {
    "resnet18": (
        ("v0.0.153/resnet18-0982-0126861b.pth", 71.47, 90.18),
        ("v0.0.478/resnet18-0896-77a56f15.pth", 73.06, 91.04),
    ),
    "resnet50": (("v0.0.329/resnet50-0633-b00d1c8e.pth", 77.72, 93.67),) * 2,
    "resnet152": (
        ("v0.0.378/resnet152b-0499-667ea926.pth", 80.08, 95.01),
        ("v0.0.517/resnet152b-0445-2f420307.pth", 80.99, 95.55),
    ),
    "mobilenetv2": (("v0.0.213/mobilenetv2_w1-0887-13a021bc.pth", 73.03, 91.13),) * 2,
    "shufflenet": (("v0.0.223/shufflenet_g1_w1-1389-4cfb65a3.pth", 65.07, 86.11),) * 2,
    "squeezenext": (("v0.0.240/sqnxt23_w2-1100-b9bb7302.pth", 69.38, 89.0),) * 2,
    "inceptionv3": (
        ("v0.0.92/inceptionv3-0565-cf406180.pth", 78.88, 94.35),
        ("v0.0.552/inceptionv3-0533-025fb71c.pth", 79.56, 94.67),
    ),
}
TAGS = ("pytorchcv-0.0.51", "pytorchcv-latest")


def release_of(weights: Weights) -> Release:
    assert isinstance(weights.locate, Release)
    return weights.locate


@pytest.mark.parametrize("name", NETWORKS)
def test_network(name: str) -> None:
    parameters, batch_norms, size, _, keys = NETWORKS[name]
    network = entry(name).network().eval()
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    assert sum(isinstance(module, nn.BatchNorm2d) for module in network.modules()) == batch_norms
    assert len(network.state_dict()) == keys
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, size, size)).shape == (1, entry(name).classes)


@pytest.mark.parametrize("name", FILES)
def test_files(name: str) -> None:
    for tag, (place, top1, top5) in zip(TAGS, FILES[name], strict=True):
        weights = choose_weights(entry(name), tag)
        release = release_of(weights)
        base = "https://github.com/osmr/imgclsmob/releases/download"
        assert release.url == f"{base}/{place}.zip"
        assert release.file == place.partition("/")[2]
        assert release.file.endswith(f"-{release.sha1[:8]}.pth")
        assert weights.identity == f"sha1:{release.sha1}"
        assert weights.published is not None
        assert (weights.published.top1, weights.published.top5) == (top1, top5)
        assert (weights.published.data, weights.published.images) == ("imagenet", 50_000)
    latest = choose_weights(entry(name), TAGS[1])
    assert ("still so in 0.0.74" in latest.source) == (FILES[name][0] == FILES[name][1])


@pytest.mark.parametrize("name", FILES)
def test_latest_is_what_the_installed_pytorchcv_names(name: str) -> None:
    spec = find_spec("pytorchcv")
    assert spec is not None and spec.origin is not None
    table = Path(spec.origin).parent / "models" / "common" / "model_metainfos.csv"
    found = entry(name)
    builder = found.build.partition(":")[2]
    (row,) = [row for row in csv.DictReader(table.open()) if row["model_name"] == builder]
    release = release_of(found.weights[TAGS[1]])
    assert release.sha1 == row["checksum"]
    assert release.file == f"{builder}-{row['error_value']}-{row['checksum'][:8]}.pth"
    assert f"/{row['repo_release_tag']}/" in release.url
    assert NETWORKS[name][0] == int(row["net_weights"])


@pytest.mark.parametrize("name", NETWORKS)
def test_preprocessing(name: str) -> None:
    _, _, size, resize, _ = NETWORKS[name]
    for weights in entry(name).weights.values():
        preprocessing = weights.preprocessing
        assert preprocessing == entry(name).preprocessing
        assert (preprocessing.size, preprocessing.resize) == (size, resize)
        assert preprocessing.interpolation == "bilinear"
    grey = torch.full((1, 3, 1, 1), 124, dtype=torch.uint8)
    expected = torch.tensor([0.0055656, 0.1351541, 0.3567756]).view(1, 3, 1, 1)
    assert torch.allclose(preprocessing.normalise(grey), expected, atol=1e-5)


def stand_in(name: str, file: Path) -> tuple[ZooEntry, Weights]:
    """Write random weights of the network to `file`; return them as the release's."""
    found = entry(name)
    torch.save(found.network().state_dict(), file)
    weights = choose_weights(found, "default")
    sha1 = hashlib.sha1(file.read_bytes()).hexdigest()
    return found, replace(weights, locate=replace(release_of(weights), file=file.name, sha1=sha1))


@pytest.mark.parametrize("name", ["shufflenet", "squeezenext", "mobilenetv2", "inceptionv3"])
def test_a_file_in_the_folder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    found, weights = stand_in(name, tmp_path / f"{name}.pth")
    network, sha256 = load(found, weights)
    assert sha256 == sha256_of(tmp_path / f"{name}.pth")
    state = torch.load(tmp_path / f"{name}.pth", weights_only=True)
    assert state_sha256(network.state_dict()) == state_sha256(state)
    assert not network.training


def test_another_file_under_the_papers_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    weights = choose_weights(entry("resnet18"), "default")
    file = tmp_path / release_of(weights).file
    torch.save({}, file)
    with pytest.raises(BenchError, match=f"{file} has SHA-1 .* expected 0126861b4cd7f7b14196b1e0"):
        load(entry("resnet18"), weights)


def test_keys_are_not_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    file = tmp_path / "more.pth"
    found = entry("shufflenet")
    torch.save(found.network().state_dict() | {"extra.weight": torch.zeros(1)}, file)
    release = replace(
        release_of(choose_weights(found, "default")),
        file=file.name,
        sha1=hashlib.sha1(file.read_bytes()).hexdigest(),
    )
    weights = replace(choose_weights(found, "default"), locate=release)
    with pytest.raises(BenchError, match=r"do not fit the network: unexpected extra\.weight; use"):
        load(found, weights)


def test_closest_tag() -> None:
    with pytest.raises(BenchError, match="did you mean 'pytorchcv-latest'"):
        choose_weights(entry("resnet18"), "pytorchcv-last")
    with pytest.raises(BenchError, match="unknown model 'resnet15'; did you mean 'resnet152'"):
        entry("resnet15")
