"""Digits in motion: the same everywhere, in the direction of the label, told by a single frame."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.data import scan
from bench.data.datasets import PACKAGED, known_set
from bench.data.mnist5k import read_digits, split
from bench.data.motion import DIRECTIONS, FARTHER, FRAMES, NEARER, Motion, exposures, frames
from bench.data.options import Options
from bench.data.outputs import check_outputs
from models.clips import Clip, consensus
from models.zoo import choose_weights, entry
from models.zoo.weights import load


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    pixels, labels = read_digits()
    return pixels[split(labels, "eval")]


def test_the_pixels_are_the_same_on_every_machine(digits: np.ndarray) -> None:
    drawn = [frames(digits, "eval", number, [2, 6, 10, 14]) for number in range(20)]
    stacked = np.stack([np.stack(clip) for clip in drawn])
    assert stacked.shape == (20, 4, 32, 32, 3) and stacked.dtype == np.uint8
    digest = hashlib.sha256(stacked.tobytes()).hexdigest()
    assert digest == "f10b4c874e4fcb7d9370d84629fb5ab9b5b3926a943fd2240e2376fb384cb29d"


def square() -> np.ndarray:
    return np.full((10, 10), 255, dtype=np.int64)


def centre(values: np.ndarray) -> np.ndarray:
    """Return where the centre of (32, 32) values is on a torus: right and down, 0..32."""
    waves = np.exp(2j * np.pi * np.arange(32) / 32)
    both = np.array([(values.sum(axis=axis) * waves).sum() for axis in (0, 1)])
    return np.angle(both) * 32 / (2 * np.pi) % 32


def between(ends: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return the way from one place on the torus to another, the shorter one."""
    return (ends - starts + 16) % 32 - 16


@pytest.mark.parametrize("label", range(8))
def test_a_digit_moves_as_its_label_says_and_draws_a_trail_behind(label: int) -> None:
    """At 1.5 pixels a frame; its trail is of 11 quarters of a frame before, ever weaker."""
    direction, start = np.array(DIRECTIONS[label]), np.array([20, 5])
    drawn = exposures(square(), label, 10, 24, start, range(FRAMES))
    full = np.stack([np.where(each == 255, each, 0) for each in drawn])
    assert (full.sum(axis=(1, 2)) == 255 * 100).all(), "the digit itself, at full strength"
    places = np.stack([centre(each) for each in full])
    assert between(places[0], start + 15.5) == pytest.approx([0, 0])
    assert between(places[2:], places[:-2]) == pytest.approx(np.tile(3 * direction, (14, 1)))
    trails = np.stack([centre(np.where(each < 255, each, 0)) for each in drawn])
    lag = between(trails, places)
    assert np.abs(lag[:, direction == 0]).max(initial=0) < 1e-6
    assert ((lag * direction)[:, direction != 0] < -3).all()


@pytest.mark.parametrize(("label", "heights"), [(NEARER, (10, 24)), (FARTHER, (21, 8))])
def test_what_comes_nearer_grows_and_what_goes_shrinks(
    label: int, heights: tuple[int, int]
) -> None:
    drawn = exposures(square(), label, 10, 24, np.array([0, 0]), [0, 15])
    found = tuple(int((each == 255).any(axis=1).sum()) for each in drawn)
    assert found == heights
    around = drawn[0] > 0
    assert around.any(axis=1).sum() == (10 if label == NEARER else 24)


def test_listing_and_frames(digits: np.ndarray) -> None:
    options = {"name": "motion", "segments": 4, "candidates": 2}
    listing = scan(options, "eval")
    assert len(listing) == PACKAGED["motion"]["eval"] == 500
    assert np.bincount(listing.labels).tolist() == [50] * 10
    assert (listing.clip, listing.channels) == (Clip(4), 12)
    assert scan(options, "train").clip == Clip(4, 2)
    check_outputs(listing, 10)
    few = scan({**options, "limit": 20}, "eval")
    read = Motion(Options("motion", segments=4, candidates=2)).reader(few)
    number = int(few.files[11][-5:])
    assert few.labels[11] == number % 10
    expected = frames(digits, "eval", number, [2, 6, 10, 14])
    assert all(np.array_equal(np.asarray(a), b) for a, b in zip(read(11), expected, strict=True))


def test_a_network_of_frames_sees_the_motion(digits: np.ndarray) -> None:
    """Of the shipped network, which is 95.4 % right on all 500 clips."""
    weights = choose_weights(entry("resnet8"), "motion")
    assert weights.published is not None and weights.published.images == 500
    network = load(entry("resnet8"), weights).network
    drawn = [frames(digits, "eval", number, [2, 6, 10, 14]) for number in range(60)]
    pixels = torch.tensor(np.stack(drawn).transpose(0, 1, 4, 2, 3)).flatten(0, 1)
    with torch.inference_mode():
        logits = network(weights.preprocessing.normalise(pixels))
    labels = torch.arange(60) % 10
    of_frames = (logits.argmax(1) == labels.repeat_interleave(4)).float().mean()
    of_clips = (consensus(logits, 4).argmax(1) == labels).sum()
    assert int(of_clips) == 56 and float(of_frames) > 0.8


def test_other_segments_are_other_images(tmp_path: Path) -> None:
    prints = {
        scan({"name": "motion", "segments": segments, "candidates": kept}, "train").fingerprint
        for segments, kept in ((4, 4), (4, 2), (2, 4))
    }
    assert len(prints) == 3
    for side, clips in PACKAGED["motion"].items():
        known = known_set({"name": "motion"}, side, tmp_path)  # type: ignore[arg-type]
        assert known is not None and known.images == clips
