"""Frames of a video file, decoded by PyAV, which brings FFmpeg along."""

from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import BenchError

if TYPE_CHECKING:
    from PIL import Image

# What is damaged ends in an error, and not in a picture that is made up.
_CODEC = {"err_detect": "explode"}
# No playlists, which name other files, and addresses.
_CONTAINER = {
    "format_whitelist": "mov,matroska,avi,mpeg,mpegts,flv,ogg,asf,wav",
    "protocol_whitelist": "file",
}


def decoder_version() -> str:
    """Return the version of PyAV. Raises BenchError, in one line, where it is not installed."""
    try:
        return version("av")
    except PackageNotFoundError as error:
        raise BenchError(
            "video files are decoded by PyAV, which is not installed; pip install "
            "'quantization-bench[video]'"
        ) from error


def frames_at(path: Path, places: Callable[[int], Sequence[int]]) -> "list[Image.Image]":
    """Return frames of the first video stream of a file, RGB, as large as they are in it.

    places: from how many frames there are to those that are wanted, ascending; one may be there
        more than once. All frames are decoded, so that what is damaged anywhere is found, and those
        that are wanted are kept.

    Raises OSError for a file that cannot be read, and ValueError for one that is no video, has no
    frame, or is damaged.
    """
    import av

    try:
        count = _announced(path)
        while True:
            wanted = places(count) if count else []
            kept, decoded = _decoded(path, set(wanted))
            if not decoded:
                raise ValueError("it has no frame")
            if decoded == count:
                return [kept[place] for place in wanted]
            count = decoded  # what is announced need not be what is there
    except av.FFmpegError as error:
        if isinstance(error, OSError):
            raise
        raise ValueError(error.strerror or str(error)) from error


def _announced(path: Path) -> int:
    """Return how many frames a file says it has, else of how many packets its video consists."""
    import av

    with av.open(str(path), options=_CONTAINER) as container:
        if not container.streams.video:
            raise ValueError("it has no video stream")
        stream = container.streams.video[0]
        return stream.frames or sum(packet.size > 0 for packet in container.demux(stream))


def _decoded(path: Path, wanted: set[int]) -> "tuple[dict[int, Image.Image], int]":
    """Return the frames that are wanted by their places, and how many there are in all."""
    import av
    from av.video.reformatter import VideoReformatter
    from PIL import Image

    # A new one for each frame would be set up anew.
    colours = VideoReformatter()
    kept: dict[int, Image.Image] = {}
    decoded = 0
    with av.open(str(path), options=_CONTAINER) as container:
        stream = container.streams.video[0]
        stream.codec_context.options = _CODEC
        stream.thread_type = "NONE"  # several files are decoded at once
        for frame in container.decode(stream):
            if frame.is_corrupt:
                raise ValueError(f"frame {decoded + 1} is damaged")
            if decoded in wanted:
                rgb = colours.reformat(frame, format="rgb24", threads=1).to_ndarray()
                kept[decoded] = Image.fromarray(rgb)
            decoded += 1
    return kept, decoded
