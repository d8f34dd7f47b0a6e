import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file

from bench.train import TrainRecipe, learning_rate, save_weights, train, warp
from models.errors import BenchError
from models.networks.resnet_cifar import resnet20
from models.zoo import choose_weights, entry, sha256_of

PREPROCESSING = choose_weights(entry("resnet20"), "default").preprocessing
TINY = TrainRecipe(epochs=1, batch_size=16)


def squares(count: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Images of one bright square, in one of two corners by the label."""
    labels = np.arange(count, dtype=np.int64) % 2
    images = np.zeros((count, 3, 32, 32), np.uint8)
    images[labels == 0, :, 4:14, 4:14] = 255
    images[labels == 1, :, 18:28, 18:28] = 255
    return images, labels


def test_config_equals_the_defaults() -> None:
    path = Path(__file__).parents[2] / "conf" / "train" / "default.yaml"
    assert OmegaConf.to_container(OmegaConf.load(path)) == asdict(TrainRecipe())


def test_one_seed_gives_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    images, labels = squares()
    shas = []
    for run, seed in enumerate((3, 3, 4)):
        # The global generator and the given network's own weights must not matter.
        torch.manual_seed(run)
        network = train(resnet20(), images, labels, PREPROCESSING, TINY, seed)
        shas.append(save_weights(network, tmp_path / f"{run}.safetensors"))
    assert shas[0] == shas[1] != shas[2]


def test_loss_falls_and_the_task_is_learnt() -> None:
    images, labels = squares(128)
    losses: list[float] = []
    epochs: list[tuple[int, int]] = []

    def progress(epoch: int, of: int, loss: float) -> None:
        epochs.append((epoch, of))
        losses.append(loss)

    recipe = TrainRecipe(epochs=6, batch_size=16, lr=0.02)
    network = train(resnet20(), images, labels, PREPROCESSING, recipe, 0, progress)
    assert epochs == [(epoch, 6) for epoch in range(1, 7)]
    assert losses[-1] < 0.5 * losses[0]
    predicted = network(PREPROCESSING.normalise(torch.from_numpy(images))).argmax(dim=1)
    assert (predicted.numpy() == labels).mean() == 1.0


def test_given_network_is_left_alone() -> None:
    network = resnet20().eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    trained = train(network, *squares(), PREPROCESSING, TINY, 0)
    assert trained is not network
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert not trained.training
    assert not any(parameter.requires_grad for parameter in trained.parameters())


def test_global_random_state_is_left_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    network = resnet20()
    torch.set_rng_state(before)
    train(network, *squares(), PREPROCESSING, TINY, 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_learning_rate_is_one_cycle() -> None:
    recipe = TrainRecipe(lr=0.2, warmup=0.25)
    rates = [learning_rate(recipe, step, 1000) for step in range(1000)]
    assert max(rates) == pytest.approx(0.2, rel=1e-4)
    assert abs(rates.index(max(rates)) - 250) <= 1
    assert 0 < rates[0] < 1e-5
    assert 0 < rates[-1] < 1e-5
    assert rates[125] == pytest.approx(0.1, rel=0.02)
    flat = TrainRecipe(warmup=0)
    assert learning_rate(flat, 0, 10) == pytest.approx(0.2 * 0.5 * (1 + math.cos(0.05 * math.pi)))


def test_warp_within_its_limits() -> None:
    still = TrainRecipe(max_shift=0, max_rotation=0, max_scale=0)
    images = torch.rand(4, 3, 20, 30, generator=torch.Generator().manual_seed(0)) * 255
    same = warp(images, still, torch.Generator().manual_seed(0))
    assert torch.allclose(same, images, atol=1e-3)

    # A point in the middle of an oblong black image: it moves by the shift, and nothing appears.
    point = torch.zeros(200, 3, 41, 61)
    point[:, :, 20, 30] = 255
    moved = warp(point, TrainRecipe(max_rotation=0, max_scale=0), torch.Generator().manual_seed(0))
    mass = moved[:, 0]
    total = mass.sum(dim=(1, 2))
    assert torch.allclose(total, torch.full((200,), 255.0), rtol=1e-3)
    y = (mass.sum(dim=2) * torch.arange(41.0)).sum(dim=1) / total - 20
    x = (mass.sum(dim=1) * torch.arange(61.0)).sum(dim=1) / total - 30
    for shift in (x, y):
        assert 1.9 < shift.abs().max() <= 2.001
        assert shift.mean().abs() < 0.25


def test_warp_rotates_without_shearing() -> None:
    point = torch.zeros(300, 3, 41, 61)
    point[:, :, 20, 45] = 255  # 15 pixels right of the centre
    recipe = TrainRecipe(max_shift=0, max_rotation=30, max_scale=0)
    mass = warp(point, recipe, torch.Generator().manual_seed(0))[:, 0]
    total = mass.sum(dim=(1, 2))
    y = (mass.sum(dim=2) * torch.arange(41.0)).sum(dim=1) / total - 20
    x = (mass.sum(dim=1) * torch.arange(61.0)).sum(dim=1) / total - 30
    assert torch.allclose(torch.hypot(x, y), torch.full((300,), 15.0), atol=0.3)
    assert 28 < torch.rad2deg(torch.atan2(y, x)).abs().max() < 31


def test_save_weights(tmp_path: Path) -> None:
    network = resnet20()
    path = tmp_path / "new" / "weights.safetensors"
    sha256 = save_weights(network, path)
    assert sha256 == sha256_of(path) == save_weights(network, tmp_path / "again.safetensors")
    loaded = load_file(path)
    assert all(torch.equal(loaded[key], value) for key, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("field", "value"),
    [("epochs", 0), ("batch_size", 1), ("lr", math.nan), ("momentum", 0.0), ("warmup", 1.0)],
)
def test_recipe_out_of_range(field: str, value: float) -> None:
    with pytest.raises(BenchError, match=f"{field}=.* is out of range"):
        TrainRecipe(**{field: value})  # type: ignore[arg-type]


def test_arrays_that_do_not_fit() -> None:
    images, labels = squares(16)
    with pytest.raises(BenchError, match="training images are float32"):
        train(resnet20(), images.astype(np.float32), labels, PREPROCESSING, TINY, 0)
    with pytest.raises(BenchError, match=r"give int64 of shape \(16,\)"):
        train(resnet20(), images, labels[:-1], PREPROCESSING, TINY, 0)
    with pytest.raises(BenchError, match="8 training images do not fill one batch of 16"):
        train(resnet20(), images[:8], labels[:8], PREPROCESSING, TINY, 0)


def test_divergence_is_an_error() -> None:
    recipe = TrainRecipe(epochs=1, batch_size=16, lr=1e30)
    with pytest.raises(BenchError, match=r"training diverged: the loss of epoch 1 is .*lower lr"):
        train(resnet20(), *squares(), PREPROCESSING, recipe, 0)
