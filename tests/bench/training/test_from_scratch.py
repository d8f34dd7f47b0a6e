from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from bench.training.from_scratch import LabelledImages, save_weights, train
from methods.training.schedule import Schedule
from models.errors import BenchError
from models.networks.resnet_cifar import resnet20
from models.zoo import choose_weights, entry, sha256_of
from tests.bench.training.networks import small

PREPROCESSING = choose_weights(entry("resnet20"), "default").preprocessing
TINY = Schedule(epochs=1, batch_size=16)


def squares(count: int = 64) -> LabelledImages:
    """Images of one bright square, in one of two corners by the label."""
    labels = np.arange(count, dtype=np.int64) % 2
    images = np.zeros((count, 3, 32, 32), np.uint8)
    images[labels == 0, :, 4:14, 4:14] = 255
    images[labels == 1, :, 18:28, 18:28] = 255
    return LabelledImages(images, labels)


def test_one_seed_gives_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    images, labels, _ = squares()
    shas = []
    for run, seed in enumerate((3, 3, 4)):
        # The global generator and the given network's own weights must not matter.
        torch.manual_seed(run)
        network = train(resnet20(), LabelledImages(images, labels), PREPROCESSING, TINY, seed)
        shas.append(save_weights(network, tmp_path / f"{run}.safetensors"))
    assert shas[0] == shas[1] != shas[2]


def test_loss_falls_and_the_task_is_learnt() -> None:
    images, labels, _ = squares()
    losses: list[float] = []
    steps: list[tuple[int, int]] = []

    def progress(done: int, total: int, loss: float | None = None) -> None:
        steps.append((done, total))
        losses.extend([] if loss is None else [loss])

    recipe = Schedule(epochs=6, batch_size=8, lr=0.05)
    network = train(small(), LabelledImages(images, labels), PREPROCESSING, recipe, 0, progress)
    assert steps[0] == (1, 48) and steps[-1] == (48, 48)
    assert len(losses) == 6
    assert losses[-1] < 0.5 * losses[0]
    predicted = network(PREPROCESSING.normalise(torch.from_numpy(images))).argmax(dim=1)
    assert (predicted.numpy() == labels).mean() == 1.0


def test_given_network_is_left_alone() -> None:
    network = resnet20().eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    trained = train(network, squares(), PREPROCESSING, TINY, 0)
    assert trained is not network
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert not trained.training
    assert not any(parameter.requires_grad for parameter in trained.parameters())


def test_global_random_state_is_left_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    network = resnet20()
    torch.set_rng_state(before)
    train(network, squares(), PREPROCESSING, TINY, 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_save_weights(tmp_path: Path) -> None:
    network = resnet20()
    path = tmp_path / "new" / "weights.safetensors"
    sha256 = save_weights(network, path)
    assert sha256 == sha256_of(path) == save_weights(network, tmp_path / "again.safetensors")
    loaded = load_file(path)
    assert all(torch.equal(loaded[key], value) for key, value in network.state_dict().items())


def test_arrays_that_do_not_fit() -> None:
    images, labels, _ = squares(16)
    with pytest.raises(BenchError, match="training images are float32"):
        train(resnet20(), LabelledImages(images.astype(np.float32), labels), PREPROCESSING, TINY, 0)
    with pytest.raises(BenchError, match=r"give int64 of shape \(16,\)"):
        train(resnet20(), LabelledImages(images, labels[:-1]), PREPROCESSING, TINY, 0)
    with pytest.raises(BenchError, match="8 training images do not fill one batch of 16"):
        train(resnet20(), LabelledImages(images[:8], labels[:8]), PREPROCESSING, TINY, 0)
