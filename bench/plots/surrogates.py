"""The figure of docs/training.md: what each surrogate does to a gradient.

    python -m bench.plots.surrogates docs/surrogates.svg

The SVG is written by hand: it is the same to the byte wherever it is made, and it follows the
reader's light or dark scheme with a background of its own.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from models.qat.spec import SURROGATES
from models.qat.surrogate import gradient_scale

_POINTS = 101
_COLUMNS = 3
_PANEL = (180, 120)  # pixels, of the plotting area
_PITCH = (235, 190)
_ORIGIN = (70, 78)
_SIZE = (770, 432)
_SIGNS = (("up", 1.0), ("down", -1.0))
_MINUS = "&#8722;"
_FORMULAS = {
    "ste": "1",
    "pbgs": "1 + δ |t|",
    "ewgs": "1 + δ sign(g) t",
    "acos": "1 + δ ½ sin(π t)",
    "tanh": "1 + δ ½ sign(g) tanh(4 t)",
    "invtanh": "1 + δ c sign(g) arctanh(1.9 t)",
}
_STYLE = """\
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.name { font-weight: 600 }
.small { font-size: 11px; fill: #59636e }
.ground { fill: #ffffff }
.frame { fill: none; stroke: #d1d9e0 }
.axis { stroke: #d1d9e0 }
.up, .down { fill: none; stroke-width: 2.5 }
.up { stroke: #0969da }
.down { stroke: #bc4c00; stroke-dasharray: 6 5 }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc }
.small { fill: #a5adb7 }
.ground { fill: #0d1117 }
.frame, .axis { stroke: #3d444d }
.up { stroke: #58a6ff }
.down { stroke: #f0883e }
}"""


def plot_surrogates() -> str:
    """Return an SVG of (scale - 1) / delta against t, one panel a surrogate, for both signs of g.

    t is the distance to the grid point in steps, -0.5..0.5; the variant is `release`.
    """
    width, height = _SIZE
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" '
        'aria-label="Gradient scale of six surrogates against the distance to the grid point">',
        f"<style>\n{_STYLE}\n</style>",
        f'<rect class="ground" width="{width}" height="{height}"/>',
        *_legend(),
    ]
    for index, name in enumerate(SURROGATES):
        parts += _panel(name, index // _COLUMNS, index % _COLUMNS)
    return "\n".join([*parts, "</svg>", ""])


def _legend() -> list[str]:
    y = 26
    return [
        f'<path class="up" d="M70 {y - 4}h36"/>',
        f'<text x="114" y="{y}">g &gt; 0</text>',
        f'<path class="down" d="M180 {y - 4}h36"/>',
        f'<text x="224" y="{y}">g &lt; 0</text>',
        f'<text class="small" x="290" y="{y}">where they coincide, the sign of g does not '
        "matter</text>",
    ]


def _panel(name: str, row: int, column: int) -> list[str]:
    (left, top), (across, down) = _ORIGIN, _PITCH
    left, top = left + column * across, top + row * down
    width, height = _PANEL
    middle, centre = top + height / 2, left + width / 2
    parts = [
        f'<text class="name" x="{left}" y="{top - 24}">{name}</text>',
        f'<text class="small" x="{left}" y="{top - 8}">{_FORMULAS[name]}</text>',
        f'<rect class="frame" x="{left}" y="{top}" width="{width}" height="{height}"/>',
        f'<path class="axis" d="M{left} {middle:g}h{width}M{centre:g} {top}v{height}"/>',
        *(f'<path class="{kind}" d="{_line(name, s, left, top)}"/>' for kind, s in _SIGNS),
    ]
    bottom = top + height + 16
    for label, x in ((f"{_MINUS}½", left), ("0", int(centre)), ("½", left + width)):
        parts.append(_text(label, x, bottom, "middle"))
    if row:
        parts.append(_text("t, in steps", int(centre), bottom + 18, "middle"))
    if not column:
        for label, y in (("½", top + 10), ("0", int(middle) + 4), (f"{_MINUS}½", top + height)):
            parts.append(_text(label, left - 8, y, "end"))
        turned = f"translate({left - 40} {middle:g}) rotate(-90)"
        parts.append(
            f'<g transform="{turned}">{_text(f"(scale {_MINUS} 1) / δ", 0, 0, "middle")}</g>'
        )
    return parts


def _text(content: str, x: int, y: int, anchor: str) -> str:
    return f'<text class="small" text-anchor="{anchor}" x="{x}" y="{y}">{content}</text>'


def _line(name: str, sign: float, left: int, top: int) -> str:
    """Return the path of one curve; both axes span -0.5..0.5."""
    t = torch.linspace(-0.5, 0.5, _POINTS, dtype=torch.float64)
    bend = gradient_scale(name, t, torch.full_like(t, sign), delta=1.0) - 1
    width, height = _PANEL
    pairs = zip(t.tolist(), bend.tolist(), strict=True)
    points = (f"{left + (x + 0.5) * width:.1f} {top + (0.5 - y) * height:.1f}" for x, y in pairs)
    return "M" + "L".join(points)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the figure to the path given on the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.plots.surrogates")
    parser.add_argument("path", type=Path, help="the SVG to write")
    path: Path = parser.parse_args(arguments).path
    path.write_text(plot_surrogates(), encoding="utf-8")


if __name__ == "__main__":
    main()
