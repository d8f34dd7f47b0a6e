"""The colour of a method: the same in every figure, and that of the dashboard on light ground."""

from collections.abc import Iterable
from math import cos, radians, sin

NAMED = (
    *("gaussian", "real", "zeroq", "dsg", "adabits", "coquant", "dfq", "individual", "dq"),
    *("joint", "any_precision", "bit_mixer"),
)
"""Methods that have a place in the palette of their own, in its order."""

PALETTE = (
    *("#0068a8", "#c75000", "#00805e", "#a3478a", "#8a6a00", "#4440b0"),
    *("#b0343c", "#525a66", "#00808a", "#7b4a1e", "#7a1fa2", "#557a00"),
)
FLOAT, FLOAT_COLOUR = "float", "#5a626c"
_LIGHTNESS, _CHROMA, _TURN = 0.48, 0.14, 137.5


def colours_of(methods: Iterable[str]) -> dict[str, str]:
    """Return a colour for each method, as #rrggbb.

    Those that are not `NAMED` take what these leave of the palette, in the order of names; colours
    beyond it are calculated. bench/dashboard/assets/data.js does the same.
    """
    names = sorted(set(methods) - {FLOAT})
    places = {name: NAMED.index(name) for name in names if name in NAMED}
    left = [place for place in range(len(PALETTE)) if place not in places.values()]
    found = {FLOAT: FLOAT_COLOUR} | {name: PALETTE[place] for name, place in places.items()}
    for turn, name in enumerate(name for name in names if name not in places):
        found[name] = PALETTE[left[turn]] if turn < len(left) else _oklch(turn * _TURN % 360)
    return found


def _oklch(hue: float) -> str:
    """Return a colour of the hue (degrees) in OKLCH; source: B. Ottosson, "Oklab", 2020."""
    a, b = _CHROMA * cos(radians(hue)), _CHROMA * sin(radians(hue))
    long = (_LIGHTNESS + 0.3963377774 * a + 0.2158037573 * b) ** 3
    middle = (_LIGHTNESS - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (_LIGHTNESS - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short,
    )
    return "#" + "".join(f"{round(255 * _gamma(min(max(x, 0.0), 1.0))):02x}" for x in linear)


def _gamma(linear: float) -> float:
    return 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055
