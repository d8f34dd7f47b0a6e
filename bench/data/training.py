"""Whether a data set is one to train a given network on: asked before any image is decoded."""

import numpy as np

from bench.data.listing import Listing
from bench.data.outputs import check_outputs
from models.errors import BenchError


def reached_for_images(method: str) -> BenchError:
    """Return what to raise where `method`, which declares to see none, asks for training images."""
    return BenchError(
        f"method {method!r} reached for training images; a method that uses them must declare "
        "needs_real_images"
    )


def check_training(
    training: Listing, testing: Listing, outputs: int | None, batch_size: int
) -> None:
    """Refuse what cannot end well: other classes than the network's, or too few images.

    training, testing: the train and the eval side of one data set. The eval side may lack classes
    of the train side (`limit` may have left them out), but has none that the other lacks.
    outputs: of the network; None where that is not known.
    batch_size: images a training step.
    Raises BenchError, in one line, for the first thing that does not fit.
    """
    check_outputs(training, outputs)
    unseen = np.flatnonzero(~np.isin(testing.labels, training.labels))
    if len(unseen):
        raise BenchError(
            f"the training side of {training.name} has no image of a class of the evaluation side, "
            f"that of {testing.files[unseen[0]]!r}; give both sides the same classes, or raise "
            "data.subset"
        )
    if len(training) < batch_size:
        raise BenchError(
            f"the {len(training)} training images of {training.name} do not fill one batch of "
            f"{batch_size}; lower the batch size, or raise data.subset"
        )
