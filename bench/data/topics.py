"""Made texts of twenty topics: a set to classify texts of that needs no files of one's own.

Nobody wrote them. A text is a row of words without order, and a word is its rank in a made
language, 0 being the most frequent.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.data.listing import Labels, Listing, Side, fingerprint_of
from bench.data.options import Options
from models.preprocessing import Medium

VERSION = 1
"""Raised when other texts are made."""
WORDS = 10_000
TOPICS = 20
TEXTS = {"train": 12_000, "eval": 4_000}
LENGTHS = (20, 80)
_OWN = 250  # words that a topic speaks of
_COMMON = 50  # of the most frequent words, which no topic has
_SHARE = (10, 50)  # of a text's words that are of its topic, in percent
_OTHER = (0, 16)  # and of one other topic
_WEIGHT = 10**7

Numbers = npt.NDArray[np.int64]


class Texts(NamedTuple):
    """words: of all texts, one after the other, 0..9,999. starts: (N + 1,), where each begins.

    labels: (N,), the topic of each.
    """

    words: Numbers
    starts: Numbers
    labels: Labels

    def text(self, place: int) -> Numbers:
        """Return the words of one text."""
        return self.words[self.starts[place] : self.starts[place + 1]]


class Topics:
    """12,000 texts to train on and 4,000 to evaluate on, as many of each of twenty topics.

    The language has 10,000 words, whose frequency falls with their rank (Zipf). A text has 20 to 80
    of them: 10 to 50 of a hundred are from the 250 words of its topic, 0 to 16 from those of one
    other topic, and the rest from the whole language.
    """

    keys: ClassVar[frozenset[str]] = frozenset()
    medium: ClassVar[Medium] = "text"

    def __init__(self, options: Options) -> None:
        self.options = options

    def scan(self, side: Side) -> Listing:
        """List the texts of `side`; the number in a text's name is its place."""
        labels = texts(side).labels
        folder = "train" if side == "train" else "test"
        return Listing(
            name="topics",
            side=side,
            files=tuple(f"topics/{folder}/{place:05d}" for place in range(len(labels))),
            labels=labels,
            classes=TOPICS,
            fingerprint=fingerprint_of(("topics", VERSION, side)),
            stamp=fingerprint_of(()),
            outputs=TOPICS,
            medium=self.medium,
        )

    def reader(self, listing: Listing) -> Callable[[int], Numbers]:
        made = texts(listing.side)
        places = [int(name.rpartition("/")[2]) for name in listing.files]
        return lambda index: made.text(places[index])


@lru_cache(maxsize=2)
def texts(side: Side) -> Texts:
    """Return the texts of one side, the same on every machine.

    All that is drawn is whole numbers of a bit generator, whose stream NumPy keeps, and all that is
    computed is whole numbers too.
    """
    language, topics = _language()
    draws, count = _Draws(1 if side == "train" else 2), TEXTS[side]
    labels = np.arange(count, dtype=np.int64) % TOPICS
    lengths = draws.between(*LENGTHS, count)
    other = (labels + draws.between(1, TOPICS - 1, count)) % TOPICS
    own, foreign = draws.between(*_SHARE, count), draws.between(*_OTHER, count)
    of_text = np.repeat(np.arange(count), lengths)
    source = draws.between(0, 99, len(of_text))
    words = language.drawn(draws, len(of_text))
    for topic in range(TOPICS):
        by_label = (labels[of_text] == topic) & (source < own[of_text])
        by_other = (other[of_text] == topic) & (source >= 100 - foreign[of_text])
        places = np.flatnonzero(by_label | by_other)
        words[places] = topics[topic].drawn(draws, len(places))
    made = Texts(words, np.concatenate([[0], lengths.cumsum()]), labels)
    for array in made:
        array.setflags(write=False)
    return made


class _Draws:
    """Random whole numbers of one purpose: 0 the language, 1 and 2 the texts of either side."""

    def __init__(self, purpose: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence([VERSION, purpose]))

    def between(self, low: int, high: int, count: int) -> Numbers:
        """Return `count` of low..high."""
        raw = self._bits.random_raw(count) >> np.uint64(32)
        return low + (raw % np.uint64(high - low + 1)).astype(np.int64)

    def order(self, count: int) -> Numbers:
        """Return 0..count - 1 in another order."""
        return np.argsort(self._bits.random_raw(count), kind="stable")


class _Source(NamedTuple):
    """Words to draw from. below: (n,), the sum of the weights of a word and all before it."""

    words: Numbers
    below: Numbers

    @classmethod
    def of(cls, words: Numbers) -> "_Source":
        """Return `words` with weights that fall as 1 / (place + 3)."""
        return cls(words, (_WEIGHT // (np.arange(len(words), dtype=np.int64) + 3)).cumsum())

    def drawn(self, draws: _Draws, count: int) -> Numbers:
        marks = draws.between(0, int(self.below[-1]) - 1, count)
        return self.words[np.searchsorted(self.below, marks, side="right")]


@lru_cache(maxsize=1)
def _language() -> tuple[_Source, list[_Source]]:
    """Return all words, and those of each topic."""
    draws = _Draws(0)
    own = [_COMMON + draws.order(WORDS - _COMMON)[:_OWN] for _ in range(TOPICS)]
    return _Source.of(np.arange(WORDS, dtype=np.int64)), [_Source.of(words) for words in own]
