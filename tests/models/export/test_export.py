import copy

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from models.canonical import canonical
from models.errors import NotApplicable
from models.export.export import Exported, export, export_float
from models.quantize.network import QuantizedNetwork, quantize
from models.quantize.spec import QuantSpec

INTEGER = {"fold": True, "sites": "integer", "w_scheme": "symmetric"}


def run(model: onnx.ModelProto, images: Tensor) -> np.ndarray:
    """The logits of onnxruntime, with products added in 32 bits on any processor."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (logits,) = session.run(None, {"input": images.numpy()})
    return logits


def constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}


class Smallest(nn.Module):
    """A 1x1 convolution, a ReLU and a linear layer: (N, 1, 1, 2) to (N, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu, self.head = nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Linear(4, 2)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([1.27, -0.635]).view(2, 1, 1, 1))
            self.conv.bias.copy_(torch.tensor([0.5, 0.0]))
            self.head.weight.copy_(torch.tensor([[1.27, 0.01, -0.02, 0], [0, 0.254, 0, -0.1]]))
            self.head.bias.copy_(torch.tensor([0.25, -1.0]))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.relu(self.conv(x)).flatten(1))


def made(network: nn.Module, images: Tensor, **spec: object) -> QuantizedNetwork:
    canonical(network.eval().requires_grad_(False), images[:1])
    bits = {"w_bits": 8, "a_bits": 8} | spec
    return quantize(network, QuantSpec(**bits), images)  # type: ignore[arg-type]


def exported(
    network: nn.Module, images: Tensor, **spec: object
) -> tuple[QuantizedNetwork, Exported]:
    quantized = made(network, images, **spec)
    by_channel = spec.get("w_granularity", "channel") == "channel"
    return quantized, export(quantized, images[:1], by_channel)


def test_integers_scales_and_zero_points_of_a_network_by_hand() -> None:
    # The image is quantized to [-1, 1.55]: steps of 0.01, zero at 100. What the linear layer sees
    # is [0, 0.99 * 1.27 + 0.5] of the largest pixel.
    images = torch.tensor([[-1.0, 1.55], [0.2, 0.4]]).view(2, 1, 1, 2)
    _, found = exported(Smallest(), images, sites="all", w_scheme="symmetric")
    stored = constants(found.model)
    image = next(name for name in stored if name.endswith(".zero_point"))
    assert stored[image] == 100
    assert stored[image.replace("zero_point", "scale")] == pytest.approx(0.01)
    assert stored["conv.weight"].flatten().tolist() == [127, -127]
    assert stored["conv.weight.scale"] == pytest.approx([0.01, 0.005])
    assert stored["conv.weight.zeros"].tolist() == [0, 0]
    assert stored["head.weight"].tolist() == [[127, 1, -2, 0], [0, 127, 0, -50]]
    assert stored["head.weight.scale"] == pytest.approx([0.01, 0.002])
    (bias,) = (v for k, v in stored.items() if v.dtype == np.int32 and v.tolist() == [5000, 0])
    assert bias.size == 2  # 0.5 / (0.01 * 0.01), 0 / (0.01 * 0.005)
    # Of 1.55 the convolution gives 1.9685 + 0.5; the linear layer has steps of 2.4685 / 255.
    step = 2.4685 / 255
    biases = [v.tolist() for v in stored.values() if v.dtype == np.int32 and v.any()]
    assert [round(0.25 / (step * 0.01)), round(-1 / (step * 0.002))] in biases
    assert found.layers == found.integer == 2
    assert found.lines == []


def test_what_onnxruntime_makes_of_it_is_what_fake_quantization_gives() -> None:
    images = torch.tensor([[-1.0, 1.55], [0.2, 0.4], [1.5, -0.3]]).view(3, 1, 1, 2)
    quantized, found = exported(Smallest(), images, sites="all", w_scheme="symmetric")
    onnx.checker.check_model(found.model, full_check=True)
    assert run(found.model, images) == pytest.approx(quantized.network(images).numpy(), abs=1e-4)


SPECS = [
    INTEGER,
    {"w_scheme": "affine", "fold": True, "sites": "all"},
    {"w_granularity": "tensor", "fold": True, "sites": "all"},
    {"w_bits": 4, "w_scheme": "symmetric", "sites": "all", "fold": True},
    {"w_bits": 4, "a_bits": 4, "sites": "integer", "fold": True},
    {"w_bits": 3, "a_bits": 6, "a_scheme": "symmetric"},
    {"w_bits": 5, "w_granularity": "tensor", "sites": "all"},
    {"w_bits": 2, "rounding": "floor", "sites": "all", "fold": True, "first_bits": 8},
]


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_stored_weights_are_those_of_fake_quantization(
    tiny_network: nn.Module, spec: dict[str, object]
) -> None:
    """To 2 units in the last place of float32, where no BatchNorm is folded into the scales."""
    images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    quantized, found = exported(tiny_network, images, **spec)
    for name, each in found.weights.items():
        layer = quantized.network.get_submodule(name)
        shape = [-1] + [1] * (each.integers.dim() - 1) if each.scale.dim() else []
        zero, scale = each.zero_point.float().view(shape), each.scale.view(shape)
        stored = (each.integers.float() - zero) * scale
        wanted = layer.weight.detach()
        if not spec.get("fold") and name.startswith("convs"):
            norm = quantized.network.norms[int(name.split(".")[1])]
            wanted = wanted * (norm.weight / (norm.running_var + norm.eps).sqrt()).view(-1, 1, 1, 1)
            assert stored.numpy() == pytest.approx(wanted.numpy(), rel=1e-6)
            continue
        ulp = np.spacing(wanted.abs().numpy())
        assert (np.abs((stored - wanted).numpy()) <= 2 * ulp).all(), name
        levels = int(each.integers.amax()) - int(each.integers.amin())
        assert levels < 2 ** (8 if each.bits == 8 else 4)


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_logits_are_near_those_of_fake_quantization(
    tiny_network: nn.Module, spec: dict[str, object]
) -> None:
    """Nearer than fake quantization is to float, or by what one step of an activation makes."""
    images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    quantized, found = exported(copy.deepcopy(tiny_network), images, **spec)
    onnx.checker.check_model(found.model, full_check=True)
    fake, floating = quantized.network(images).numpy(), tiny_network(images).numpy()
    off = np.abs(run(found.model, images) - fake).max()
    *_, last = quantized.quantizers.values()
    one_step = float(tiny_network.get_submodule("head").weight.abs().max() / last.inverse_scale)
    assert off < max(0.25 * np.abs(fake - floating).max(), 1.5 * one_step)


def test_the_types_of_weights_are_the_smallest(tiny_network: nn.Module) -> None:
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    spec = INTEGER | {"w_bits": 4, "first_bits": 6, "last_bits": 8}
    _, found = exported(tiny_network, images, **spec)
    assert [each.bits for each in found.weights.values()] == [8, 4, 4, 8]
    first = found.weights["convs.0"].integers
    assert (int(first.amin()), int(first.amax())) == (-31, 31)  # the range of 6 bits, no Clip
    kinds = {each.name: each.data_type for each in found.model.graph.initializer}
    assert kinds["convs.1.weight"] == onnx.TensorProto.INT4


def test_activations_of_fewer_bits_are_clipped_to_their_range(tiny_network: nn.Module) -> None:
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    _, found = exported(tiny_network, images, **INTEGER | {"a_bits": 4, "first_bits": 8})
    clips = [node for node in found.model.graph.node if node.op_type == "Clip"]
    stored = constants(found.model)
    assert {int(stored[node.input[2]]) for node in clips} == {15}


def test_a_whole_network_runs_on_integers(golden_network: nn.Module) -> None:
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    _, found = exported(golden_network, images, **INTEGER)
    assert (found.layers, found.integer) == (22, 22)
    kinds = [node.op_type for node in found.model.graph.node]
    # Each addition reads integers and is followed by a ReLU and a quantizer.
    made_by = {node.output[0]: node for node in found.model.graph.node}
    adds = [node for node in found.model.graph.node if node.op_type == "Add"]
    assert len(adds) == 9
    for add in adds:
        assert {made_by[name].op_type for name in add.input} == {"DequantizeLinear"}
    assert kinds.count("GlobalAveragePool") == 1


class Channels(nn.Module):
    """A depthwise convolution whose second channel has weights of one sign, far from 0."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 3, 2, groups=3), nn.Linear(3, 2)
        with torch.no_grad():
            self.conv.weight.copy_(torch.linspace(-1, 1, 12).view(3, 1, 2, 2))
            self.conv.weight[1] = torch.tensor([[1.0, 1.0123], [1.0217, 1.03]])

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv(x).mean((2, 3)))


def test_grids_without_0_are_widened_and_counted() -> None:
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    quantized, found = exported(Channels(), images, sites="all")
    assert found.weights["conv"].widened >= 1
    many = sum(each.widened for each in found.weights.values())
    assert found.lines[0].startswith(f"{many} of 5 grids of weights do not contain 0")
    channel = found.weights["conv"]
    stored = (channel.integers[1].float() - channel.zero_point[1]) * channel.scale[1]
    step = 1.03 / 255  # of [0, 1.03], to which they are rounded once more
    assert float(channel.scale[1]) == pytest.approx(step, rel=1e-5)
    wanted = quantized.network.get_submodule("conv").weight[1]
    assert stored.numpy() == pytest.approx(wanted.detach().numpy(), abs=step / 2 + 1e-6)


def test_a_bias_too_large_for_its_steps_makes_them_coarser() -> None:
    network = Channels()
    with torch.no_grad():
        network.conv.weight[0] *= 1e-8
        network.conv.bias[0] = 3.0
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    quantized, found = exported(network, images, sites="all", w_scheme="symmetric")
    assert found.lines[-1].startswith("1 output channels have steps so small")
    assert run(found.model, images) == pytest.approx(quantized.network(images).numpy(), abs=0.02)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"a_granularity": "channel"}, r"a_granularity=channel: integer kernels have one scale"),
        ({"a_bits": 12}, r"activations of 12 bits: integer kernels have 8 at most"),
        ({"w_bits": 10}, r"the weight of '.*' has 10 bits; integer kernels have 8 at most"),
        ({"rounding": "kmeans", "w_bits": 3}, r"is on no grid of 8 levels, as a codebook"),
    ],
)
def test_what_has_no_integers_is_refused(
    tiny_network: nn.Module, spec: dict[str, object], said: str
) -> None:
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    with pytest.raises(NotApplicable, match=said):
        exported(tiny_network, images, **spec)


def test_a_float_network_is_exported_with_its_batchnorm_folded(tiny_network: nn.Module) -> None:
    images = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    model = export_float(tiny_network, images[:1])
    kinds = [node.op_type for node in model.graph.node]
    assert (kinds.count("Conv"), kinds.count("BatchNormalization")) == (3, 0)
    assert run(model, images) == pytest.approx(tiny_network(images).numpy(), abs=1e-5)
