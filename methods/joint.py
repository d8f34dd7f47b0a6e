"""One weight set and one BatchNorm for all bit-widths: the row that collapses."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from methods.training.base import TrainedMethod
from methods.training.strategy import HardLabels
from models.qat.spec import QatSpec


@dataclass(frozen=True)
class Joint(TrainedMethod):
    """Each step adds up the cross-entropy of all bit-widths; BatchNorm and clips are shared.

    What a quantizer learns besides a clip, such as the steps of LSQ, is private to a bit-width.

    Source: the row "Joint Training" of CoQuant (WACV 2024), tables 1 to 4, which does not define
    it; the definition is the usual one.
    """

    name = "joint"
    strategy_class = HardLabels
    prescribed: ClassVar[dict[str, Any]] = {"batchnorm": "shared", "shared_clip": True}

    qat: QatSpec = field(default_factory=lambda: QatSpec(batchnorm="shared", shared_clip=True))
