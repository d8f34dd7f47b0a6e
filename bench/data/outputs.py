"""Whether a data set is one to measure a given network on."""

from bench.data.listing import Listing
from models.errors import BenchError
from models.preprocessing import Preparation


def check_outputs(listing: Listing, outputs: int | None) -> None:
    """Refuse a data set whose labels do not count the outputs of a network.

    outputs: of the network; None where that is not known.
    Raises BenchError where the set has another number of classes. Of one that does not say how many
    there are, the labels must be among the outputs.
    """
    highest = int(listing.labels.max()) + 1
    classes = listing.outputs or highest
    if outputs is None or classes == outputs or (listing.outputs is None and highest < outputs):
        return
    raise BenchError(
        f"{listing.name} has {classes} classes and the network {outputs} outputs; choose a "
        "data set that belongs to the model, or a model with as many outputs"
    )


def check_medium(listing: Listing, preprocessing: Preparation) -> None:
    """Raise BenchError for images where a network takes texts, and the other way about."""
    if listing.medium != preprocessing.medium:
        raise BenchError(
            f"{listing.name} has {listing.kind}s and the network takes {preprocessing.medium}s; "
            "choose a data set that belongs to the model, as data=topics to model=word_bag"
        )
