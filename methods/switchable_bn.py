"""One weight set, BatchNorm private to each bit-width."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from methods.training.base import TrainedMethod
from methods.training.strategy import HardLabels
from models.qat.spec import QatSpec


@dataclass(frozen=True)
class SwitchableBN(TrainedMethod):
    """As `joint`, with switchable BatchNorm (Yu et al., Slimmable networks, ICLR 2019).

    Clips are still shared; `adabits` has private ones. Learned steps are private, as in `joint`.
    """

    name = "switchable_bn"
    strategy_class = HardLabels
    prescribed: ClassVar[dict[str, Any]] = {"batchnorm": "private", "shared_clip": True}

    qat: QatSpec = field(default_factory=lambda: QatSpec(shared_clip=True))
