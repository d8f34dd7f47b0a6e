"""Direct quantization: trained at one bit-width, used at another without training."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from methods.training.base import RealImages, StateDict, TrainedMethod, float_spec
from methods.training.strategy import HardLabels
from models.qat.conversion import make_quantizable
from models.qat.network import copy_private, set_bits
from models.qat.spec import QatSpec
from models.qat.state import float_state
from models.quantize.batchnorm import reestimate
from models.quantize.spec import FLOAT_BITS, QuantSpec


@dataclass(frozen=True)
class DQ(TrainedMethod):
    """The network trained at `source_bits`, quantized to the bits of the cell as it is.

    source_bits: 32 (float, first and last layer included; clips then start from what the trained
        network is seen to compute) or a bit-width (clips and BatchNorm are its).

    Source: the rows "DQ (32 bit)" and "DQ (8 bit)" of CoQuant (WACV 2024), tables 1 to 4.
    """

    name = "dq"
    strategy_class = HardLabels

    source_bits: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        self.qat.check_bits((self.source_bits,))

    def together(self, quant: QuantSpec) -> tuple[int, ...]:
        return (self.source_bits,)

    def training_spec(self, quant: QuantSpec) -> QatSpec:
        return float_spec(self.qat) if self.source_bits == FLOAT_BITS else self.qat

    def used_at(
        self,
        network: nn.Module,
        state: StateDict,
        quant: QuantSpec,
        images: Tensor,
        real_images: RealImages,
    ) -> nn.Module:
        at_source = QuantSpec(self.source_bits, self.source_bits)
        source = super().used_at(network, state, at_source, images, real_images)
        cell_bits = int(quant.w_bits)
        if cell_bits == self.source_bits:
            return source
        float_network = copy.deepcopy(network)
        float_network.load_state_dict(float_state(source, self.source_bits))
        if self.source_bits == FLOAT_BITS:
            quantizable = make_quantizable(float_network, (cell_bits,), self.qat, images)
        else:
            both = tuple(sorted((self.source_bits, cell_bits), reverse=True))
            quantizable = make_quantizable(float_network, both, self.qat, images)
            # What only `cell_bits` has is not in `state`, and follows from the source.
            quantizable.load_state_dict(quantizable.state_dict() | dict(state))
            copy_private(quantizable, self.source_bits)
            set_bits(quantizable, cell_bits)
        return quantizable.to(memory_format=torch.channels_last).eval()


@dataclass(frozen=True)
class DQBN(DQ):
    """As `dq`, with the BatchNorm statistics re-estimated at the bits of the cell.

    batchnorm_images: of the training side, without augmentation, that they are estimated from.

    Source: the rows "DQ + BN Calib" of CoQuant (WACV 2024), tables 1 to 4.
    """

    name = "dq_bn"

    batchnorm_images: int = 1024

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batchnorm_images < 1:
            raise ValueError(f"batchnorm_images={self.batchnorm_images}; give at least 1")

    def used_at(
        self,
        network: nn.Module,
        state: StateDict,
        quant: QuantSpec,
        images: Tensor,
        real_images: RealImages,
    ) -> nn.Module:
        quantizable = super().used_at(network, state, quant, images, real_images)
        if quant.w_bits != self.source_bits:
            whole = real_images(self.batchnorm_images).to(images.device)
            reestimate(quantizable, whole.split(_batch(len(whole))))
        return quantizable


def _batch(count: int) -> int:
    """Return the largest batch of at most 128 images that divides `count`: all then weigh alike."""
    return max(size for size in range(1, min(count, 128) + 1) if count % size == 0)
