"""Codebooks against those of the authors' release, and by hand."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.quantize.rounding.codebook import (
    Codebook,
    affordable_centroids,
    assign,
    cut,
    fill,
    joined,
    k_means,
    means,
    most_centroids,
    pooled,
    start,
    stored_bits,
)
from models.quantize.rounding.reconstruction import GramMatrix, patches_of

Golden = Callable[[str], dict[str, np.ndarray]]


class Case(NamedTuple):
    """A layer of the release's figures, the block size, and where its weight and input are."""

    prefix: str
    of: str
    size: int
    layer: nn.Module


CASES = [
    Case("conv", "conv", 9, nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False)),
    Case("conv18", "conv", 18, nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False)),
    Case("pw", "pw", 4, nn.Conv2d(32, 64, 1, stride=2, bias=False)),
    Case("fc", "fc", 4, nn.Linear(64, 10, bias=False)),
]


def rows_of(layer: nn.Module, x: Tensor) -> Tensor:
    """Return the rows of the input as the release has them: position by position."""
    patches = patches_of(layer, x)[0].T
    return patches.unflatten(0, (len(x), -1)).transpose(0, 1).flatten(0, 1)


def test_rows_are_the_releases(golden: Golden) -> None:
    recorded = golden("ktb_pq")
    layer = nn.Conv2d(3, 1, 3, stride=2, padding=1)
    rows = rows_of(layer, torch.from_numpy(recorded["unf_in"]))
    assert np.array_equal(rows, recorded["unf_out"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.prefix)
def test_steps_of_the_release(case: Case, golden: Golden) -> None:
    recorded = golden("ktb_pq")

    def get(name: str) -> Tensor:
        return torch.from_numpy(recorded[f"{case.prefix}_{name}"])

    weight, x = (torch.from_numpy(recorded[f"{case.of}_{name}"]).double() for name in ("W", "act"))
    rows = rows_of(case.layer.double(), x)
    vectors = cut(weight, case.size)
    assert torch.equal(joined(vectors, weight), weight)
    number = len(vectors)
    stacked = rows[get("row_idx_eval")].unflatten(1, (-1, case.size)).transpose(0, 1).flatten(0, 1)
    steps = zip(get("row_idx"), get("assignments"), get("centroids"), strict=True)
    before = get("centroids_init").double()
    for step, (drawn, assignments, centroids) in enumerate(steps):
        assignments = assignments.long()
        gram = rows[drawn].T @ rows[drawn]
        if step:  # before the first the release mends empty clusters by its own rule
            metric = pooled(gram[None], case.size)
            found = assign(vectors, before, metric)
            assert torch.equal(found, assignments)
            assert torch.equal(fill(vectors, Codebook(before, found), metric), found)
        found = means(vectors, assignments, before)
        torch.testing.assert_close(found, centroids.double(), rtol=0, atol=1e-6)
        error = stacked[:128] @ (found[assignments] - vectors).T
        objective = error.norm() / (128 * number) ** 0.5
        assert objective.item() == pytest.approx(get("objective")[step].item(), rel=1e-6)
        before = centroids.double()
    decoded = joined(before[assignments], weight)
    torch.testing.assert_close(decoded, get("W_q").double(), rtol=0, atol=1e-6)


def test_one_step_of_each_kind_alone(golden: Golden) -> None:
    recorded = {k: torch.from_numpy(v) for k, v in golden("ktb_pq").items() if k.startswith("iso")}
    vectors, centroids = recorded["iso_M"].T, recorded["iso_C"]
    metric = recorded["iso_A"].T @ recorded["iso_A"]
    found = assign(vectors, centroids, metric)
    assert torch.equal(found, recorded["iso_assign"])
    torch.testing.assert_close(
        means(vectors, found, centroids), recorded["iso_Cnew"], rtol=0, atol=1e-5
    )


def test_numbers_of_centroids_are_the_releases(golden: Golden) -> None:
    for out, into, kernel, size, asked, wanted in golden("ktb_pq")["ncent_table"].tolist():
        vectors = out * into * max(1, kernel**2) // size
        assert min(asked, most_centroids(vectors)) == wanted
    assert [most_centroids(n) for n in (1, 4, 5, 8, 9, 17)] == [0, 0, 1, 1, 2, 4]


def test_what_is_stored_and_what_bits_pay_for() -> None:
    assert stored_bits(100, 4, 8) == 100 * 3 + 8 * 4 * 16
    # 4,096 blocks of 9: 256 take 8/9 + 1 bits a weight, 512 would take 1 + 2.
    assert affordable_centroids(4096, 9, 2) == 256
    assert affordable_centroids(4096, 9, 3) == 512  # 3 bits to the last
    assert affordable_centroids(4096, 9, 16) == most_centroids(4096) == 512
    assert affordable_centroids(16, 9, 2) == 0  # two take 1/9 + 2
    assert affordable_centroids(4, 4, 16) == 0


def test_pooled_metric_is_that_of_stacked_rows() -> None:
    layer = nn.Conv2d(4, 6, 3, groups=2)
    x = torch.randn(3, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    matrix = GramMatrix(layer)
    matrix.add(x)
    gram = matrix.problem().gram
    stacked = patches_of(layer, x).transpose(1, 2).unflatten(2, (-1, 9)).flatten(0, 2)
    patches = 3 * 3 * 3
    torch.testing.assert_close(pooled(gram, 9), stacked.T @ stacked / patches)
    assert torch.equal(pooled(torch.zeros(2, 18, 18), 9), torch.eye(9))


def test_an_empty_centroid_gets_the_farthest_that_is_not_alone() -> None:
    vectors = torch.tensor([[0.0], [1.0], [2.0], [9.0], [3.0]])
    centroids = torch.tensor([[1.0], [100.0], [5.0], [-100.0]])
    nearest = torch.tensor([0, 0, 0, 2, 0])
    # 9 is alone with its centroid 5; of 0, 1, 2 and 3 the last is farthest from 1, then the first.
    found = fill(vectors, Codebook(centroids, nearest), torch.eye(1))
    assert found.tolist() == [3, 0, 0, 2, 1]
    alike = torch.ones(5, 1)
    found = fill(alike, Codebook(alike[:3], torch.zeros(5, dtype=torch.int64)), torch.eye(1))
    assert found.tolist() == [0, 0, 0, 0, 0]


def test_k_means_never_makes_the_error_larger_and_uses_all_centroids() -> None:
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(300, 4, generator=generator, dtype=torch.float64)
    rows = torch.randn(50, 4, generator=generator, dtype=torch.float64)
    rows[:, 3] = 0  # a singular metric
    metric = rows.T @ rows
    first = start(vectors, 32, generator)
    assert len(first.unique(dim=0)) == 32
    errors = []
    for epochs in range(1, 12):
        made = k_means(vectors, first, metric, epochs)
        away = vectors - made.centroids[made.assignments]
        errors.append((away @ metric * away).sum().item())
        assert len(made.assignments.unique()) == 32
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.8 * errors[0]
    duplicates = k_means(vectors, first[[0] * 32], metric, 3)  # as the release may begin
    assert len(duplicates.assignments.unique()) == 32
    assert len(start(torch.ones(20, 3), 8, generator)) == 1
