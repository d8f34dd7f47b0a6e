"""The affine grid with a running range: figures of the GDFQ release, and what differs by design."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.errors import BenchError, NotApplicable
from models.qat.affine import AffineActivation, AffineWeight
from models.qat.conversion import make_quantizable
from models.qat.layers import QuantizedOutput
from models.qat.network import freeze_statistics, input_quantizers, quantized_layers
from models.qat.spec import QatSpec
from models.qat.surrogate import Surrogate

Golden = Callable[[str], dict[str, np.ndarray]]
ZEROQ = QatSpec(
    weight_quantizer="affine",
    activation_quantizer="affine_ema",
    granularity="channel",
    first_bits=None,
    last_bits=None,
    batchnorm="shared",
    sites="relu",
    range_average="fed_back",
)


def activation(bits: int = 4, fed_back: bool = True) -> AffineActivation:
    return AffineActivation((bits,), Surrogate(), torch.tensor([0.0, 1.0]), fed_back)


def range_of(quantizer: AffineActivation, bits: int = 4) -> Tensor:
    return torch.as_tensor(quantizer.running[str(bits)].range).clone()


def test_ranges_and_values_are_those_of_the_release(golden: Golden) -> None:
    arrays, quantizer = golden("gdfq"), activation()
    outputs, ranges = [], []
    for x in torch.from_numpy(arrays["ema_x"]):
        outputs.append(quantizer(x, 4))
        ranges.append(range_of(quantizer))
    assert torch.allclose(torch.stack(ranges), torch.from_numpy(arrays["ema_range"]), rtol=1e-5)
    for step, theirs in zip((0, 1, 5), arrays["ema_out_steps_0_1_5"], strict=True):
        assert torch.allclose(outputs[step], torch.from_numpy(theirs), rtol=1e-5, atol=1e-5)


def test_what_is_fed_back_runs_away_and_what_is_corrected_does_not(golden: Golden) -> None:
    theirs = golden("gdfq")["ema_constant_one"]
    released, corrected = activation(fed_back=True), activation(fed_back=False)
    for step in range(60):
        for quantizer in (released, corrected):
            quantizer(torch.ones(2, 3), 4)
        assert float(range_of(released)[1]) == pytest.approx(theirs[step], rel=1e-4)
        assert range_of(corrected).tolist() == pytest.approx([1.0, 1.0])


def test_a_corrected_range_is_the_weighted_mean_of_the_batches() -> None:
    quantizer = activation(fed_back=False)
    for high in (1.0, 3.0):
        quantizer(torch.tensor([0.0, high]), 4)
    assert range_of(quantizer).tolist() == pytest.approx([0, (0.09 + 0.3) / 0.19])
    quantizer.eval()
    quantizer(torch.tensor([0.0, 99.0]), 4)
    assert range_of(quantizer)[1] == pytest.approx((0.09 + 0.3) / 0.19)


def test_the_gradient_passes_also_where_values_are_clipped() -> None:
    x = torch.tensor([-1.0, 0.5, 7.0], requires_grad=True)
    quantizer = activation().eval()
    assert quantizer(x, 4).tolist() == pytest.approx([0.0, 8 / 15, 1.0])
    (quantizer(x, 4) * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [1.0, 2.0, 3.0]


def test_a_weight_has_its_grid_by_channel_and_a_constant_channel_is_finite() -> None:
    weight = torch.tensor([[0.0, 1.0, 3.0], [2.0, 2.0, 2.0]])
    quantized = AffineWeight((2,), Surrogate(), "channel")(weight, 2)
    assert quantized.tolist() == [[0.0, 1.0, 3.0], [2.0, 2.0, 2.0]]
    whole = AffineWeight((1,), Surrogate(), "tensor")(weight, 1)
    assert whole.tolist() == [[0.0, 0.0, 3.0], [3.0, 3.0, 3.0]]


@pytest.mark.parametrize(("bits", "alike", "most"), [(4, 5, 0.3), (8, 0, 0.06)])
def test_a_network_has_the_logits_of_the_releases_student(
    golden: Golden, golden_network: nn.Module, bits: int, alike: int, most: float
) -> None:
    arrays = golden("gdfq")
    images = torch.from_numpy(arrays["x"])
    student = freeze_statistics(make_quantizable(golden_network, (bits,), ZEROQ, images))
    logits = student(images).detach()
    theirs = arrays[f"student_logits_first_call_w{bits}a{bits}"]
    apart = (logits - torch.from_numpy(theirs)).abs().amax(1)
    # Where a value lies between two levels, the order of a sum decides: at 4 bits in two images of
    # eight, and at 8 bits, where there are many levels, in all, by little.
    assert int((apart < 1e-3).sum()) >= alike and float(apart.max()) < most
    outputs = [m for m in student.modules() if isinstance(m, QuantizedOutput)]
    assert len(outputs) == 19 and len(quantized_layers(student)) == 22
    found = sorted(range_of(m.quantizer, bits).tolist() for m in outputs)  # type: ignore[arg-type]
    wanted = sorted(arrays[f"student_ranges_w{bits}a{bits}"].tolist())
    assert np.allclose(found, wanted, rtol=0, atol=0.1)
    assert set(input_quantizers(student).values()) == {bits}
    assert len(input_quantizers(student)) == 19


def test_activations_may_have_bits_of_their_own(golden_network: nn.Module) -> None:
    images = torch.randn(2, 3, 32, 32)
    for sites in ("relu", "inputs"):
        spec = QatSpec(sites=sites, input_bits=8, first_bits=None, last_bits=None)
        student = make_quantizable(golden_network, (4,), spec, images)
        assert {*input_quantizers(student).values()} == {8}
        student(images)


def test_what_cannot_be() -> None:
    with pytest.raises(BenchError, match=r"qat.weight_surrogate=ewgs has no meaning with"):
        QatSpec(weight_quantizer="affine", weight_surrogate="ewgs")
    with pytest.raises(BenchError, match=r"qat.quantize_images has no meaning with qat.sites=relu"):
        QatSpec(sites="relu", quantize_images=True)
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten())
    with pytest.raises(NotApplicable, match="no ReLU module"):
        make_quantizable(plain, (4,), ZEROQ, torch.randn(2, 3, 8, 8))
