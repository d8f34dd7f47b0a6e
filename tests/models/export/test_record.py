import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.errors import NotApplicable
from models.export.export import export_float
from models.export.record import record


class Every(nn.Module):
    """Most operations that can be recorded: (N, 4, 8, 8) to (N, 6)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.Linear(24, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.pad(self.norm(x), (0, 1, 1, 0))  # (N, 4, 9, 9)
        x = functional.max_pool2d(functional.relu6(self.conv(x)), 3, 2, 1)  # (N, 4, 4, 4)
        y = functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        y = functional.hardswish(y, inplace=True) - torch.sigmoid(x) * 0.5
        y = y.view(len(y), 2, 2, 4, 4).transpose(1, 2).reshape(len(y), 4, 4, 4)  # a shuffle
        parts = [y, functional.leaky_relu(x, 0.1), functional.hardsigmoid(x)[:, 1:3]]
        z = torch.cat([*parts, x.clamp(min=0.1).permute(0, 1, 3, 2)[:, :2]], 1)  # (N, 12, 4, 4)
        wide = functional.adaptive_avg_pool2d(z, 2)[:, :, :1].flatten(1)  # (N, 24)
        return self.head(torch.tanh(wide) / 2) + z.mean((2, 3))[:, :6]


def test_recorded_operations_compute_what_pytorch_does() -> None:
    torch.manual_seed(0)
    network = Every().eval().requires_grad_(False)
    network.norm.running_mean.fill_(0.3)
    model = export_float(network, torch.randn(1, 4, 8, 8))
    images = torch.randn(5, 4, 8, 8)  # another number of them than passed
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (logits,) = session.run(None, {"input": images.numpy()})
    assert np.abs(logits - network(images).numpy()).max() < 1e-5


def test_images_may_lie_channels_last() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network = network.requires_grad_(False).to(memory_format=torch.channels_last)
    image = torch.zeros(1, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    ops = [node.op for node in record(network, image).nodes]
    assert ops == ["Conv", "GlobalAveragePool", "Reshape"]


def test_padding_becomes_that_of_the_convolution_behind_it() -> None:
    network = nn.Sequential(nn.ZeroPad2d((0, 1, 2, 3)), nn.Conv2d(3, 2, 3, padding=1))
    graph = record(network.requires_grad_(False), torch.zeros(1, 3, 8, 8))
    assert [node.op for node in graph.nodes] == ["Pad", "Conv"]
    from models.export.passes import merge_pads

    (conv,) = merge_pads(graph).nodes
    assert conv.attributes["pads"] == [3, 1, 4, 2]  # top, left, bottom, right


class Refused(nn.Module):
    def __init__(self, compute: object) -> None:
        super().__init__()
        self.compute = compute

    def forward(self, x: Tensor) -> Tensor:
        return self.compute(x)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("compute", "said"),
    [
        (lambda x: x.cumsum(1), "computes cumsum, which cannot be exported"),
        (lambda x: x.flatten(0, 1), "in which images are not kept apart"),
        (lambda x: x.mean(1), "a mean over others than all pixels"),
        (lambda x: functional.adaptive_avg_pool2d(x, 3), "does not divide its input's"),
        (lambda x: torch.ones(3, 5), "returns what none of its operations has made"),
    ],
)
def test_other_networks_are_refused_in_one_line(compute: object, said: str) -> None:
    with pytest.raises(NotApplicable, match=said):
        record(Refused(compute), torch.zeros(1, 3, 8, 8))
