"""k-means of each part of a table."""

import torch

from models.embeddings.start import k_means, nearest


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_nearest_of_each_part_by_hand() -> None:
    # Two parts of one number; centroids 0 and 4 of the first, 1 and 9 of the second.
    centroids = torch.tensor([[[0.0], [4.0]], [[1.0], [9.0]]])
    pieces = torch.tensor([[[1.0], [1.0]], [[3.0], [6.0]], [[-5.0], [4.0]]])
    assert nearest(pieces, centroids).tolist() == [[0, 0], [1, 1], [0, 0]]


def test_parts_have_centroids_of_their_own() -> None:
    # Two heaps in each part, elsewhere in the second.
    first, second = torch.tensor([0.0, 10.0]), torch.tensor([100.0, 300.0])
    which = torch.arange(40) % 2
    noise = torch.randn(40, 2, 1, generator=seeded())
    pieces = torch.stack([first[which], second[which]], 1)[:, :, None] + noise
    found = k_means(pieces, 2, seeded(1))
    for part, heaps in enumerate((first, second)):
        wanted = torch.stack([pieces[which == i, part].mean(0) for i in range(2)])
        torch.testing.assert_close(found[part].sort(0).values, wanted)
        assert (wanted - heaps[:, None]).abs().max() < 1


def test_as_many_centroids_as_rows_are_the_rows() -> None:
    pieces = torch.randn(8, 3, 2, generator=seeded())
    found = k_means(pieces, 8, seeded())
    codes = nearest(pieces, found)
    assert torch.equal(codes.sort(0).values, torch.arange(8)[:, None].expand(8, 3))
    torch.testing.assert_close(found[torch.arange(3), codes], pieces)


def test_pieces_that_are_alike_end() -> None:
    found = k_means(torch.ones(6, 2, 3), 4, seeded())
    assert torch.equal(found, torch.ones(2, 4, 3))
