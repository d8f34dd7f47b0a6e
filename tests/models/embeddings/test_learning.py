"""Tables that are learned as codes."""

import torch
from torch import Tensor

from models.embeddings.learning import Learning, learn
from models.embeddings.product import Kind, ProductQuantizer, cut
from models.embeddings.start import k_means, nearest


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def quantizer(table: Tensor, kind: Kind, count: int, *, batchnorm: bool) -> ProductQuantizer:
    keys = k_means(cut(table, 4), count, seeded())
    values = keys if kind == "sx" else None
    return ProductQuantizer(kind, 4, keys, values, batchnorm=batchnorm)


TABLE = torch.randn(60, 8, generator=seeded())


def test_a_table_of_few_kinds_of_pieces_stays_as_it_is() -> None:
    kinds = 3 * torch.randn(4, 4, 2, generator=seeded(1))
    which = torch.randint(4, (60, 4), generator=seeded(2))
    table = kinds[torch.arange(4), which].flatten(1)
    made = ProductQuantizer("vq", 4, kinds, batchnorm=False)
    learned = learn(table, made, Learning(5, 1e-3, 16), seeded())
    torch.testing.assert_close(learned, table, rtol=0, atol=0.05)
    assert not made.training


def test_every_part_of_a_row_is_a_centroid_of_its_part() -> None:
    for kind, batchnorm in (("sx", True), ("sx", False), ("vq", True), ("vq", False)):
        made = quantizer(TABLE, kind, 8, batchnorm=batchnorm)  # type: ignore[arg-type]
        learned = cut(learn(TABLE, made, Learning(20, 1e-2, 16), seeded()), 4)
        values = made.keys if made.values is None else made.values
        for part in range(4):
            away = learned[:, part, None] - values[part].detach()
            assert away.abs().sum(2).min(1).values.max() == 0


def test_with_a_metric_its_error_falls() -> None:
    # The inputs are of two dimensions: all that a row gives is in them.
    inputs = torch.randn(200, 2, generator=seeded(3)) @ torch.randn(2, 8, generator=seeded(4))
    metric = inputs.T @ inputs / len(inputs)

    def error(table: Tensor) -> float:
        return (inputs @ (table - TABLE).T).square().mean().item()

    start = k_means(cut(TABLE, 4), 4, seeded())
    codes = nearest(cut(TABLE, 4), start)
    nearest_table = start[torch.arange(4), codes].flatten(1)
    # What VQ hands on is not the gradient of what it gives, so that it gains less.
    for kind, share in (("sx", 0.7), ("vq", 0.95)):
        made = quantizer(TABLE, kind, 4, batchnorm=False)  # type: ignore[arg-type]
        learned = learn(TABLE, made, Learning(300, 1e-2, 60), seeded(), metric)
        assert error(learned) < share * error(nearest_table)


def test_it_is_the_same_each_time() -> None:
    learned = [
        learn(TABLE, quantizer(TABLE, "sx", 4, batchnorm=True), Learning(10, 1e-2, 16), seeded(5))
        for _ in range(2)
    ]
    assert torch.equal(*learned)
