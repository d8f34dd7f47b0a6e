"""Small networks whose code comes with the project, and the weights that are shipped of some."""

from models.preprocessing import Preparation, Preprocessing, Words
from models.zoo.identity import PublishedAccuracy, PublishedPrecision, Weights, ZooEntry

# Mean and deviation over all pixels of CIFAR-10's 50,000 training images.
CIFAR10 = Preprocessing(
    size=32,
    resize=32,
    interpolation="bilinear",
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
)
_TRAINED = "this project's recipe, bench train"


def own_entries() -> tuple[ZooEntry, ...]:
    """Return those with weights, and those that are to be trained."""
    return (
        _shipped(
            "resnet20",
            "models.networks.resnet_cifar",
            "c9181554950bc71197efb67ba2ffc9c584dcd549d6ab02b46d633a348344d419",
            _pixels(32, 0.1307, 0.3081),
            _top1(99.0, "mnist5k", 1000, "model=resnet20 data=mnist5k"),
            summary="ResNet-20 for 32x32 images (He et al., 2016), 0.27 M parameters, 5,000 digits",
        ),
        _shipped(
            "resnet8",
            "models.networks.resnet_cifar",
            "dceff66a44de95b41270691dd93b2951ef50a95b7da6499c36cf92182f053695",
            _pixels(32, 0.5, 0.25),
            _top1(
                95.4,
                "motion",
                500,
                "model=resnet8 data=motion train.optimizer=adam train.lr=0.003 "
                "train.weight_decay=0 train.label_smoothing=0 train.augment=none train.epochs=16",
            ),
            summary="ResNet-8 for 32x32 images (He et al., 2016), 0.08 M parameters, "
            "digits in motion",
        ),
        _shipped(
            "lenet5",
            "models.networks.lenet",
            "bfddce4f60af6d7696af851fe36c1ce4ccc61a6ec361adf1e44fe3e722de85ea",
            # What the digits have without the border that they are padded with.
            _pixels(28, 0.1307, 0.3081, resize=32),
            _top1(99.3, "mnist5k", 1000, "model=lenet5 data=mnist5k train.lr=0.05"),
            build="LeNet5",
            summary="LeNet-5 for 28x28 digits, 0.58 M parameters, 5,000 digits",
        ),
        _untrained(
            "resnet18_cifar",
            "models.networks.resnet_cifar:resnet18",
            "ResNet-18 for 32x32 images, 11.2 M parameters, no weights",
        ),
        _untrained(
            "mobilenetv2_cifar",
            "models.networks.mobilenetv2_cifar:mobilenetv2",
            "MobileNetV2 x1.0 for 32x32 images, 2.2 M parameters, no weights",
        ),
        _untrained(
            "vgg_cifar",
            "models.networks.vgg_cifar:vgg",
            "VGG of eight layers for 32x32 images, 13.0 M parameters, no weights",
        ),
        _shipped(
            "fpn_detector",
            "models.networks.fpn_detector",
            "789b9d7dc08e6ba29f8b10dd56df78e70b9fe48b92034903d67ac4e53e34d43b",
            _pixels(96, 0.5, 0.25),
            PublishedPrecision(
                map=55.4,
                data="digits_canvas",
                images=500,
                source=_source("model=fpn_detector data=digits_canvas train=detector"),
            ),
            summary="RetinaNet for 96x96 images, 0.31 M parameters, digits on canvases",
            task="detection",
        ),
        _shipped(
            "word_bag",
            "models.networks.word_bag",
            "27460f767569660a0c8984300e4658bc5fb1a74c5c9e0140f86c18367c74c2ee",
            Words(size=80, vocabulary=5_000),
            _top1(84.85, "topics", 4_000, "model=word_bag data=topics train=words"),
            summary="mean of word embeddings and a classifier, 0.32 M parameters, made texts",
            classes=20,
        ),
    )


def _shipped(
    name: str,
    module: str,
    sha256: str,
    preprocessing: Preparation,
    published: PublishedAccuracy | PublishedPrecision,
    *,
    summary: str,
    build: str | None = None,
    classes: int = 10,
    task: str = "classification",
) -> ZooEntry:
    """Return a network whose weights `module` has, tagged by the set that they are trained on.

    build: what makes the network there, where it is not called as the network is.
    """
    weights = Weights(
        tag=published.data,
        source="shipped with this project",
        locate=f"{module}:locate_{name}",
        sha256=sha256,
        preprocessing=preprocessing,
        published=published,
    )
    return ZooEntry(
        name=name,
        build=f"{module}:{build or name}",
        classes=classes,
        weights={weights.tag: weights},
        preprocessing=preprocessing,
        summary=summary,
        task=task,
    )


def _untrained(name: str, build: str, summary: str) -> ZooEntry:
    return ZooEntry(
        name=name, build=build, classes=10, weights={}, preprocessing=CIFAR10, summary=summary
    )


def _pixels(size: int, mean: float, std: float, resize: int | None = None) -> Preprocessing:
    return Preprocessing(
        size=size,
        resize=resize or size,
        interpolation="bilinear",
        mean=(mean,) * 3,
        std=(std,) * 3,
    )


def _top1(value: float, data: str, images: int, command: str) -> PublishedAccuracy:
    return PublishedAccuracy(
        top1=value, top5=None, data=data, images=images, source=_source(command)
    )


def _source(command: str) -> str:
    return f"{_TRAINED} {command}, seed 0"
