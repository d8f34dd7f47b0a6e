"""Each kind of image file becomes the right 8-bit RGB, or is refused with a reason."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageFile

from bench.data import ImageCache, decode, scan
from bench.data.colours import NotRgb, to_rgb
from models.errors import BenchError
from tests.bench.data.images import preprocessing, write_tree

WIDTH = 64
SIXTEEN = np.tile(np.linspace(0, 65535, WIDTH).astype(np.uint16), (16, 1))
EIGHT = (SIXTEEN >> 8).astype(np.uint8)
GREY = Image.fromarray(EIGHT)
RED = Image.new("RGB", (WIDTH, 16), (255, 0, 0))
ROTATED = Image.Exif()
ROTATED[0x0112] = 6


def written(image: Image.Image, format: str, **options: Any) -> Image.Image:
    """Return `image` as a file of `format` opens."""
    file = io.BytesIO()
    image.save(file, format=format, **options)
    file.seek(0)
    return Image.open(file)


def with_alpha(alpha: int) -> Image.Image:
    image = GREY.convert("RGBA")
    image.putalpha(alpha)
    return image


def levels(image: Image.Image) -> npt.NDArray[np.int64]:
    """Return the first row of an image that is grey in RGB, (width,), 0..255."""
    rgb = np.asarray(to_rgb(image)).astype(np.int64)
    assert rgb.shape[2] == 3
    return rgb[0].mean(axis=1)


@pytest.mark.parametrize(
    "image",
    [
        written(Image.fromarray(SIXTEEN), "PNG"),
        written(Image.fromarray(SIXTEEN), "TIFF"),
        written(Image.fromarray(SIXTEEN), "PPM"),
        written(Image.frombytes("I;16B", (WIDTH, 16), SIXTEEN.astype(">u2").tobytes()), "TIFF"),
        written(GREY, "PNG"),
        written(GREY.convert("P"), "PNG"),
        written(GREY.convert("P"), "GIF"),
        written(GREY.convert("P"), "PNG", transparency=b"\xff" * 256),
        written(GREY, "PNG", transparency=1),  # a level that no pixel has
        written(GREY.convert("RGB"), "PNG", transparency=(0, 1, 0)),
        written(GREY.convert("LA"), "PNG"),
        written(with_alpha(255), "PNG"),
        written(with_alpha(255), "TIFF"),
        written(with_alpha(255), "WEBP", lossless=True),
        written(GREY.convert("RGB").convert("CMYK"), "TIFF"),
        written(GREY.convert("YCbCr"), "TIFF"),
        written(GREY.convert("RGB"), "PNG", icc_profile=b"any"),
        written(GREY, "PNG", gamma=2.2),
        *(
            written(GREY.convert("RGB"), format, save_all=True, append_images=[RED])
            for format in ("GIF", "PNG", "TIFF")
        ),
        GREY.convert("PA"),
        GREY.convert("RGBX"),
        GREY.convert("HSV"),
    ],
    ids=lambda image: f"{image.format}-{image.mode}",
)
def test_a_ramp_stays_a_ramp(image: Image.Image) -> None:
    np.testing.assert_array_equal(levels(image), EIGHT[0])


@pytest.mark.parametrize(
    "image",
    [
        written(GREY.convert("RGB").convert("CMYK"), "JPEG", quality=100),  # Adobe's, inverted
        written(GREY.convert("RGB"), "JPEG", quality=100),
        written(GREY.convert("RGB"), "MPO", quality=100, save_all=True, append_images=[RED]),
        written(GREY, "WEBP", save_all=True, append_images=[RED], quality=100),
    ],
    ids=lambda image: f"{image.format}-{image.mode}",
)
def test_a_ramp_stays_a_ramp_but_for_compression(image: Image.Image) -> None:
    np.testing.assert_allclose(levels(image), EIGHT[0], atol=4)


def test_black_and_white_stay_so() -> None:
    halves = GREY.point([0] * 128 + [255] * 128, "1")
    assert levels(written(halves, "PNG")).tolist() == [0] * 32 + [255] * 32


def test_the_upper_8_of_16_bits_in_every_channel() -> None:
    """A file of three values; Pillow writes no RGB of 16 bits."""
    file = b"P6 3 1 65535\n" + np.array([0, 256, 65535] * 3, dtype=">u2").tobytes()
    assert (
        np.asarray(to_rgb(Image.open(io.BytesIO(file)))).reshape(3, 3).tolist() == [[0, 1, 255]] * 3
    )


def test_the_orientation_of_a_photo_is_ignored_as_torchvision_does() -> None:
    image = written(GREY.convert("RGB"), "JPEG", exif=ROTATED, quality=100)
    assert to_rgb(image).size == GREY.size


def without_adobe(image: Image.Image) -> Image.Image:
    """Take the marker out of a JPEG: APP14, of 14 bytes besides its own two."""
    file = io.BytesIO()
    image.save(file, format="JPEG")
    content = file.getvalue()
    start = content.index(b"\xff\xee")
    return Image.open(io.BytesIO(content[:start] + content[start + 16 :]))


INK = Image.new("RGBA", (WIDTH, 16), (255, 255, 255, 0))
INK.paste((255, 255, 255, 255), (8, 8, 16, 16))


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (written(Image.fromarray((SIXTEEN / 65535).astype(np.float32)), "TIFF"), "floating point"),
        (written(Image.fromarray(SIXTEEN.astype(np.int32)), "TIFF"), "signed"),
        (written(Image.fromarray(SIXTEEN), "TIFF", tiffinfo={262: 0}), "16 bits of which 0 is"),
        (written(Image.new("LAB", (8, 8)), "TIFF"), "mode LAB"),
        (Image.new("F", (8, 8)), "mode F"),
        (Image.new("I", (8, 8)), "mode I,"),
        (written(INK, "PNG"), "transparent pixels"),
        (written(INK, "TIFF"), "transparent pixels"),
        (written(INK, "WEBP", lossless=True), "transparent pixels"),
        (written(INK.convert("LA"), "PNG"), "transparent pixels"),
        (written(with_alpha(254), "PNG"), "transparent pixels"),
        (written(GREY, "PNG", transparency=0), "transparent pixels"),
        (written(GREY.convert("1"), "PNG", transparency=1), "transparent pixels"),
        (written(GREY.convert("RGB"), "PNG", transparency=(0, 0, 0)), "transparent pixels"),
        (written(Image.fromarray(SIXTEEN), "PNG", transparency=0), "transparent pixels"),
        (written(GREY.convert("P"), "PNG", transparency=0), "transparent pixels"),
        (written(GREY.convert("P"), "GIF", transparency=0), "transparent pixels"),
        (Image.new("RGBa", (8, 8)), "transparent pixels"),
        (Image.new("La", (8, 8)), "transparent pixels"),
        (without_adobe(RED.convert("CMYK")), "Adobe's marker"),
    ],
    ids=lambda value: f"{value.format}-{value.mode}" if isinstance(value, Image.Image) else "",
)
def test_what_is_no_one_picture_is_refused(image: Image.Image, why: str) -> None:
    with pytest.raises(NotRgb, match=why) as caught:
        to_rgb(image)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("format", "options"),
    [
        *(("JPEG", {"progressive": on}) for on in (False, True)),
        *(("TIFF", {"compression": how}) for how in ("raw", "tiff_lzw", "jpeg", "tiff_deflate")),
        *((format, {}) for format in ("PNG", "GIF", "BMP", "PPM", "WEBP", "MPO")),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_truncated_file_raises(format: str, options: dict[str, Any]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, format=format, **options)
    content = file.getvalue()
    for share in (0.3, 0.6, 0.95):
        with pytest.raises((OSError, SyntaxError)):
            to_rgb(Image.open(io.BytesIO(content[: int(share * len(content))])))


def test_a_file_that_is_refused_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_tree(tmp_path / "set", {"train/a": 1, "test/a": 2})
    config = {"name": "folder", "root": str(root)}

    def decoded(**options: object) -> int:
        whole = config | options
        return len(
            decode(scan(whole, "eval"), whole, preprocessing(), ImageCache(tmp_path / "cache"))
        )

    INK.save(root / "test/a/ink.png")
    with pytest.raises(BenchError, match=r"'a/ink\.png' of the eval side of 'set': it has trans"):
        decoded()
    assert decoded(skip_bad=True) == 2
    # Something that is imported may have told Pillow to take what there is of a file.
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    whole = (root / "test/a/000.png").read_bytes()
    (root / "test/a/ink.png").write_bytes(whole[:-60])
    with pytest.raises(BenchError, match=r"cannot decode image 'a/ink\.png'"):
        decoded()
    assert ImageFile.LOAD_TRUNCATED_IMAGES
