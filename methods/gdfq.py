"""GDFQ (Xu et al., ECCV 2020): trained on the images of a generator that knows classes."""

from dataclasses import dataclass

from methods.generation.base import GeneratedTraining


@dataclass(frozen=True)
class GDFQ(GeneratedTraining):
    """A low-bit network taught by the float one, on images that a generator makes for it.

    The generator is to make images that the float network takes for the class they were made for,
    and whose mean and variance at each BatchNorm are the running ones. See `GeneratedTraining`.
    """

    name = "gdfq"
