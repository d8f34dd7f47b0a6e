"""One step of training has the gradients of the authors' releases (tests/golden/README.md)."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from methods.adabits import AdaBits
from methods.any_precision import AnyPrecision
from methods.training.base import TrainedMethod
from methods.training.strategy import Moment, soft_cross_entropy
from models.qat.conversion import make_quantizable
from models.qat.layers import quantized_weights
from models.qat.network import quantized_layers
from models.qat.spec import QatSpec

Golden = Callable[[str], dict[str, np.ndarray]]
BITS = (8, 4, 2)
ADABITS = QatSpec(weight_quantizer="dorefa", clip_start="release", first_bits=32, last_bits=None)
ANY_PRECISION = QatSpec(
    weight_quantizer="dorefa",
    activation_quantizer="dorefa",
    scheme="original",
    rescale="mean",
    first_bits=32,
    last_bits=32,
)


class Recorded(nn.Module):
    """The network that the steps were recorded with."""

    def __init__(self) -> None:
        super().__init__()
        self.c1, self.b1 = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.c2, self.b2 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.c3, self.b3 = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        for conv, norm in ((self.c1, self.b1), (self.c2, self.b2), (self.c3, self.b3)):
            x = norm(conv(x)).relu()
        logits: Tensor = self.fc(x.mean(dim=(2, 3)))
        return logits


def step(method: TrainedMethod, arrays: dict[str, np.ndarray]) -> tuple[float, nn.Module]:
    """Return the loss of one step, and the network with its gradients."""
    network = Recorded().eval()
    prefix = "init."
    state = {k.removeprefix(prefix): torch.from_numpy(v) for k, v in arrays.items() if prefix in k}
    network.load_state_dict(state)
    images, targets = torch.from_numpy(arrays["images"]), torch.from_numpy(arrays["targets"])
    made = make_quantizable(network, BITS, method.qat, images).train()
    strategy = method.strategy_class(made, BITS, 0.0)
    with quantized_weights(made):
        loss = strategy.step(images, targets, Moment(0, 1, torch.Generator()))
    return loss.item(), made


def close(ours: Tensor, theirs: np.ndarray) -> bool:
    return float(np.abs(ours.detach().numpy() - theirs).max()) <= 2e-5 * np.abs(theirs).max()


@pytest.mark.parametrize(
    ("key", "method"),
    [
        ("adabits", AdaBits(bits=BITS, qat=ADABITS)),
        ("anyprec", AnyPrecision(bits=BITS, qat=ANY_PRECISION)),
    ],
)
def test_gradients_and_statistics(key: str, method: TrainedMethod, golden: Golden) -> None:
    arrays = golden("training_step")
    loss, made = step(method, arrays)
    losses = [arrays[f"adabits_loss_{bits}"] for bits in BITS]
    losses = list(arrays["anyprec_losses_8_4_2"]) if key == "anyprec" else losses
    assert loss == pytest.approx(sum(map(float, losses)) / 3, rel=1e-6)
    for name in ("c1", "c2", "c3", "fc"):
        gradient = made.get_parameter(f"{name}.weight").grad
        assert gradient is not None and close(gradient, arrays[f"{key}_grad_{name}"]), name
    for norm in ("b1", "b2", "b3"):
        for bits in BITS:
            for statistic in ("running_mean", "running_var"):
                ours = made.get_buffer(f"{norm}.of_bits.{bits}.{statistic}")
                assert close(ours, arrays[f"{key}_{norm}_{bits}_{statistic}"])
    for name, layer in quantized_layers(made).items() if key == "adabits" else ():
        if layer.input_quantizer is not None:
            alphas = [layer.input_quantizer.get_parameter(f"alpha.{bits}").grad for bits in BITS]
            theirs = arrays[f"adabits_gradalpha_{name}"]
            assert close(torch.stack([a for a in alphas if a is not None]), theirs), name


def test_soft_cross_entropy(golden: Golden) -> None:
    arrays = golden("any_precision")
    logits = torch.from_numpy(arrays["loss_logits"]).requires_grad_()
    loss = soft_cross_entropy(logits, torch.from_numpy(arrays["loss_teacher"]))
    loss.backward()
    assert loss.item() == pytest.approx(float(arrays["loss"]), rel=1e-7)
    assert logits.grad is not None and close(logits.grad, arrays["loss_grad"])
