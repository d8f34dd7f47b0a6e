import numpy as np
import pytest

from bench.data import Listing, check_outputs
from models.errors import BenchError


def listing(labels: list[int], outputs: int | None) -> Listing:
    files = tuple(map(str, labels))
    return Listing("pets", "eval", files, np.array(labels), len(set(labels)), "f", "s", outputs)


@pytest.mark.parametrize(
    ("labels", "declared", "outputs"),
    [([0, 3], 10, 10), ([0, 3], 10, None), ([0, 3], None, 4), ([0, 3], None, 1000)],
)
def test_classes_that_fit(labels: list[int], declared: int | None, outputs: int | None) -> None:
    check_outputs(listing(labels, declared), outputs)


@pytest.mark.parametrize(
    ("labels", "declared", "outputs", "classes"),
    [([0, 3], 10, 1000, 10), ([0, 3], 1000, 10, 1000), ([0, 3], None, 3, 4), ([0, 1], 2, 1, 2)],
)
def test_classes_that_differ(
    labels: list[int], declared: int | None, outputs: int, classes: int
) -> None:
    with pytest.raises(BenchError) as error:
        check_outputs(listing(labels, declared), outputs)
    assert str(error.value) == (
        f"pets has {classes} classes and the network {outputs} outputs; choose a data set that "
        "belongs to the model, or a model with as many outputs"
    )
