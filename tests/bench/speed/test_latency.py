"""Latencies of layers, by a clock of the test's own."""

from itertools import count

import torch
from torch import Tensor, nn

from bench.speed.latency import Timed, entries, timed_layers


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 3, 3, padding=1)
        self.unused = nn.Conv2d(3, 3, 1)
        self.head = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.body(x)).permute(0, 2, 3, 1))


def test_layers_that_are_called_are_timed_each_call_alone() -> None:
    ticks = count()  # a second passes with each look, and no call takes longer than another
    said: list[tuple[int, int]] = []

    def progress(done: int, total: int, loss: float | None = None) -> None:
        said.append((done, total))

    image = torch.zeros(1, 3, 4, 4)
    found = timed_layers(Twice(), image, 4, 0.1, progress, lambda: float(next(ticks)))
    assert found == [Timed("body", 2, 250.0, 250.0), Timed("head", 1, 250.0, 250.0)]
    assert said == [(1, 2), (2, 2)]


def test_only_bytes_beside_bytes_are_integers() -> None:
    found = {(w, a): ms for _, w, a, ms in entries(Timed("stem", 1, 0.5, 2.0))}
    assert found == {
        **{(w, 8): 0.5 for w in range(2, 9)},
        **{(w, 32): 2.0 for w in range(2, 9)},
        (32, 8): 2.0,
        (32, 32): 2.0,
    }
