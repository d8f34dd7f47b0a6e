"""Networks that compute the same in another form, and what their passes show."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, dropout
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

from models.canonical import behaviour, canonical, canonical_copy, logits_of
from models.errors import BenchError
from tests.models.frozen import frozen_network


def small() -> nn.Sequential:
    """(N, 3, 8, 8) to (N, 5)."""
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)
    return nn.Sequential(*layers).eval()


class Around(nn.Module):
    """The small network, and what a function makes of its input or output."""

    def __init__(
        self,
        before: Callable[[Tensor], Tensor] = lambda x: x,
        after: Callable[[Tensor], Any] = lambda y: y,
    ) -> None:
        super().__init__()
        self.net, self.before, self.after = small(), before, after

    def forward(self, x: Tensor) -> Any:
        return self.after(self.net(self.before(x)))


@pytest.fixture
def images() -> Tensor:
    return torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def _without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


COMPUTED: dict[str, Callable[[nn.Module], Any]] = {
    "pruned": lambda layer: prune.l1_unstructured(layer, "weight", 0.3),
    "pruned twice": lambda layer: prune.random_unstructured(
        prune.l1_unstructured(layer, "weight", 0.3), "weight", 0.2
    ),
    "weight norm": parametrizations.weight_norm,
    "spectral norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "old weight norm": weight_norm,
    "old spectral norm": spectral_norm,
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated:FutureWarning")
@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("kind", COMPUTED)
def test_weights_computed_at_each_pass_become_parameters(
    images: Tensor, kind: str, frozen: bool
) -> None:
    network = small().requires_grad_(not frozen)
    with torch.enable_grad():
        for layer in (network[0], network[4]):
            COMPUTED[kind](layer)
        network.train()(images)
        network.eval()
        expected = network(images).detach()
    made = canonical_copy(network, images[:1])
    assert made is not network
    assert made.state_dict().keys() == small().state_dict().keys()
    assert all(isinstance(made[i].weight, nn.Parameter) for i in (0, 4))
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in made.modules())
    assert torch.allclose(made(images), expected, atol=1e-6)
    if "pruned" in kind:
        assert float((made[0].weight == 0).float().mean()) > 0.29


def test_weights_that_are_buffers_become_parameters(images: Tensor) -> None:
    network = small()
    for name in ("weight", "bias"):
        value = getattr(network[0], name).detach()
        delattr(network[0], name)
        network[0].register_buffer(name, value)
    made = canonical(network, images[:1])
    assert {"0.weight", "0.bias"} < dict(made.named_parameters()).keys()
    assert torch.equal(made(images), small()(images))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(images: Tensor, dtype: torch.dtype) -> None:
    made = canonical(small().to(dtype), images[:1])
    assert {t.dtype for t in made.state_dict().values()} == {torch.float32, torch.int64}
    assert torch.equal(made(images), small().to(dtype).float()(images))


class Compiled(nn.Module):
    """As torch.compile wraps a network."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._orig_mod = network

    def forward(self, x: Tensor) -> Tensor:
        raise AssertionError("it is not to be called")


@pytest.mark.parametrize(
    "wrap", [Compiled, nn.DataParallel, lambda n: nn.DataParallel(Compiled(n))]
)
def test_what_wraps_a_network_is_taken_off(
    images: Tensor, wrap: Callable[[nn.Module], nn.Module]
) -> None:
    network = small()
    assert canonical(wrap(network), images[:1]) is network
    outer = Around()
    outer.net = wrap(network)  # type: ignore[assignment]
    assert canonical(outer, images[:1]) is outer
    assert outer.net is network


def test_a_synchronised_batchnorm_is_a_batchnorm(images: Tensor) -> None:
    network = small()
    network[4] = nn.Sequential(nn.Linear(144, 5), nn.BatchNorm1d(5))
    expected = network.eval()(images)
    made = canonical(nn.SyncBatchNorm.convert_sync_batchnorm(network), images[:1])
    assert [type(m) for m in made.modules() if "Norm" in type(m).__name__] == [
        nn.BatchNorm2d,
        nn.BatchNorm1d,
    ]
    assert torch.equal(made(images), expected)


class AlwaysTraining(Around):
    def train(self, mode: bool = True) -> "AlwaysTraining":
        super().train(True)
        return self


def test_eval_mode_holds_for_every_module(images: Tensor) -> None:
    network = AlwaysTraining(nn.Dropout(0.5).forward)
    network.drop = nn.Dropout(0.5)
    network.before = network.drop
    assert network.eval().drop.training
    made = canonical(network, images[:1])
    assert not any(module.training for module in made.modules())
    assert torch.equal(made(images), small()(images))


def test_a_network_that_changes_its_input_gets_a_copy(images: Tensor) -> None:
    expected, given = Around(lambda x: x * 0.9)(images), images.clone()
    made = canonical(Around(lambda x: x.mul_(0.9)), images[:1])
    for _ in range(2):
        assert torch.equal(made(given), expected)
    assert torch.equal(given, images)
    # Nothing is negative here, and nothing changes; elsewhere it would.
    made = canonical(Around(torch.relu_), images[:1].abs())
    assert torch.equal(made(given), small()(images.relu()))
    assert torch.equal(given, images)
    assert torch.equal(copy.deepcopy(made)(given), made(given))


def test_an_input_may_be_optimised_all_the_same(images: Tensor) -> None:
    made = canonical(Around(lambda x: x.mul_(0.9)), images[:1])
    with torch.enable_grad():
        start = images.clone().requires_grad_()
        made(start).sum().backward()
    assert start.grad is not None and bool(start.grad.any())


def test_a_plain_network_is_left_without_hooks(images: Tensor) -> None:
    made = canonical(network := small(), images[:1])
    assert made is network
    assert not (made._forward_hooks or made._forward_pre_hooks)


class Output(dict[str, Any]):
    """As other libraries return it."""

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        self.__dict__.update(values)


OUTPUTS: dict[str, Callable[[Tensor], Any]] = {
    "(N, C, 1, 1)": lambda y: y[:, :, None, None],
    "(N, 1, C)": lambda y: y[:, None],
    "squeezed": lambda y: y.squeeze(),
    "tuple of one": lambda y: (y,),
    "tuple with None": lambda y: [y[:, :, None], None],
    "mapping of one": lambda y: {"out": y},
    "mapping with logits": lambda y: {"features": y[:, :2], "logits": y},
    "object with logits": lambda y: Output(logits=y, loss=y.mean()),
}


@pytest.mark.parametrize("kind", OUTPUTS)
def test_logits_are_found_where_there_is_one_way(images: Tensor, kind: str) -> None:
    made = canonical(Around(after=OUTPUTS[kind]), images[:1])
    for count in (1, 3):
        assert torch.equal(made(images[:count]), small()(images[:count]))


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (lambda y: (y, y), "a tuple of a tensor (2, 5), a tensor (2, 5)"),
        (lambda y: {"a": y, "b": y}, "a dict of a: a tensor (2, 5), b: a tensor (2, 5)"),
        (lambda y: y[:, :, None, None].expand(-1, -1, 2, 2), "a tensor (2, 5, 2, 2)"),
        (lambda y: y.sum(), "a tensor ()"),
        (lambda y: y.argmax(1), "a tensor (2,)"),
        (lambda y: "logits", "a str"),
        (lambda y: None, "a NoneType"),
    ],
)
def test_what_may_not_be_logits_is_refused(
    images: Tensor, after: Callable[[Tensor], Any], said: str
) -> None:
    network = canonical(Around(after=after), images[:1])
    with pytest.raises(BenchError) as error:
        behaviour(network, images[:2])
    assert str(error.value) == (
        f"the network returns {said} for 2 images, and logits of shape (N, classes) are wanted; "
        "name a function whose network returns these alone"
    )


def test_one_number_an_image_is_no_logits() -> None:
    with pytest.raises(BenchError, match=r"returns a tensor \(3,\) for 3 images, and logits"):
        logits_of(torch.zeros(3), 3)


def test_a_plain_network_depends_on_nothing_else(images: Tensor) -> None:
    shown = behaviour(small(), images[:2])
    assert shown._asdict() == {
        **{"outputs": 5, "chance": False, "batch": False},
        **{"changed": [], "unfixed": []},
    }


def test_dropout_that_does_not_stop_is_found_and_draws_nothing(images: Tensor) -> None:
    network = Around(lambda x: dropout(x, 0.5)).eval()
    before = torch.get_rng_state()
    shown = behaviour(network, images[:2])
    assert (shown.chance, shown.batch, shown.changed) == (True, False, [])
    assert torch.equal(torch.get_rng_state(), before)


def test_statistics_of_the_batch_are_found(images: Tensor) -> None:
    network = Around()
    network.net[1] = nn.BatchNorm2d(4, track_running_stats=False)
    shown = behaviour(network.eval(), images[:2])
    assert (shown.chance, shown.batch, shown.unfixed) == (False, True, ["net.1"])
    centred = Around(lambda x: x - x.mean(0)).eval()
    assert behaviour(centred, images[:2])[1:] == (False, True, [], [])


def test_a_network_that_changes_itself_is_found_and_put_back(images: Tensor) -> None:
    network = Around()
    norm = network.net[1]
    network.after = lambda y: (
        y
        + batch_norm(
            y[:, :4, None].repeat(1, 1, 2), norm.running_mean, norm.running_var, training=True
        ).mean()
    )
    before = {k: v.clone() for k, v in network.state_dict().items()}
    shown = behaviour(canonical(network, images[:1]), images[:2])
    assert shown.changed == ["net.1.running_mean", "net.1.running_var"]
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


@pytest.mark.parametrize("eps", [0.0, 1e-5, 0.1])
def test_a_frozen_batchnorm_is_a_batchnorm(images: Tensor, eps: float) -> None:
    network = frozen_network(eps)
    before, names = network(images), {*network.state_dict()}
    network[1].register_forward_hook(lambda module, args, output: output + 0)
    changed = canonical_copy(network, images[:1])
    assert torch.allclose(changed(images), before, rtol=1e-5, atol=1e-5)
    assert type(network[1]).__name__ == "FrozenBatchNorm2d", "the copy alone is changed"
    for place in (1, 4):
        norm = changed[place]
        assert type(norm) is nn.BatchNorm2d and not norm.training and norm.eps == eps
        assert isinstance(norm.weight, nn.Parameter) and not norm.weight.requires_grad
        assert torch.equal(norm.running_var, network[place].running_var)
    assert len(changed[1]._forward_hooks) == 1
    assert {*changed.state_dict()} == names | {f"{n}.num_batches_tracked" for n in (1, 4)}
    # Once more changes nothing.
    assert torch.equal(canonical(changed, images[:1])(images), changed(images))
