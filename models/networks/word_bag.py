"""A bag of words: the mean of their embeddings, and a linear classifier on it."""

from pathlib import Path

from torch import Tensor, nn

FILES = Path(__file__).parents[1] / "zoo" / "files"


class WordBag(nn.Module):
    """mean of embeddings [- hidden FC - ReLU] - FC; the order of words makes no difference.

    Input (N, words), int64 ids below `vocabulary`; what is 0 is no word, and not in the mean.
    Output (N, classes). hidden: features of a layer between, 0 for none.
    Source: the model of fastText (Joulin et al., EACL 2017, section 2), without n-grams.
    """

    def __init__(self, vocabulary: int, width: int, classes: int, hidden: int = 0) -> None:
        super().__init__()
        self.words = nn.EmbeddingBag(vocabulary, width, mode="mean", padding_idx=0)
        between = [nn.Linear(width, hidden), nn.ReLU()] if hidden else []
        self.classifier = nn.Sequential(*between, nn.Linear(hidden or width, classes))

    def forward(self, ids: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.words(ids))
        return logits


def word_bag() -> WordBag:
    """Return a network for 5,000 ids, 64 numbers a word, and 20 classes."""
    return WordBag(5_000, 64, 20)


def locate_word_bag() -> Path:
    """Return the path of the weights trained by this project on 12,000 made texts."""
    return FILES / "word_bag_topics.safetensors"
