import re
import subprocess
import sys
from dataclasses import FrozenInstanceError
from hashlib import sha256
from pathlib import Path

import pytest

from models.errors import BenchError
from models.zoo import choose_weights, entry, sha256_of, zoo


def test_names_and_default_tags() -> None:
    assert {name: list(found.weights) for name, found in zoo().items()} == {
        "resnet20": ["mnist5k"],
        "resnet8": ["motion"],
        "lenet5": ["mnist5k"],
        "resnet18_cifar": [],
        "mobilenetv2_cifar": [],
        "vgg_cifar": [],
        "fpn_detector": ["digits_canvas"],
        "word_bag": ["topics"],
        "efficientnet_lite0": ["imagenet"],
        "efficientnet_lite1": ["imagenet"],
        "efficientnet_lite2": ["imagenet"],
        "resnet18": ["pytorchcv-0.0.51", "pytorchcv-latest"],
        "resnet50": ["pytorchcv-0.0.51", "pytorchcv-latest"],
        "resnet152": ["pytorchcv-0.0.51", "pytorchcv-latest"],
        "mobilenetv2": ["pytorchcv-0.0.51", "pytorchcv-latest"],
        "shufflenet": ["pytorchcv-0.0.51", "pytorchcv-latest"],
        "squeezenext": ["pytorchcv-0.0.51", "pytorchcv-latest"],
        "inceptionv3": ["pytorchcv-0.0.51", "pytorchcv-latest"],
        "retinanet_resnet50_fpn": ["coco_v1"],
        "fasterrcnn_resnet50_fpn": ["coco_v1"],
        "maskrcnn_resnet50_fpn": ["coco_v1"],
    }
    for name, found in zoo().items():
        assert found.name == name
        assert all(tag == weights.tag for tag, weights in found.weights.items())
        assert all(
            re.fullmatch("[0-9a-f]{64}|sha1:[0-9a-f]{40}|sha256:[0-9a-f]{8}", weights.identity)
            for weights in found.weights.values()
        )


def test_zoo_needs_no_torch() -> None:
    code = (
        "import sys\n"
        "from models.zoo import zoo, choose_weights\n"
        "[choose_weights(e, tag) for e in zoo().values() for tag in (*e.weights, 'none')]\n"
        "heavy = {'torch', 'torchvision', 'timm', 'pytorchcv', 'numpy'} & set(sys.modules)\n"
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_unknown_model_names_the_closest() -> None:
    with pytest.raises(BenchError, match="unknown model 'resnet2'; did you mean 'resnet20'"):
        entry("resnet2")


def test_unknown_tag_names_the_closest() -> None:
    with pytest.raises(BenchError, match=r"resnet20 has no weights 'minst5k'; .* 'mnist5k'"):
        choose_weights(entry("resnet20"), "minst5k")


def test_default_is_the_first() -> None:
    found = entry("efficientnet_lite1")
    first = next(iter(found.weights.values()))
    assert choose_weights(found, "default") is choose_weights(found, first.tag) is first


def test_a_network_without_weights_says_how_to_get_some() -> None:
    for tag in ("default", "imagenet"):
        with pytest.raises(BenchError) as caught:
            choose_weights(entry("resnet18_cifar"), tag)
        assert str(caught.value) == (
            f"resnet18_cifar comes without weights, so there are none called '{tag}'; give "
            "model.weights=none to train it from scratch, or model.weights=FILE.safetensors"
        )


@pytest.mark.parametrize("name", ["resnet18_cifar", "resnet20", "mobilenetv2"])
def test_any_network_may_be_untrained(name: str) -> None:
    none = choose_weights(entry(name), "none")
    assert (none.tag, none.identity, none.sha256, none.locate) == ("none", "none", None, None)
    assert none.preprocessing == entry(name).preprocessing
    with pytest.raises(BenchError, match=r"model\.weights=none is an untrained .*FILE"):
        none.path()


def test_small_images_are_normalised_as_cifar10() -> None:
    for name in ("resnet18_cifar", "mobilenetv2_cifar"):
        preprocessing = entry(name).preprocessing
        assert (preprocessing.size, preprocessing.resize) == (32, 32)
        assert preprocessing.mean == (0.4914, 0.4822, 0.4465)
        assert preprocessing.std == (0.2470, 0.2435, 0.2616)


def test_entries_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        entry("resnet20").name = "other"  # type: ignore[misc]


def test_local_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.pt"
    file.write_bytes(b"weights")
    default = choose_weights(entry("efficientnet_lite0"), "default")
    local = choose_weights(entry("efficientnet_lite0"), str(file))
    assert local.path() == file
    assert local.sha256 == sha256(b"weights").hexdigest() == sha256_of(file)
    assert local.preprocessing == default.preprocessing
    assert (local.tag, local.published, local.convert) == ("mine.pt", None, None)


@pytest.mark.parametrize("name", ["absent.safetensors", "folder/absent", "absent.pth"])
def test_local_file_missing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BenchError, match=f"weights file {name} does not exist"):
        choose_weights(entry("resnet20"), name)


@pytest.mark.parametrize(("variant", "size"), [(0, 224), (1, 240), (2, 260)])
def test_lite_preprocessing(variant: int, size: int) -> None:
    preprocessing = choose_weights(entry(f"efficientnet_lite{variant}"), "default").preprocessing
    assert (preprocessing.size, preprocessing.resize) == (size, size + 32)
    assert preprocessing.interpolation == "bicubic"
    for mean, std in zip(preprocessing.mean, preprocessing.std, strict=True):
        assert (200 / 255 - mean) / std == pytest.approx((200 - 127) / 128)


def test_every_model_has_its_config() -> None:
    folder = Path(__file__).parents[3] / "conf" / "model"
    for name in zoo():
        first, *rest = (folder / f"{name}.yaml").read_text().splitlines()
        assert first.startswith("# ")
        weights = "default" if zoo()[name].weights else "none"
        assert rest == [f"name: {name}", f"weights: {weights}"]
