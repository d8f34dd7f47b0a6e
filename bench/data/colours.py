"""Any image as 8-bit RGB, by the rules of docs/models.md or not at all: never by a guess."""

import numpy as np
from PIL import Image

_AS_THEY_ARE = frozenset({"1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV"})
_WITH_ALPHA = {"LA": "LA", "La": "LA", "PA": "RGBA", "RGBA": "RGBA", "RGBa": "RGBA"}
_SIXTEEN_BITS = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})
# Formats that say which value is white, and whose 16 bits Pillow reads so that it is 65,535.
_WHITE_IS_KNOWN = frozenset({"PNG", "PPM", "JPEG2000", "TIFF", None})
# Those of PNG where Pillow compares the transparent colour with pixels of another depth.
_OTHER_DEPTHS = frozenset({"L;2", "L;4", "RGB;16B"})

# TIFF 6.0, sections 8 and 19.
_BITS, _PHOTOMETRIC, _FORMAT = 258, 262, 339
_WHITE_IS_ZERO, _UNSIGNED = 0, 1

_TRANSPARENT = (
    "it has transparent pixels, and the colour behind them is not known; save it without "
    "transparency, on the ground that is meant"
)


class NotRgb(ValueError):
    """An image of which more than one picture could be made; the message says why, in a line."""


def to_rgb(image: Image.Image) -> Image.Image:
    """Return the first frame of `image` as 8-bit RGB, as torchvision's loader where that is right.

    Its grey levels are taken for all three channels; of 16 bits the upper 8 are. A transparency
    that hides nothing is dropped. Colour profiles, gamma and the EXIF orientation are ignored.
    Raises NotRgb for what has no one reading as RGB, and what Pillow raises on a damaged file.
    """
    if is_plain(image):
        return image.convert("RGB")
    if image.mode in _SIXTEEN_BITS or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return _from_16_bits(image)
    if image.mode == "CMYK":
        raise NotRgb(
            "a CMYK JPEG without Adobe's marker does not say whether its inks are inverted"
        )
    if image.mode not in _AS_THEY_ARE and image.mode not in _WITH_ALPHA:
        raise NotRgb(
            f"its pixels are of Pillow's mode {image.mode}, which does not say what is black and "
            "what is white; save it as 8-bit RGB or grey"
        )
    return _opaque(image).convert("RGB")


def is_plain(image: Image.Image) -> bool:
    """Return whether an opened image needs no rule but Pillow's own, `convert("RGB")`.

    Its pixels are not decoded for it. Raises NotRgb for some of those that are refused.
    """
    _check_tiff(image)
    without_marker = image.format == "JPEG" and "adobe" not in image.info
    return (
        image.mode in _AS_THEY_ARE
        and not image.has_transparency_data
        and not (image.mode == "CMYK" and without_marker)
    )


def _check_tiff(image: Image.Image) -> None:
    """Raise NotRgb for a TIFF whose values Pillow does not take as its tags say."""
    tags = getattr(image, "tag_v2", None)
    if tags is None or image.format != "TIFF":
        return
    if any(format != _UNSIGNED for format in tags.get(_FORMAT, (_UNSIGNED,))):
        raise NotRgb(
            "its values are signed or of floating point, and what is black and what is white is "
            "not known; save it as 8-bit RGB or grey"
        )
    bits = tags.get(_BITS, (1,))
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO and max(bits) > 8:
        raise NotRgb(f"it has {max(bits)} bits of which 0 is white; save it with 0 for black")


def _from_16_bits(image: Image.Image) -> Image.Image:
    """Return grey of which 65,535 is white; of a TIFF with 12 bits 4,095 is."""
    if image.format not in _WHITE_IS_KNOWN:
        raise NotRgb(f"16-bit grey in {image.format} does not say what is white")
    bits = getattr(image, "tag_v2", {}).get(_BITS, (16,))[0] if image.format == "TIFF" else 16
    values = np.asarray(image)
    if values.min() < 0 or values.max() >= 2**bits:
        raise NotRgb(f"its values, {values.min()} to {values.max()}, are not of {bits} bits")
    if (values == image.info.get("transparency")).any():
        raise NotRgb(_TRANSPARENT)
    return Image.fromarray((values >> (bits - 8)).astype(np.uint8)).convert("RGB")


def _opaque(image: Image.Image) -> Image.Image:
    """Return `image` with an alpha channel that hides nothing. Raises NotRgb for any other."""
    tile = getattr(image, "tile", None)
    if tile and tile[0][3] in _OTHER_DEPTHS:
        raise NotRgb(_TRANSPARENT)
    image = image.convert(_WITH_ALPHA.get(image.mode, "RGBA"))
    if image.getchannel("A").getextrema() != (255, 255):
        raise NotRgb(_TRANSPARENT)
    return image
