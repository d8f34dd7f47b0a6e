"""Frames of files that were encoded here: the right ones, and damage ends in an error."""

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import av
import numpy as np
import pytest

from bench.data import video
from bench.data.video import decoder_version, frames_at
from models.errors import BenchError
from tests.bench.data.videos import damage, grey, noise, write_video


def halved(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def all_of(count: int) -> range:
    return range(count)


def test_what_was_encoded_without_loss_is_decoded_as_it_was(tmp_path: Path) -> None:
    frames = noise(9)
    path = write_video(tmp_path / "a.mkv", frames)
    decoded = frames_at(path, all_of)
    assert all(frame.mode == "RGB" and frame.size == (16, 12) for frame in decoded)
    assert np.array_equal(np.stack([np.asarray(frame) for frame in decoded]), frames)
    counts: list[int] = []

    def some(count: int) -> list[int]:
        counts.append(count)
        return [0, 4, 4, 8]

    chosen = frames_at(path, some)
    assert counts == [9]
    assert np.array_equal(np.stack([np.asarray(frame) for frame in chosen]), frames[[0, 4, 4, 8]])


def test_frames_that_need_others_come_in_their_order(tmp_path: Path) -> None:
    """mpeg4 codes differences to the frame before; a wrong place would be 8 greys off."""
    decoded = frames_at(write_video(tmp_path / "a.mp4", grey(20), "mpeg4"), all_of)
    means = np.array([np.asarray(frame).mean() for frame in decoded])
    assert np.abs(means - 8 * np.arange(20)).max() < 4


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path.write_bytes(b"no video"), "Invalid data found"),
        (lambda path: path.write_bytes(b""), "Invalid data found"),
        (lambda path: damage(write_video(path, noise(30), "mpeg4")), "Invalid data found"),
        (lambda path: halved(write_video(path, noise(30), "mpeg4")), "Invalid data found"),
    ],
)
def test_no_video_or_a_damaged_one(
    tmp_path: Path, write: Callable[[Path], object], message: str
) -> None:
    write(tmp_path / "a.mp4")
    with pytest.raises(ValueError, match=message) as caught:
        frames_at(tmp_path / "a.mp4", all_of)
    assert getattr(caught.value, "errno", None) is None, "it says something of the clip"


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.wav"), "w") as file:
        stream = file.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        sound.sample_rate = 8000
        file.mux(stream.encode(sound))
    with pytest.raises(ValueError, match="no video stream"):
        frames_at(tmp_path / "a.wav", all_of)


def test_what_the_system_says_is_not_taken_for_damage(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        frames_at(tmp_path / "none.mp4", all_of)


def test_a_playlist_reaches_no_network(tmp_path: Path) -> None:
    path = tmp_path / "a.m3u8"
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n")
    with pytest.raises(ValueError, match="Invalid"):
        frames_at(path, all_of)


def test_a_packet_that_is_no_frame_is_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(tmp_path / "a.mkv", grey(6))
    monkeypatch.setattr(video, "_announced", lambda path: 7)
    (last,) = frames_at(path, lambda count: [count - 1])
    assert np.asarray(last).mean() == 40


def test_without_pyav_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(video, "version", absent)
    with pytest.raises(BenchError) as caught:
        decoder_version()
    assert str(caught.value) == (
        "video files are decoded by PyAV, which is not installed; pip install "
        "'quantization-bench[video]'"
    )
