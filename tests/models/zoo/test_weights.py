import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from models.errors import BenchError
from models.networks.resnet_cifar import resnet20
from models.zoo import choose_weights, entry
from models.zoo.weights import load, read_state

RESNET20 = entry("resnet20")
SHIPPED = choose_weights(RESNET20, "default")
State = dict[str, Tensor]


@pytest.fixture
def state() -> State:
    return resnet20().state_dict()


def network_of(path: Path) -> torch.nn.Module:
    return load(RESNET20, choose_weights(RESNET20, str(path))).network


def test_loads_in_eval_mode_without_gradients() -> None:
    network = load(RESNET20, SHIPPED).network
    assert not any(module.training for module in network.modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_an_untrained_network_is_not_taken_for_a_trained_one() -> None:
    with pytest.raises(BenchError, match=r"trained weights are needed here; give model\.weights="):
        load(RESNET20, choose_weights(RESNET20, "none"))


@pytest.mark.parametrize("name", ["own.safetensors", "own.pth"])
def test_local_file_round_trip(name: str, tmp_path: Path, state: State) -> None:
    path = tmp_path / name
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    loaded = network_of(path).state_dict()
    assert list(loaded) == list(state)
    assert all(torch.equal(loaded[key], state[key]) for key in state)


def test_wrong_sha_is_refused_before_parsing(tmp_path: Path) -> None:
    path = tmp_path / "garbage.safetensors"
    path.write_bytes(b"not weights at all")
    weights = replace(SHIPPED, locate=path)
    with pytest.raises(BenchError, match=f"have sha256 .*expected {SHIPPED.sha256}; the file is"):
        load(RESNET20, weights)


@pytest.mark.parametrize("name", ["cut.safetensors", "cut.pth"])
@pytest.mark.parametrize("kept", [0, 5, 1000, 500_000])
def test_truncated_file(name: str, kept: int, tmp_path: Path, state: State) -> None:
    path = tmp_path / name
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(BenchError, match=r"cannot read weights from .*cut"):
        network_of(path)


@pytest.mark.parametrize("name", ["odd.safetensors", "odd.pth", "odd.pt"])
@pytest.mark.parametrize("content", [b"\x00" * 64, b"hello world, hello", b"\x80\x02garbage..."])
def test_garbage_file(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(BenchError, match=r"cannot read weights from .*odd"):
        network_of(path)


@pytest.mark.parametrize("name", ["words.txt", "words.pth"])
@pytest.mark.parametrize("content", [b"", b"e for words", b"name,top1\n", bytes(range(64))])
def test_a_file_of_another_kind(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(BenchError) as error:
        read_state(path)
    assert str(error.value) == (
        f"cannot read weights from {path}: it is no PyTorch or safetensors file; give a complete "
        ".safetensors file or a PyTorch state dict that loads with weights_only=True"
    )


@pytest.mark.parametrize("zipped", [True, False])
def test_checkpoint_with_code_is_refused(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "network.pth"
    torch.save(resnet20(), path, _use_new_zipfile_serialization=zipped)
    said = r"cannot read weights from .*network\.pth: it holds more than tensors, or is damaged; "
    with pytest.raises(BenchError, match=said):
        network_of(path)


def test_a_program_is_refused_in_our_words(tmp_path: Path) -> None:
    """PyTorch's own advise to load them with their code."""
    scripted = tmp_path / "scripted.pt"
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), scripted)
    exported = tmp_path / "exported.pt"
    with zipfile.ZipFile(exported, "w") as archive:
        archive.writestr("exported/archive_format", "pt2")
    for path, what in (
        (scripted, "a TorchScript program (torch.jit.save)"),
        (exported, "an exported program (torch.export.save)"),
    ):
        with pytest.raises(BenchError) as error:
            read_state(path)
        assert str(error.value) == (
            f"cannot read weights from {path}: it is {what}, and weights are wanted; give a "
            "complete .safetensors file or a PyTorch state dict that loads with weights_only=True"
        )


@pytest.mark.parametrize("content", [{"epoch": 3}, [torch.zeros(1)]])
def test_not_a_state_dict(content: object, tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save(content, path)
    with pytest.raises(BenchError, match="holds no state dict"):
        read_state(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_not_finite_is_named(value: float, tmp_path: Path, state: State) -> None:
    state["features.init_block.bn.running_var"][3] = value
    path = tmp_path / "nan.safetensors"
    save_file(state, path)
    with pytest.raises(BenchError, match=r"'features\.init_block\.bn\.running_var' holds NaN"):
        network_of(path)


def test_misfits_are_named(tmp_path: Path, state: State) -> None:
    del state["output.bias"]
    state["output.scale"] = torch.zeros(1)
    state["output.weight"] = torch.zeros(100, 64)
    path = tmp_path / "misfit.safetensors"
    save_file(state, path)
    with pytest.raises(BenchError) as caught:
        network_of(path)
    assert "missing output.bias; unexpected output.scale; " in str(caught.value)
    assert "output.weight is (100, 64), not (10, 64)" in str(caught.value)


@pytest.mark.parametrize("zipped", [True, False])
def test_file_of_an_old_release(zipped: bool, tmp_path: Path, state: State) -> None:
    """PyTorch before 1.6 wrote no zip, and before 0.4.1 no count of batches."""
    old = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    assert len(state) - len(old) == 21
    path = tmp_path / "old.pth"
    torch.save(old, path, _use_new_zipfile_serialization=zipped)
    loaded = network_of(path).state_dict()
    assert list(loaded) == list(state)
    assert all(torch.equal(loaded[key], old[key]) for key in old)


def test_many_wrong_keys_stay_one_line(tmp_path: Path, state: State) -> None:
    path = tmp_path / "prefixed.safetensors"
    save_file({f"module.{key}": value for key, value in state.items()}, path)
    with pytest.raises(BenchError) as caught:
        network_of(path)
    weights = [key for key in state if not key.endswith("num_batches_tracked")]
    missing = f"missing {', '.join(weights[:3])} and {len(weights) - 3} more"
    assert missing in str(caught.value)
    assert f"and {len(state) - 3} more; use its own keys" in str(caught.value)
    assert "\n" not in str(caught.value)
