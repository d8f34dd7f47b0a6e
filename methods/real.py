"""Real training images: the baseline that data-free methods aim at."""

from dataclasses import dataclass

from torch import nn

from methods.base import Calibration, Context, Method


@dataclass(frozen=True)
class Real(Method):
    """Images of the training side, spread evenly over the classes, with evaluation preprocessing.

    Their labels are not used. Which images they are depends on the seed.
    """

    name = "real"
    needs_real_images = True
    tasks = ("classification", "detection")

    def calibrate(self, network: nn.Module, context: Context) -> Calibration:
        return Calibration(context.real_images(self.images))
