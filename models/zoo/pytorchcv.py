"""The networks of the ZeroQ and DSG papers: pytorchcv's architectures, with two of its releases.

Both papers pin pytorchcv 0.0.51. Later releases put other weights behind some of the names, so a
network here has the papers' weights by default and today's beside them.
"""

from dataclasses import replace
from typing import NamedTuple

from models.preprocessing import Preprocessing
from models.zoo.identity import PublishedAccuracy, Release, Weights, ZooEntry

RELEASES = "https://github.com/osmr/imgclsmob/releases/download"
PAPERS, LATEST = "pytorchcv-0.0.51", "pytorchcv-latest"


class File(NamedTuple):
    """One weights file. errors: published top-1 and top-5 error, percent, ImageNet validation."""

    release: str
    sha1: str
    errors: tuple[float, float]


class Network(NamedTuple):
    """One architecture. builder: its function in pytorchcv.models.`module`, named as its files.

    size: side of the input, in pixels. timm: see ZooEntry.
    papers: the file of 0.0.51. latest: that of 0.0.74, None when it is the same.
    """

    name: str
    builder: str
    module: str
    title: str
    size: int
    timm: str | None
    papers: File
    latest: File | None = None


NETWORKS = (
    Network(
        "resnet18",
        "resnet18",
        "resnet",
        "ResNet-18 at 224 px, 11.7 M parameters",
        224,
        "resnet18",
        File("v0.0.153", "0126861b4cd7f7b14196b1e01827da688f8bab6d", (28.53, 9.82)),
        File("v0.0.478", "77a56f155214819bfc79ff09795370f955b20e6d", (26.94, 8.96)),
    ),
    Network(
        "resnet50",
        "resnet50",
        "resnet",
        "ResNet-50 at 224 px, 25.6 M parameters",
        224,
        "resnet50",
        File("v0.0.329", "b00d1c8e52aa7a2badc705b1545aaf6ccece6ce9", (22.28, 6.33)),
    ),
    # The papers' 80.08 % is resnet152b of that release, not its resnet152 (78.99 %).
    Network(
        "resnet152",
        "resnet152b",
        "resnet",
        "ResNet-152 (stride in the 3x3) at 224 px, 60.2 M parameters",
        224,
        "resnet152",
        File("v0.0.378", "667ea926f3753e0c8336fa78969171d64f819cc4", (19.92, 4.99)),
        File("v0.0.517", "2f420307673264444e8457e2050b5d6b131002d7", (19.01, 4.45)),
    ),
    Network(
        "mobilenetv2",
        "mobilenetv2_w1",
        "mobilenetv2",
        "MobileNetV2 x1.0 at 224 px, 3.5 M parameters",
        224,
        "mobilenetv2_100",
        File("v0.0.213", "13a021bca5b679b76156829743f7182da42e8bb6", (26.97, 8.87)),
    ),
    Network(
        "shufflenet",
        "shufflenet_g1_w1",
        "shufflenet",
        "ShuffleNet x1.0 (g=1) at 224 px, 1.5 M parameters",
        224,
        None,
        File("v0.0.223", "4cfb65a30761fe548e0b5afbb5d89793ec41e4e9", (34.93, 13.89)),
    ),
    Network(
        "squeezenext",
        "sqnxt23_w2",
        "squeezenext",
        "SqueezeNext 2.0-SqNxt-23 at 224 px, 2.6 M parameters",
        224,
        None,
        File("v0.0.240", "b9bb7302824f89f16e078f0a506e3a8c0ad9c74e", (30.62, 11.00)),
    ),
    Network(
        "inceptionv3",
        "inceptionv3",
        "inceptionv3",
        "Inception-v3 at 299 px, 23.8 M parameters",
        299,
        "inception_v3",
        File("v0.0.92", "cf4061800bc1dc3b090920fc9536d8ccc15bb86e", (21.12, 5.65)),
        File("v0.0.552", "025fb71c673f8e325f4c24f25cbd4185540cca72", (20.44, 5.33)),
    ),
)


def pytorchcv_entries() -> tuple[ZooEntry, ...]:
    """Return the entries of the papers' networks."""
    return tuple(_entry(network) for network in NETWORKS)


def _entry(network: Network) -> ZooEntry:
    preprocessing = Preprocessing(
        size=network.size,
        resize=int(network.size / 0.875),
        interpolation="bilinear",
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )
    papers = _weights(PAPERS, "0.0.51", network.builder, network.papers, preprocessing)
    if network.latest is None:
        latest = replace(papers, tag=LATEST, source=f"{papers.source}; still so in 0.0.74")
    else:
        latest = _weights(LATEST, "0.0.74", network.builder, network.latest, preprocessing)
    return ZooEntry(
        name=network.name,
        build=f"pytorchcv.models.{network.module}:{network.builder}",
        classes=1000,
        weights={PAPERS: papers, LATEST: latest},
        summary=f"{network.title}, ImageNet-1k",
        preprocessing=preprocessing,
        timm=network.timm,
    )


def _weights(
    tag: str, version: str, builder: str, file: File, preprocessing: Preprocessing
) -> Weights:
    top1, top5 = (round(100 - error, 2) for error in file.errors)
    # pytorchcv's own scheme: the top-5 error in hundredths of a percent, then the hash.
    name = f"{builder}-{round(100 * file.errors[1]):04d}-{file.sha1[:8]}.pth"
    return Weights(
        tag=tag,
        source=f"pytorchcv {version}, release {file.release}, {name}",
        locate=Release(f"{RELEASES}/{file.release}/{name}.zip", name, file.sha1),
        sha256=None,
        preprocessing=preprocessing,
        published=PublishedAccuracy(
            top1=top1,
            top5=top5,
            data="imagenet",
            images=50_000,
            source=f"pytorchcv {version}, table of pretrained models in its README, 1-crop errors",
        ),
    )
