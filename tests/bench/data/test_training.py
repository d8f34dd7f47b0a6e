"""What a network cannot be trained on is refused while nothing is decoded yet."""

from pathlib import Path

import pytest

from bench.data import check_training, scan
from models.errors import BenchError
from tests.bench.data.images import write_tree


def check(root: Path, outputs: int | None, batch_size: int = 2, **options: int) -> None:
    config = {"name": "folder", "root": str(root), "label": "pets", **options}
    check_training(scan(config, "train"), scan(config, "eval"), outputs, batch_size)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    return write_tree(tmp_path, {"train/ant": 3, "train/cat": 3, "test/ant": 2, "test/cat": 1})


def test_what_belongs_together_is_accepted(pets: Path) -> None:
    check(pets, 2)
    check(pets, None)
    check(pets, 2, batch_size=6)
    check(pets, 2, subset=2)
    check(pets, 2, limit=1)  # one class is evaluated, two are learnt


@pytest.mark.parametrize("outputs", [1, 3, 10])
def test_other_classes_than_the_network(pets: Path, outputs: int) -> None:
    with pytest.raises(BenchError) as caught:
        check(pets, outputs)
    assert str(caught.value) == (
        f"pets has 2 classes and the network {outputs} outputs; choose a data set that belongs to "
        "the model, or a model with as many outputs"
    )


@pytest.mark.parametrize("outputs", [3, None])
def test_a_class_that_cannot_be_learnt(pets: Path, outputs: int | None) -> None:
    write_tree(pets, {"test/bee": 1})
    with pytest.raises(BenchError) as caught:
        check(pets, outputs)
    assert str(caught.value) == (
        "the training side of pets has no image of a class of the evaluation side, that of "
        "'bee/000.png'; give both sides the same classes, or raise data.subset"
    )


def test_a_subset_without_one_of_the_classes(pets: Path) -> None:
    with pytest.raises(BenchError, match=r"has no image of a class .* or raise data\.subset"):
        check(pets, 2, batch_size=1, subset=1)


def test_another_spelling_of_a_class_is_two_classes(pets: Path) -> None:
    (pets / "test" / "cat").rename(pets / "test" / "Cat")
    with pytest.raises(BenchError, match="pets has 3 classes and the network 2 outputs"):
        check(pets, 2)


@pytest.mark.parametrize(("batch_size", "options"), [(7, {}), (5, {"subset": 4})])
def test_fewer_images_than_a_batch(pets: Path, batch_size: int, options: dict[str, int]) -> None:
    count = options.get("subset", 6)
    with pytest.raises(BenchError) as caught:
        check(pets, 2, batch_size, **options)
    assert str(caught.value) == (
        f"the {count} training images of pets do not fill one batch of {batch_size}; lower the "
        "batch size, or raise data.subset"
    )


def test_a_part_of_imagenet_still_has_its_thousand_outputs(tmp_path: Path) -> None:
    tree = {"train/n01440764": 2, "train/n15075141": 2, "val/n15075141": 1}
    config = {"name": "imagenet", "root": str(write_tree(tmp_path, tree))}
    sides = scan(config, "train"), scan(config, "eval")
    check_training(*sides, 1000, 4)
    with pytest.raises(BenchError, match="imagenet has 1000 classes and the network 10 outputs"):
        check_training(*sides, 10, 4)
