"""Made texts: the same everywhere, as hard as they are said to be, read as rows of ids."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.data import ImageCache, decode, scan
from bench.data.datasets import PACKAGED, known_set
from bench.data.decoded import ids_of
from bench.data.feed import ResidentImages, feed, feed_training
from bench.data.imageset import DamagedImages, ImageSet
from bench.data.outputs import check_medium
from bench.data.topics import texts
from models.errors import BenchError
from models.preprocessing import Preprocessing, Words

DATA = {"name": "topics", "limit": 40}
WORDS = Words(size=60, vocabulary=5_000)
PIXELS = Preprocessing(32, 32, "bilinear", (0.5,) * 3, (0.5,) * 3)


@pytest.fixture(scope="module")
def decoded(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    cache = ImageCache(tmp_path_factory.mktemp("cache"))
    return decode(scan(DATA, "eval"), DATA, WORDS, cache)


def test_the_texts_are_the_same_on_every_machine() -> None:
    made = texts("eval")
    digest = hashlib.sha256(made.words.astype("<i8").tobytes()).hexdigest()
    assert len(made.words) == 200_092
    assert digest == "61de740ef05adbb4a7bd71d5c89fa391cbb0c40d1088985b4639225d02de0e6e"
    assert np.bincount(made.labels).tolist() == [200] * 20
    lengths = np.diff(made.starts)
    assert (lengths.min(), lengths.max()) == (20, 80)
    assert made.words.min() == 0 and made.words.max() < 10_000


def test_frequencies_fall_with_the_rank_and_topics_have_words_of_their_own() -> None:
    made = texts("eval")
    counts = np.bincount(made.words, minlength=10_000)
    first, second = counts[:50].sum(), counts[50:10_000].sum()
    assert 0.2 < first / (first + second) < 0.4
    topic = np.repeat(made.labels, np.diff(made.starts))
    common = np.bincount(topic[made.words < 50], minlength=20)
    assert common.max() < 1.2 * common.min()
    # The word that a topic has most before others is in its texts ten times as often.
    of_topic = np.bincount(made.words[topic == 3], minlength=10_000)
    most = int((of_topic - (counts - of_topic) / 19)[50:].argmax()) + 50
    assert of_topic[most] > 10 * (counts[most] - of_topic[most]) / 19


def test_listing() -> None:
    listing = scan(DATA, "eval")
    assert (len(listing), listing.medium, listing.outputs) == (40, "text", 20)
    assert len(scan({"name": "topics"}, "train")) == PACKAGED["topics"]["train"] == 12_000
    known = known_set({"name": "topics"}, "eval", Path())
    assert known is not None and known.images == 4_000


def test_rows_of_ids(decoded: ImageSet) -> None:
    made = texts("eval")
    rows = decoded.pixels(slice(None))
    assert (rows.shape, rows.dtype) == ((40, 60), np.int32)
    for name, row in zip(decoded.listing.files, rows, strict=True):
        words = made.text(int(name[-5:]))[:60]
        expected = [word + 2 if word + 2 < 5_000 else 1 for word in words.tolist()]
        assert row.tolist() == expected + [0] * (60 - len(words))


def test_ids_on_their_way_to_a_device(decoded: ImageSet) -> None:
    cpu, rows = torch.device("cpu"), torch.from_numpy(decoded.pixels(slice(None)).copy())
    assert torch.equal(feed(decoded, cpu, ResidentImages()).pixels(3, 7), rows[3:7])
    chosen = torch.tensor([5, 0, 5])
    found = feed_training(decoded, cpu)(chosen)
    assert found.dtype == torch.int32 and torch.equal(found, rows[chosen])


def test_a_damaged_row_is_found(tmp_path: Path) -> None:
    cache = ImageCache(tmp_path)
    whole = decode(scan(DATA, "eval"), DATA, WORDS, cache)
    assert whole.checks is not None
    file = whole.checks.entry.path / "images.npy"
    content = bytearray(file.read_bytes())
    content[-4 * 60] ^= 1
    file.write_bytes(content)
    again = decode(scan(DATA, "eval"), DATA, WORDS, ImageCache(tmp_path))
    with pytest.raises(DamagedImages, match="is damaged"):
        again.pixels(slice(None))


@pytest.mark.parametrize(
    ("text", "fault"), [([], "it has no words"), ([4, -1], "-1 is the rank of no word")]
)
def test_what_is_no_text(text: list[int], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        ids_of(np.array(text, dtype=np.int64), WORDS)


def test_what_cannot_be_read_names_the_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.data.topics.Texts.text", lambda made, place: np.zeros(0, np.int64))
    with pytest.raises(BenchError, match=r"cannot decode text 'topics/test/\d{5}'.*no words"):
        decode(scan(DATA, "eval"), DATA, WORDS, ImageCache(tmp_path))


def test_images_and_texts_are_told_apart() -> None:
    texts_, images = scan(DATA, "eval"), scan({"name": "mnist5k", "limit": 5}, "eval")
    check_medium(texts_, WORDS)
    check_medium(images, PIXELS)
    with pytest.raises(BenchError, match="topics has texts and the network takes images"):
        check_medium(texts_, PIXELS)
    with pytest.raises(BenchError, match="mnist5k has images and the network takes texts"):
        check_medium(images, WORDS)
