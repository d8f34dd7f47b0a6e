import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from bench.plots.colours import FLOAT_COLOUR, NAMED, PALETTE, colours_of

ASSETS = Path(__file__).parents[3] / "bench" / "dashboard" / "assets"


def test_colours_are_those_of_the_dashboard() -> None:
    (listed,) = re.findall(r"const COLOURS = (\[.*?\]);", (ASSETS / "data.js").read_text())
    assert json.loads(listed) == list(NAMED)
    style = (ASSETS / "style.css").read_text()
    series = re.findall(r"--series-(\d+): light-dark\((#\w+),", style)
    assert series == [(str(place), colour) for place, colour in enumerate(PALETTE)]
    assert f"--muted: light-dark({FLOAT_COLOUR}," in style


def test_a_named_method_has_its_colour_and_others_take_what_is_left_by_name() -> None:
    assert colours_of(["zeroq", "haq", "real", "autoq", "zeroq", "float"]) == {
        **{"float": FLOAT_COLOUR, "real": PALETTE[1], "zeroq": PALETTE[2]},
        **{"autoq": PALETTE[0], "haq": PALETTE[3]},
    }
    assert colours_of(["zeroq"])["zeroq"] == colours_of([*NAMED])["zeroq"]


def test_colours_beyond_the_palette_are_calculated() -> None:
    many = colours_of(f"method{place:02}" for place in range(15))
    assert [many[f"method{place:02}"] for place in range(12)] == list(PALETTE)
    assert len(set(many.values())) == 16
    # oklch(0.48 0.14 347.5): 13 turns of 137.5 degrees.
    lightness, chroma, hue = _oklch_of(many["method13"])
    assert (lightness, chroma) == pytest.approx((0.48, 0.14), abs=0.002)
    assert hue == pytest.approx(13 * 137.5 % 360, abs=1)


def _oklch_of(colour: str) -> tuple[float, float, float]:
    """By the matrices from linear sRGB to Oklab, as they were published."""
    srgb = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    to_lms = [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
    to_lab = [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
    lightness, a, b = np.array(to_lab) @ np.cbrt(np.array(to_lms) @ linear)
    return lightness, math.hypot(a, b), math.degrees(math.atan2(b, a)) % 360
