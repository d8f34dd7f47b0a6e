"""No method: the float network, whose cell is the reference of all the quantized ones."""

from dataclasses import dataclass

import torch
from torch import nn

from methods.base import Calibration, Context, Method


@dataclass(frozen=True)
class FloatReference(Method):
    """Calibrates nothing; with W32A32 there is nothing to calibrate."""

    name = "float"
    tasks = ("classification", "detection")

    def calibrate(self, network: nn.Module, context: Context) -> Calibration:
        return Calibration(torch.empty(0, *context.input_shape))
