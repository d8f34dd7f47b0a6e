import torch

from bench.data.feed import ResidentImages, feed
from bench.machine.device import Device
from bench.measure import logits
from bench.measure.logits import FloatLogits, logit_mse
from tests.bench.measure.test_evaluate import PIXEL, Lookup, evaluated, numbered


def test_the_first_images_only(monkeypatch) -> None:
    monkeypatch.setattr(logits, "COUNT", 5)
    monkeypatch.setattr("bench.measure.evaluate.COUNT", 5)
    table, images = torch.randn(7, 7), numbered([0, 1, 2, 3, 4, 5, 6])
    network = Lookup(table)
    assert torch.equal(evaluated(network, images, batch_size=2).logits, table[:5])
    kept, cpu = FloatLogits(), Device(torch.device("cpu"), batch_size=2)
    fed = feed(images, cpu.device, ResidentImages())
    network.batches.clear()
    for _ in range(2):  # the second time they are known
        assert torch.equal(kept.of(network, fed, PIXEL, cpu), table[:5])
    assert network.batches == [2, 2, 1]
    other = Lookup(table + 1)
    assert torch.equal(kept.of(other, fed, PIXEL, cpu), table[:5] + 1)


def test_mean_squared_change() -> None:
    # (1 + 0 + 4 + 9) / 4
    assert logit_mse(torch.tensor([[1.0, 2], [3, 4]]), torch.tensor([[0.0, 2], [5, 1]])) == 3.5
