from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from models.errors import BenchError
from models.zoo import choose_weights, entry, sha256_of
from models.zoo.weights import load, state_sha256

REAL_CREATE: Callable[..., nn.Module] = timm.create_model
RESNET18 = "timm/resnet18.tv_in1k"


@pytest.fixture
def created(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the networks asked for with their weights, which are random and always the same."""
    names: list[str] = []

    def create(name: str, pretrained: bool = False, **more: Any) -> nn.Module:
        if pretrained:
            names.append(name)
            torch.manual_seed(0)
        return REAL_CREATE(name, pretrained=False, **more)

    monkeypatch.setattr(timm, "create_model", create)
    return names


def test_network_weights_and_preprocessing_come_together(created: list[str]) -> None:
    found = entry("timm/mobilenetv2_100.ra_in1k")
    weights = choose_weights(found, "default")
    assert (found.name, found.classes) == ("timm/mobilenetv2_100", 1000)
    assert weights.tag == weights.identity == "timm/mobilenetv2_100.ra_in1k"
    assert (weights.sha256, weights.published) == (None, None)
    preprocessing = weights.preprocessing
    assert (preprocessing.size, preprocessing.resize) == (224, 256)
    assert preprocessing.interpolation == "bicubic"
    assert preprocessing.mean == (0.485, 0.456, 0.406)
    assert preprocessing.std == (0.229, 0.224, 0.225)
    network, sha256 = load(found, weights)
    assert created == ["mobilenetv2_100.ra_in1k"]
    assert sum(parameter.numel() for parameter in network.parameters()) == 3_504_872
    assert sha256 == state_sha256(network.state_dict())
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_as_weights_of_an_entry(created: list[str]) -> None:
    weights = choose_weights(entry("resnet18"), RESNET18)
    assert weights == choose_weights(entry(RESNET18), "default")
    assert weights == choose_weights(entry("timm/resnet18"), RESNET18)
    assert weights.preprocessing.interpolation == "bilinear"
    network, _ = load(entry("resnet18"), weights)
    assert type(network).__module__ == "timm.models.resnet"


def test_without_a_tag_it_is_the_one_timm_prefers() -> None:
    config = timm.models.get_pretrained_cfg("resnet18")
    assert config is not None
    assert list(entry("timm/resnet18").weights) == [f"timm/resnet18.{config.tag}"]


def test_another_network_is_refused() -> None:
    with pytest.raises(BenchError, match="timm/vgg16 is another network than resnet18; use model"):
        choose_weights(entry("resnet18"), "timm/vgg16")
    with pytest.raises(BenchError, match=r"another network than shufflenet; use model\.name=timm/"):
        choose_weights(entry("shufflenet"), RESNET18)


@pytest.mark.parametrize("name", ["timm/resnt18", "timm/resnet18.tv_1k", "timm/resnet18.tv_in1"])
def test_closest_name(name: str) -> None:
    with pytest.raises(BenchError, match=r"timm has no weights .*; did you mean 'timm/resnet18\."):
        entry(name)


def test_what_cannot_be_fed_is_refused() -> None:
    names = timm.list_models(pretrained=True)
    configs = ((name, timm.models.get_pretrained_cfg(name)) for name in names)
    squashed = next(name for name, found in configs if found and found.crop_mode == "squash")
    with pytest.raises(BenchError, match=f"timm feeds {squashed} with crop mode 'squash', which"):
        entry(f"timm/{squashed}")


def test_own_file_for_a_network_of_timm(tmp_path: Path) -> None:
    file = tmp_path / "mine.safetensors"
    found = entry("timm/resnet18")
    save_file(found.network().state_dict(), file)
    network, sha256 = load(found, choose_weights(found, str(file)))
    # What is hashed for weights without a file is the file that would hold them.
    assert sha256 == sha256_of(file) == state_sha256(network.state_dict())


def test_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def create(*_: object, **__: object) -> nn.Module:
        raise OSError("We couldn't connect.\nMore lines.")

    monkeypatch.setattr(timm, "create_model", create)
    with pytest.raises(BenchError) as caught:
        load(entry(RESNET18), choose_weights(entry(RESNET18), "default"))
    assert str(caught.value) == (
        "timm cannot load resnet18.tv_in1k: OSError: We couldn't connect; check the network, or "
        "set HF_HOME to a folder of the Hugging Face cache that has it"
    )
