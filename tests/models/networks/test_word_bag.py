"""A bag of words: what it computes, by hand, and the weights that are shipped."""

import numpy as np
import torch

from bench.data.decoded import ids_of
from bench.data.topics import texts
from models.networks.word_bag import WordBag
from models.preprocessing import Words
from models.zoo import choose_weights, entry, sha256_of
from models.zoo.weights import load


def test_the_mean_of_the_words_that_are_there() -> None:
    network = WordBag(vocabulary=4, width=2, classes=2)
    with torch.no_grad():
        network.words.weight.copy_(torch.tensor([[9.0, 9.0], [1, 0], [3, 2], [0, 4]]))
        classifier = network.classifier[0]
        assert isinstance(classifier, torch.nn.Linear)
        classifier.weight.copy_(torch.tensor([[1.0, 0], [0, 1]]))
        classifier.bias.copy_(torch.tensor([0.0, 10]))
    found = network(torch.tensor([[2, 3, 2, 0], [1, 0, 0, 0]]))
    assert torch.equal(found, torch.tensor([[2.0, 10 + 8 / 3], [1, 10]]))


def test_a_layer_between() -> None:
    network = WordBag(vocabulary=4, width=2, classes=3, hidden=5)
    assert [p.shape for p in network.parameters()] == [(4, 2), (5, 2), (5,), (3, 5), (3,)]
    assert network(torch.tensor([[2, 3]])).shape == (1, 3)


def test_shipped_weights_reproduce_their_published_accuracy() -> None:
    found = entry("word_bag")
    weights = choose_weights(found, "default")
    assert sha256_of(weights.path()) == weights.sha256
    network, made = load(found, weights).network, texts("eval")
    assert isinstance(weights.preprocessing, Words)
    rows = [ids_of(made.text(place), weights.preprocessing) for place in range(len(made.labels))]
    with torch.inference_mode():
        inputs = weights.preprocessing.normalise(torch.from_numpy(np.stack(rows)))
        right = network(inputs).argmax(1).numpy() == made.labels
    assert weights.published is not None and len(right) == weights.published.images
    assert abs(100 * right.mean() - 84.85) < 0.1
    assert sum(p.numel() for p in network.parameters()) == 5_000 * 64 + 64 * 20 + 20
