"""Clips by lists: what a line may be, what a set is known by, and what cannot be decoded."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.data import ImageCache, calibration_indices, clips, decode, scan
from bench.data.datasets import known_set
from bench.data.video import decoder_version
from bench.files.caches import entries
from models.clips import Clip, as_frames
from models.errors import BenchError
from models.preprocessing import Preprocessing
from tests.bench.data.videos import damage, noise, write_video

WHOLE = Preprocessing(12, 12, "bilinear", (0.0,) * 3, (1.0,) * 3)
"""Of frames of 16 x 12: the middle of each, unscaled."""


def config(root: Path, **options: object) -> dict[str, object]:
    return {"name": "clips", "root": str(root), "segments": 2, **options}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes; `short` has one frame, and the list is not in the order of names."""
    folder = tmp_path / "videos"
    for number, (name, count) in enumerate((("b/x y.mkv", 8), ("a/z.mkv", 5), ("short.mkv", 1))):
        write_video(folder / name, noise(count, seed=number))
    (folder / "val.txt").write_text("b/x y.mkv 8 1\n\na/z.mkv 5 0\nshort.mkv 1 1\n")
    (folder / "train.txt").write_text("a/z.mkv 0\nb/x y.mkv 1\n")
    return folder


def test_a_clip_is_its_middle_frames_resized_and_cropped(root: Path, tmp_path: Path) -> None:
    listing = scan(config(root), "eval")
    assert listing.files == ("b/x y.mkv", "a/z.mkv", "short.mkv")
    assert listing.labels.tolist() == [1, 0, 1] and listing.classes == 2
    assert (listing.name, listing.clip, listing.outputs) == ("videos", Clip(2), None)
    images = decode(listing, config(root), WHOLE, ImageCache(tmp_path / "cache"), workers=2)
    assert images.images.shape == (3, 6, 12, 12)
    frames = as_frames(torch.tensor(images.pixels(slice(None)))).permute(0, 2, 3, 1).numpy()
    cropped = [noise(count, seed=number)[:, :, 2:14] for number, count in enumerate((8, 5, 1))]
    expected = [*cropped[0][[2, 6]], *cropped[1][[1, 3]], *cropped[2][[0, 0]]]
    assert np.array_equal(frames, np.stack(expected))
    (usage,) = entries(tmp_path / "cache")
    assert usage.size_bytes > 3 * 6 * 12 * 12


def test_candidates_are_of_training_clips_alone(root: Path, tmp_path: Path) -> None:
    options = config(root, candidates=2)
    assert scan(options, "eval").clip == Clip(2)
    listing = scan(options, "train")
    assert listing.clip == Clip(2, 2) and listing.files == ("a/z.mkv", "b/x y.mkv")
    images = decode(listing, options, WHOLE, ImageCache(tmp_path / "cache"))
    frames = as_frames(torch.tensor(images.pixels(slice(None)))).permute(0, 2, 3, 1).numpy()
    first, second = noise(5, seed=1)[:, :, 2:14], noise(8, seed=0)[:, :, 2:14]
    assert np.array_equal(frames, np.stack([*first[[0, 1, 2, 3]], *second[[1, 3, 5, 7]]]))


def test_calibration_images_are_single_frames_of_one_segment_after_the_other(
    root: Path, tmp_path: Path
) -> None:
    options = config(root, candidates=2)
    images = decode(scan(options, "train"), options, WHOLE, ImageCache(tmp_path / "cache"))
    indices = calibration_indices(images.listing, 2, np.random.default_rng(0))
    frames = images.frames(indices)
    assert frames.shape == (2, 3, 12, 12)
    both = as_frames(torch.tensor(images.pixels(indices))).view(2, 4, 3, 12, 12).numpy()
    assert np.array_equal(frames, np.stack([both[0, 1], both[1, 3]]))


@pytest.mark.parametrize(
    "line", ["a/z.mkv 5 0", "a/z.mkv;1;5;0", "a/z;5;0", "a/z 0", "  a/z.mkv,\t0 ", "a/z 1 5 0"]
)
def test_a_line_of_either_release_or_a_shorter_one(root: Path, line: str) -> None:
    (root / "val.txt").unlink()
    (root / "mini_val.txt").write_text(f"{line}\nb/x y.mkv 8 1\n")
    listing = scan(config(root), "eval")
    assert listing.files == ("a/z.mkv", "b/x y.mkv") and listing.labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a/z.mkv\n", "line 1 of '{0}' is 'a/z.mkv'; expected path[, number of frames], label"),
        ("a/z.mkv 0\na/z.mkv 1\n", "line 2 of '{0}' names 'a/z.mkv', which another does"),
        ("a/z.mkv;30;60;0\n", "line 1 of '{0}' takes frames 30 to 60 out of 'a/z.mkv'; only whole"),
        ("../z.mkv 0\n", "line 1 of '{0}' names '../z.mkv', which is not inside data.root"),
        ("a/n.mkv 0\n\nm 1\n", "names clips that are not in '{1}': a/n.mkv and 1 more; put the"),
        ("a 0\n", "names clips that are not in '{1}': a (a folder of frames is not read); put"),
        ("\n", "'{0}' names no clip; expected lines of path[, number of frames], label"),
    ],
)
def test_mistakes_of_a_list_are_named_in_one_line(root: Path, text: str, message: str) -> None:
    (root / "val.txt").write_text(text)
    with pytest.raises(BenchError) as caught:
        scan(config(root), "eval")
    assert message.format(root / "val.txt", root) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_list_that_is_not_there_or_no_text(root: Path) -> None:
    (root / "val.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BenchError, match=r"cannot read '.*val.txt': it is no text in UTF-8"):
        scan(config(root), "eval")
    (root / "val.txt").unlink()
    with pytest.raises(BenchError, match=r"no file val.txt or mini_val.txt or test.txt or mini_"):
        scan(config(root), "eval")


@pytest.mark.parametrize("options", [{"segments": 0}, {"segments": True}, {"candidates": "2"}])
def test_numbers_of_frames_are_positive(root: Path, options: dict[str, object]) -> None:
    with pytest.raises(BenchError, match=r"is not a number of frames; set it to 1 or more"):
        scan(config(root, **options), "eval")


def test_a_set_is_known_by_contents_labels_and_segments(root: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    listing = scan(config(root), "eval", cache)
    assert listing.earlier is None
    known = known_set(config(root), "eval", cache)
    assert known is not None and known.identity is not None
    assert known.images == 3 and known.identity.fingerprint == listing.fingerprint
    other = scan(config(root, segments=3), "eval", cache).fingerprint
    assert other != listing.fingerprint
    of_both = [known_set(config(root, segments=count), "eval", cache) for count in (2, 3)]
    assert [each and each.identity and each.identity.fingerprint for each in of_both] == [
        *(listing.fingerprint, other)
    ]
    moved = root.rename(tmp_path / "elsewhere")
    (moved / "b" / "x y.mkv").rename(moved / "b" / "w.mkv")
    (moved / "val.txt").write_text("b/w.mkv 1\na/z.mkv 0\nshort.mkv 1\n")
    assert scan(config(moved), "eval", cache).fingerprint == listing.fingerprint
    (moved / "val.txt").write_text("b/w.mkv 0\na/z.mkv 0\nshort.mkv 1\n")
    assert scan(config(moved), "eval", cache).fingerprint != listing.fingerprint
    (moved / "b" / "w.mkv").unlink()  # one that is written into is noticed by the next run
    write_video(moved / "b" / "w.mkv", noise(8, seed=9))
    again = known_set(config(moved), "eval", cache)
    assert again is not None and again.identity is not None
    assert again.identity.fingerprint == scan(config(moved), "eval", cache).fingerprint


def test_what_cannot_be_decoded_is_named_or_left_out(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_video(root / "bad.mp4", noise(30), "mpeg4")
    damage(root / "bad.mp4")
    (root / "val.txt").write_text("bad.mp4 0\na/z.mkv 0\n")
    cache = ImageCache(tmp_path / "cache")
    listing = scan(config(root), "eval")
    with pytest.raises(BenchError) as caught:
        decode(listing, config(root), WHOLE, cache)
    assert str(caught.value).startswith(
        "cannot decode clip 'bad.mp4' of the eval side of 'videos': Invalid data found"
    )
    with caplog.at_level(logging.WARNING):
        images = decode(listing, config(root, skip_bad=True), WHOLE, cache)
    assert images.listing.files == ("a/z.mkv",) and images.listing.left_out == ("bad.mp4",)
    assert images.listing.clip == Clip(2) and images.images.shape == (1, 6, 12, 12)
    assert "1 of the 2 clips of the eval side of 'videos' cannot be decoded" in caplog.text


def test_another_version_of_the_decoder_decodes_again(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = scan(config(root), "eval")
    assert decoder_version().split(".")[0].isdigit()
    monkeypatch.setattr(clips, "decoder_version", lambda: "0.0")
    after = scan(config(root), "eval")
    assert after.stamp != before.stamp and after.fingerprint == before.fingerprint
