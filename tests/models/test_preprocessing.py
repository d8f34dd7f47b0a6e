"""Pixels to network input."""

import subprocess
import sys

import pytest
import torch

from models.errors import BenchError
from models.preprocessing import Preprocessing, Words, laid_out

PREPROCESSING = Preprocessing(4, 6, "bilinear", (0.5, 0.25, 0.0), (0.5, 0.25, 2.0))


def test_by_hand() -> None:
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 1, 1, 3).expand(1, 3, 1, 3)
    found = PREPROCESSING.normalise(pixels)
    expected = torch.tensor([[-1.0, -0.6, 1.0], [-1.0, -0.2, 3.0], [0.0, 0.1, 0.5]])
    assert found.dtype == torch.float32
    assert torch.allclose(found.view(3, 3), expected, rtol=0, atol=1e-6)


def test_range_of_pixels() -> None:
    low, high = PREPROCESSING.pixel_range(torch.device("cpu"))
    pixels = torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 1, 2).expand(1, 3, 1, 2)
    assert torch.equal(torch.cat([low, high], 3), PREPROCESSING.normalise(pixels))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_memory_layout_is_kept(layout: torch.memory_format) -> None:
    pixels = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8).contiguous(memory_format=layout)
    found = PREPROCESSING.normalise(pixels)
    assert found.shape == pixels.shape
    assert found.is_contiguous(memory_format=layout)


def test_facts() -> None:
    assert PREPROCESSING.input_shape == (3, 4, 4)
    assert PREPROCESSING.as_dict() == {
        "size": 4,
        "resize": 6,
        "interpolation": "bilinear",
        "mean": (0.5, 0.25, 0.0),
        "std": (0.5, 0.25, 2.0),
    }


def test_import_needs_no_torch() -> None:
    code = "import sys, models.preprocessing; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_words_are_ids_as_they_are() -> None:
    words = Words(size=3, vocabulary=7)
    ids = torch.tensor([[2, 6, 0]], dtype=torch.int32)
    found = words.normalise(ids)
    assert found.dtype == torch.int64 and torch.equal(found, ids.long())
    assert torch.equal(words.normalise(ids.float()), found)
    assert (words.input_shape, words.stored_shape, words.places) == ((3,), (3,), 3)
    assert words.as_dict() == {"size": 3, "vocabulary": 7}
    assert words.blank().tolist() == [[0, 0, 0]]
    noise = words.noise(50, torch.Generator().manual_seed(0))
    assert noise[0, 0] == noise.max() == 6 and noise.min() == 1
    assert [int(bound) for bound in words.pixel_range(torch.device("cpu"))] == [0, 6]


@pytest.mark.parametrize(("size", "vocabulary"), [(0, 10), (3, 2)])
def test_numbers_that_leave_no_word(size: int, vocabulary: int) -> None:
    with pytest.raises(BenchError, match="leave no word"):
        Words(size, vocabulary)


def test_only_images_have_a_layout() -> None:
    images, rows = torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, dtype=torch.int64)
    assert laid_out(images, torch.channels_last).is_contiguous(memory_format=torch.channels_last)
    assert laid_out(rows, torch.channels_last) is rows
