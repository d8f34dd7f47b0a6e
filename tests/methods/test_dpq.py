"""A table of embeddings trained as codes, together with the network that reads it."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from methods.dpq import DifferentiableProductQuantization
from methods.registry import make_method
from methods.training.strategy import Moment
from models.embeddings.sizes import stored_bits
from models.embeddings.table import CodedTable
from models.errors import BenchError, NotApplicable
from models.networks.word_bag import WordBag
from models.qat.network import layer_weights, weights_size_mb
from models.quantize.spec import QuantSpec

SPEC = QuantSpec(32, 32, first_bits=2)
LABELS = torch.arange(60) % 3
# Of each class words of its own.
IDS = 2 + 9 * LABELS[:, None] + torch.randint(0, 9, (60, 7), generator=torch.manual_seed(0))


@pytest.fixture
def network() -> WordBag:
    torch.manual_seed(0)
    return WordBag(vocabulary=30, width=8, classes=3).eval().requires_grad_(False)


def method(**values: Any) -> DifferentiableProductQuantization:
    made = make_method({"name": "dpq", "centroids": 4, **values})
    assert isinstance(made, DifferentiableProductQuantization)
    return made


def no_images(count: int) -> Tensor:
    raise AssertionError("none are needed")


def trained(network: nn.Module, how: DifferentiableProductQuantization) -> tuple[nn.Module, float]:
    generator = torch.Generator().manual_seed(0)
    made = how.trainable(network, SPEC, IDS[:4], generator)
    strategy = how.strategy(made, SPEC, network)
    optimizer = torch.optim.Adam(made.parameters(), lr=0.03)
    losses = []
    for step in range(40):
        optimizer.zero_grad()
        losses.append(float(strategy.step(IDS, LABELS, Moment(step, 40, generator))))
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]
    used = how.used_at(network, made.state_dict(), SPEC, IDS[:4], no_images)
    with torch.no_grad():
        assert torch.allclose(used(IDS), made.eval()(IDS), atol=1e-5)
        return used, float((used(IDS).argmax(1) == LABELS).float().mean())


@pytest.mark.parametrize("kind", ["sx", "vq"])
@pytest.mark.parametrize("variant", ["release", "paper"])
def test_what_is_trained_is_what_is_used(network: WordBag, kind: str, variant: str) -> None:
    used, right = trained(network, method(kind=kind, variant=variant))
    assert right > 0.9
    assert not any(isinstance(module, CodedTable) for module in used.modules())
    table = used.get_submodule("words").get_parameter("weight")
    assert all(len(part[1:].unique(dim=0)) <= 4 for part in table.split(4, dim=1))
    size = stored_bits(30, 8, 2, 4)
    weights = {weight.name: weight.bits for weight in layer_weights(used)}
    assert weights == {"words": size / 240, "classifier.0": 32}
    assert weights_size_mb(used) == pytest.approx((size + 32 * 24) / 2**23)


def test_shared_centroids_and_rows_that_were_there(network: WordBag) -> None:
    how = method(shared=True, init="pretrained")
    made = how.trainable(network, SPEC, IDS[:4], torch.Generator().manual_seed(0))
    coded = next(module for module in made.modules() if isinstance(module, CodedTable))
    assert torch.equal(coded.queries, network.words.weight) and coded.quantizer.keys.shape[0] == 1
    _, right = trained(network, how)
    assert right > 0.9


def test_bits_are_a_budget_without_centroids(network: WordBag) -> None:
    how, spec = method(centroids=None), QuantSpec(32, 32, first_bits=8)
    made = how.trainable(network, spec, IDS[:4], torch.Generator().manual_seed(0))
    coded = next(module for module in made.modules() if isinstance(module, CodedTable))
    assert coded.quantizer.centroids == 4  # 30 x 8 x 8 = 1,920 bits; 60 x 2 + 256 x 4, and not 8
    assert how.together(spec) == (8,) and method().together(spec) == ()


def test_what_has_no_meaning(network: WordBag) -> None:
    generator = torch.Generator()
    for values, spec, fault in (
        ({"columns": 3}, SPEC, "columns=3: parts of so many columns do not divide the 8"),
        ({"centroids": 32}, SPEC, "centroids=32: 30 pieces .* at most 30"),
        ({"centroids": None}, SPEC, "first_bits=2 does not pay for two centroids of each of 2"),
    ):
        with pytest.raises(NotApplicable, match=fault):
            method(**values).trainable(network, spec, IDS[:4], generator)
    with pytest.raises(NotApplicable, match="one table of embeddings, and this has 0"):
        method().trainable(nn.Linear(2, 2), SPEC, IDS[:4], generator)


@pytest.mark.parametrize("spec", [QuantSpec(32, 32), QuantSpec(4, 32), QuantSpec(8, 8)])
def test_other_cells_are_refused(spec: QuantSpec) -> None:
    with pytest.raises(BenchError, match=r"give quant=fp32 and quant\.first_bits"):
        method().check(spec)
    method().check(SPEC)


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"centroids": 12}, "give a power of two"),
        ({"columns": 0}, "columns=0; give 1 or more"),
        ({"commitment": -1.0}, "commitment=-1.0; give 0 or more"),
        ({"bits": (4,)}, "give quant.first_bits"),
        ({"qat": {"batchnorm": "shared"}}, "qat has no effect"),
        ({"kind": "kmeans"}, "method.kind"),
    ],
)
def test_parameters(values: dict[str, Any], fault: str) -> None:
    with pytest.raises(BenchError, match=fault):
        method(**values)
