"""Product quantization of layers and networks."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from models.quantize.identity import identity
from models.quantize.network import quantize
from models.quantize.ranges import WeightFormat
from models.quantize.rounding.base import Layer, Rounded
from models.quantize.rounding.codebook import cut, stored_bits
from models.quantize.rounding.product import Product
from models.quantize.rounding.reconstruction import Reconstruction
from models.quantize.spec import QuantSpec

FORMAT = WeightFormat(2, "affine", "channel")


def rounded(weight: Tensor, product: Product, bits: int = 2) -> Rounded:
    size = weight[0].numel()
    problem = Reconstruction(torch.eye(size)[None], torch.zeros(1, len(weight), size))
    generator = torch.Generator().manual_seed(0)
    return product.quantize(Layer(weight, FORMAT._replace(bits=bits), problem, generator))


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("shape", "product", "size", "count"),
    [
        ((64, 64, 3, 3), Product(), 9, 256),  # the largest that 2 bits pay for
        ((64, 64, 3, 3), Product(centroids=64), 9, 64),
        ((64, 64, 3, 3), Product(centroids=2**20), 9, 512),  # what the rule leaves
        ((64, 64, 3, 3), Product(block=(2, 4, 4)), 18, 128),
        ((64, 64, 1, 1), Product(), 4, 32),
        ((64, 1, 5, 5), Product(), 25, 4),  # depthwise
        ((40, 60), Product(block=(1, 4, 6)), 6, 16),
    ],
)
def test_codebook_and_what_it_takes(
    shape: tuple[int, ...], product: Product, size: int, count: int
) -> None:
    weight = random(*shape)
    made = rounded(weight, product)
    blocks = cut(made.weight, size)
    assert len(blocks.unique(dim=0)) == count
    assert made.size_bits == stored_bits(len(blocks), size, count)
    if product.centroids is None:
        assert made.size_bits <= 2 * weight.numel() < stored_bits(len(blocks), size, 2 * count)
    assert torch.equal(made.weight, made.weight.half().float())
    assert made.warning == ""
    assert made.shared is not None
    values = torch.zeros(count * size).index_put((made.shared,), made.weight)
    assert torch.equal(values[made.shared], made.weight)


def test_layers_that_it_cannot_do_as_asked() -> None:
    made = rounded(random(64, 6, 3, 3), Product(block=(4, 4, 4)))
    assert made.warning == "blocks of 4 input channels do not divide 6; they have 3"
    assert made.size_bits == stored_bits(128, 27, 8)
    few = random(4, 4, 3, 3)
    made = rounded(few, Product())
    assert torch.equal(made.weight, few)
    assert made.size_bits == 32 * few.numel()
    assert made.shared is None
    assert made.warning == "16 blocks are too few for a codebook; its weights stay in float"
    made = rounded(torch.zeros(64, 16, 1, 1), Product())
    assert not made.weight.any()


def network() -> nn.Sequential:
    torch.manual_seed(0)
    last = nn.Linear(32, 10)
    last.weight.data *= 30  # as sure of its classes as a trained network
    layers = [nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3)]
    layers += [nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), last]
    return nn.Sequential(*layers).eval().requires_grad_(False)


IMAGES = torch.randn(70, 3, 10, 10, generator=torch.Generator().manual_seed(1)) + 0.5
SPEC = QuantSpec(3, 32, rounding="product", rounding_rate=0.01)


def divergence(spec: QuantSpec) -> float:
    net = network()
    wanted = net(IMAGES).log_softmax(1)
    made = quantize(net, spec, IMAGES).network
    assert not any(p.requires_grad or p.grad is not None for p in made.parameters())
    assert not any(m.training for m in made.modules())
    found = made(IMAGES).log_softmax(1)
    return nn.functional.kl_div(found, wanted, reduction="batchmean", log_target=True).item()


def test_finetuning_brings_the_outputs_nearer() -> None:
    raw = divergence(SPEC)
    assert divergence(replace(SPEC, rounding_layer_steps=20)) < 0.5 * raw
    assert divergence(replace(SPEC, rounding_network_steps=30)) < 0.5 * raw


def test_finetuned_blocks_stay_centroids_and_batchnorm_follows() -> None:
    net = network()
    made = quantize(net, replace(SPEC, rounding_network_steps=3), IMAGES)
    plain = quantize(net, SPEC, IMAGES)
    for name, size in (("0", 9), ("3", 9), ("7", 4)):
        before, after = (
            cut(each.network.get_submodule(name).get_parameter("weight"), size)
            for each in (plain, made)
        )
        assert name == "7" or not torch.equal(before, after)  # whose step is below 16 bits
        assert len(before.unique(dim=0)) == len(after.unique(dim=0)) < len(before) / 4
        assert torch.equal(after, after.half().float())
    assert made.more_bits == plain.more_bits < 0  # at most three bits a weight
    assert not torch.equal(made.network[1].running_mean, net[1].running_mean)  # type: ignore[index]
    assert torch.equal(plain.network[1].running_mean, net[1].running_mean)  # type: ignore[index]


def test_what_is_no_part_of_an_identity() -> None:
    plain = {"w_bits": 2, "a_bits": 32, "rounding": "product"}
    spec = QuantSpec(2, 32, rounding="product", rounding_rate=0.5, w_scheme="symmetric")
    assert identity(spec) == plain
    spec = replace(spec, rounding_network_steps=5, rounding_block=(2, 4, 4))
    more = {"rounding_network_steps": 5, "rounding_rate": 0.5, "rounding_block": (2, 4, 4)}
    assert identity(spec) == plain | more
