"""Gaussian noise: the baseline every data-free method has to beat."""

from dataclasses import dataclass

import torch
from torch import nn

from methods.base import Calibration, Context, Method


@dataclass(frozen=True)
class Gaussian(Method):
    """Independent N(0, 1) values in the network's normalised input space."""

    name = "gaussian"
    tasks = ("classification", "detection")

    def calibrate(self, network: nn.Module, context: Context) -> Calibration:
        shape = (self.images, *context.input_shape)
        return Calibration(torch.randn(shape, generator=context.generator("synthesis")))
