"""The layer of differentiable product quantization, by the recorded figures and by hand."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from models.embeddings.product import Kind, ProductQuantizer, cut
from models.errors import BenchError

Golden = Callable[[str], dict[str, np.ndarray]]
Recorded = dict[str, Tensor]

KINDS: dict[str, Kind] = {"smx": "sx", "vq": "vq"}
PARTS = 3


@pytest.fixture
def recorded(golden: Golden) -> Recorded:
    return {name: torch.from_numpy(array) for name, array in golden("dpq").items()}


def layer(
    recorded: Recorded, centroids: str, kind: str, *, batchnorm: bool = True, beta: float = 0.0
) -> ProductQuantizer:
    made = ProductQuantizer(
        KINDS[kind],
        PARTS,
        recorded[f"{centroids}_centroids_k"],
        recorded[f"{centroids}_centroids_v"] if kind == "smx" else None,
        batchnorm=batchnorm,
        commitment=beta,
    )
    made.mean.copy_(recorded["moving_mean"])
    made.variance.copy_(recorded["moving_var"])
    return made


def near(found: Tensor | None, wanted: Tensor) -> None:
    assert found is not None
    torch.testing.assert_close(found.detach(), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("kind", ["smx", "vq"])
@pytest.mark.parametrize("centroids", ["sep", "shared"])
def test_it_is_the_releases(centroids: str, kind: str, mode: str, recorded: Recorded) -> None:
    quantizer = layer(recorded, centroids, kind).train(mode == "train")
    queries = recorded["inputs"].clone().requires_grad_()
    name = f"{centroids}_{kind}_{mode}_"
    near(quantizer.raw_response(queries), recorded[f"{name}raw"])
    made = quantizer(queries)
    near(made.response, recorded[f"{name}response"])
    near(made.outputs, recorded[f"{name}out"])
    assert torch.equal(made.codes, recorded[f"{name}codes"])
    torch.testing.assert_close(quantizer.decoded(made.codes), made.outputs, rtol=0, atol=1e-6)
    loss = (made.outputs * recorded[f"upstream_{kind}"]).sum() + made.penalty
    loss.backward()
    near(queries.grad, recorded[f"{name}g_inputs"])
    if kind == "smx":
        near(quantizer.keys.grad, recorded[f"{name}g_centroids_k"])
        assert quantizer.values is not None
        near(quantizer.values.grad, recorded[f"{name}g_centroids_v"])
    elif mode == "train":
        near(quantizer.keys.grad, recorded[f"{name}g_centroids_k"])
    else:  # no gradient is the gradient 0
        assert quantizer.keys.grad is None and not recorded[f"{name}g_centroids_k"].any()
    if mode == "train":
        near(made.penalty, recorded[f"{name}reg"])
        near(quantizer.mean, recorded[f"{name}new_moving_mean"])
        near(quantizer.variance, recorded[f"{name}new_moving_var"])
    else:
        assert made.penalty == 0
        assert torch.equal(quantizer.mean, recorded["moving_mean"])


@pytest.mark.parametrize("kind", ["smx", "vq"])
@pytest.mark.parametrize("centroids", ["sep", "shared"])
def test_the_commitment_is_the_releases(centroids: str, kind: str, recorded: Recorded) -> None:
    quantizer = layer(recorded, centroids, kind, beta=0.25).train()
    queries = recorded["inputs"].clone().requires_grad_()
    made = quantizer(queries)
    name = f"{centroids}_{kind}_train_beta0.25_"
    near(made.penalty, recorded[f"{name}reg"])
    ((made.outputs * recorded[f"upstream_{kind}"]).sum() + made.penalty).backward()
    near(queries.grad, recorded[f"{name}g_inputs"])
    near(quantizer.keys.grad, recorded[f"{name}g_centroids_k"])
    if kind == "smx":
        assert quantizer.values is not None
        near(quantizer.values.grad, recorded[f"{name}g_centroids_v"])


@pytest.mark.parametrize("kind", ["smx", "vq"])
@pytest.mark.parametrize("centroids", ["sep", "shared"])
def test_batchnorm_chooses_other_codes(centroids: str, kind: str, recorded: Recorded) -> None:
    plain = layer(recorded, centroids, kind, batchnorm=False).train()
    codes = plain(recorded["inputs"]).codes
    assert torch.equal(codes, recorded[f"{centroids}_{kind}_codes_without_bn"])
    other = (codes != recorded[f"{centroids}_{kind}_train_codes"]).sum()
    assert 8 <= other <= 15  # of 36, as recorded
    assert not plain.mean.equal(torch.zeros(5))  # as it was set, and not followed
    assert torch.equal(plain.mean, recorded["moving_mean"])


def test_vq_takes_the_nearest_key_and_batchnorm_may_not() -> None:
    # One part of one number; keys at 0 and 1, queries at 0, 0.2, 0.4.
    keys = torch.tensor([[[0.0], [1.0]]])
    queries = torch.tensor([0.0, 0.2, 0.4]).view(3, 1, 1)
    made = ProductQuantizer("vq", 1, keys, batchnorm=False).eval()(queries)
    torch.testing.assert_close(
        made.response[:, 0], torch.tensor([[0.0, -1.0], [-0.04, -0.64], [-0.16, -0.36]])
    )
    assert made.codes.flatten().tolist() == [0, 0, 0]
    assert made.outputs.flatten().tolist() == [0, 0, 0]
    # Each key is now near to some: the nearer half of what it is compared with.
    made = ProductQuantizer("vq", 1, keys, batchnorm=True).train()(queries)
    assert made.codes.flatten().tolist() == [0, 0, 1]


def test_vq_hands_the_gradient_on_and_draws_keys_to_queries() -> None:
    keys = torch.tensor([[[0.0, 0.0], [4.0, 4.0]]])
    quantizer = ProductQuantizer("vq", 1, keys, batchnorm=False, commitment=0.5).train()
    queries = torch.tensor([[[1.0, 0.0]], [[4.0, 6.0]]], requires_grad=True)
    made = quantizer(queries)
    assert made.codes.tolist() == [[0], [1]]
    assert made.penalty.item() == pytest.approx(1.5 * (1 + 4) / 4)
    (10 * made.outputs[0].sum() + made.penalty).backward()
    assert queries.grad is not None and quantizer.keys.grad is not None
    # 10 handed on to the first, and 0.5 x 2 (query - key) / 4 to both.
    assert queries.grad.tolist() == [[[10.25, 10.0]], [[0.0, 0.5]]]
    assert quantizer.keys.grad.tolist() == [[[-0.5, 0.0], [0.0, -1.0]]]


def test_sx_has_the_gradient_of_its_softmax() -> None:
    keys, values = torch.tensor([[[1.0], [0.0]]]), torch.tensor([[[3.0], [7.0]]])
    quantizer = ProductQuantizer("sx", 1, keys, values, batchnorm=False).train()
    queries = torch.tensor([[[0.5]]], requires_grad=True)
    made = quantizer(queries)
    assert made.codes.item() == 0
    assert made.outputs.item() == pytest.approx(3)
    made.outputs.sum().backward()
    p = 1 / (1 + np.exp(-0.5))
    assert queries.grad is not None
    assert queries.grad.item() == pytest.approx((3 - 7) * p * (1 - p))
    assert quantizer.values is not None and quantizer.values.grad is not None
    assert quantizer.values.grad.flatten().tolist() == [1, 0]  # of the value that is taken


def test_in_eval_mode_a_row_is_what_it_is_whoever_is_beside_it() -> None:
    generator = torch.Generator().manual_seed(0)
    keys = torch.randn(4, 8, 3, generator=generator)
    queries = torch.randn(20, 4, 3, generator=generator)
    quantizer = ProductQuantizer("vq", 4, keys)
    for _ in range(50):
        quantizer(queries)
    quantizer.eval()
    whole = quantizer(queries)
    assert whole.codes.min() >= 0 and whole.codes.max() < 8
    for row in (0, 13):
        alone = quantizer(queries[row : row + 1])
        assert torch.equal(alone.codes[0], whole.codes[row])


def test_a_table_is_cut_into_neighbouring_numbers() -> None:
    table = torch.arange(12.0).view(2, 6)
    assert cut(table, 3).tolist() == [[[0, 1], [2, 3], [4, 5]], [[6, 7], [8, 9], [10, 11]]]
    with pytest.raises(BenchError, match="4 parts do not divide the 6 columns"):
        cut(table, 4)


def test_what_does_not_fit_is_said() -> None:
    keys = torch.zeros(3, 5, 2)
    with pytest.raises(BenchError, match=r"kind='dot'.*give 'sx' or 'vq'"):
        ProductQuantizer("dot", 3, keys)  # type: ignore[arg-type]
    with pytest.raises(BenchError, match="'sx' needs values"):
        ProductQuantizer("sx", 3, keys)
    with pytest.raises(BenchError, match="'vq' has keys that are its values"):
        ProductQuantizer("vq", 3, keys, keys)
    with pytest.raises(BenchError, match=r"keys of shape \(3, 5, 2\) do not fit 4 parts"):
        ProductQuantizer("vq", 4, keys)
    with pytest.raises(BenchError, match=r"values of shape \(3, 4, 2\) do not fit keys"):
        ProductQuantizer("sx", 3, keys, torch.zeros(3, 4, 2))
