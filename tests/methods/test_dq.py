"""Direct quantization: what a trained network becomes at other bits."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from methods.dq import DQ, DQBN, _batch
from methods.individual import Individual
from models.qat.network import quantized_layers
from models.qat.spec import QatSpec
from models.qat.state import float_state
from models.quantize.spec import QuantSpec


@pytest.fixture
def images() -> Tensor:
    return torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def state(method: DQ | Individual, network: nn.Module, wanted: int, images: Tensor) -> dict:
    made = method.trainable(network, QuantSpec(wanted, wanted), images, torch.Generator())
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(1.5)
    return made.state_dict()


def none(count: int) -> Tensor:
    raise AssertionError("no more images are needed")


def test_from_float_the_weights_are_those_and_the_steps_new(
    tiny_network: nn.Module, images: Tensor
) -> None:
    method = DQ()
    trained = state(method, tiny_network, 4, images)
    used = method.used_at(tiny_network, trained, QuantSpec(4, 4), images, none)
    layers = quantized_layers(used)
    assert [layer.bits for layer in layers.values()] == [8, 4, 4, 8]
    weight = tiny_network.get_parameter("convs.1.weight") * 1.5
    assert torch.equal(layers["convs.1"].weight, weight)
    step = 2 * weight.detach().abs().mean() / 7**0.5
    assert layers["convs.1"].weight_quantizer.step["4"].item() == pytest.approx(float(step))
    assert not used.training


def test_from_a_bit_width_the_range_stays(tiny_network: nn.Module, images: Tensor) -> None:
    method = DQ(source_bits=8)
    trained = state(method, tiny_network, 4, images)
    used = method.used_at(tiny_network, trained, QuantSpec(4, 4), images, none)
    layer = quantized_layers(used)["convs.1"]
    assert layer.bits == 4
    source = trained["convs.1.weight_quantizer.step.8"]
    assert float(layer.weight_quantizer.step["4"]) == pytest.approx(float(source) * 127 / 7)
    clip = trained["convs.1.input_quantizer.alpha.8"]
    assert torch.equal(layer.input_quantizer.alpha["4"], clip)  # type: ignore[union-attr,index]
    mean = used.get_buffer("norms.1.of_bits.4.running_mean")
    assert torch.equal(mean, trained["norms.1.of_bits.8.running_mean"])


def test_at_its_own_bits_it_is_the_trained_network(tiny_network: nn.Module, images: Tensor) -> None:
    trained = state(DQ(source_bits=8), tiny_network, 8, images)
    alone = Individual().used_at(tiny_network, trained, QuantSpec(8, 8), images, none)
    same = DQ(source_bits=8).used_at(tiny_network, trained, QuantSpec(8, 8), images, none)
    assert torch.equal(alone(images), same(images))


def test_statistics_are_estimated_from_training_images(
    tiny_network: nn.Module, images: Tensor
) -> None:
    asked: list[int] = []

    def real_images(count: int) -> Tensor:
        asked.append(count)
        return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(2))

    method = DQBN(source_bits=8, batchnorm_images=16)
    trained = state(method, tiny_network, 4, images)
    used = method.used_at(tiny_network, trained, QuantSpec(4, 4), images, real_images)
    assert asked == [16]
    first = quantized_layers(used)["convs.0"](real_images(16))
    assert torch.allclose(
        used.get_buffer("norms.0.of_bits.4.running_mean"), first.mean(dim=(0, 2, 3)), atol=1e-6
    )
    with pytest.raises(ValueError, match="batchnorm_images=0; give at least 1"):
        DQBN(batchnorm_images=0)
    assert [_batch(n) for n in (1, 100, 127, 1024, 1000)] == [1, 100, 127, 128, 125]


@pytest.mark.parametrize("batchnorm", ["shared", "private", "transitional"])
def test_the_float_state_of_one_bit_width(
    tiny_network: nn.Module, images: Tensor, batchnorm: str
) -> None:
    method = replace(Individual(), bits=(8, 4), qat=QatSpec(batchnorm=batchnorm))
    made = method.trainable(tiny_network, QuantSpec(8, 8), images, torch.Generator())
    found = float_state(made, 8)
    assert found.keys() == tiny_network.state_dict().keys()
    assert all(torch.equal(found[k], v) for k, v in tiny_network.state_dict().items())
