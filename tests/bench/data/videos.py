"""Small video files for the tests, encoded here."""

from pathlib import Path

import av
import numpy as np


def noise(frames: int, seed: int = 0, height: int = 12, width: int = 16) -> np.ndarray:
    """Return (frames, height, width, 3) uint8."""
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (frames, height, width, 3), dtype=np.uint8)


def grey(frames: int, height: int = 16, width: int = 16) -> np.ndarray:
    """Return frames of one grey each, 8 times their number."""
    values = 8 * np.arange(frames, dtype=np.uint8)
    return np.broadcast_to(values[:, None, None, None], (frames, height, width, 3)).copy()


def write_video(path: Path, frames: np.ndarray, codec: str = "ffv1") -> Path:
    """Encode `frames` (N, H, W, 3), without loss unless another codec than ffv1 is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=25)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "bgr0" if codec == "ffv1" else "yuv420p"
        for frame in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        file.mux(stream.encode())
    return path


def damage(path: Path) -> Path:
    """Overwrite the middle of a file."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 400] = bytes(0x5A ^ each for each in content[middle : middle + 400])
    path.write_bytes(content)
    return path
