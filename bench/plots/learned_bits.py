"""Which layers keep more bits where bits are trained: measured on cells, and drawn.

    python -m bench.plots.learned_bits FIGURE.png outputs/cells/*/mixed.json

What a seminar on Schaefer et al. (WACV 2024) says of their networks is looked at: early layers and
the last one keep more bits, inputs that residual sums arrive at form a path of high precision, and
few bits go with small ranges. Each is a number a cell; printed are their mean and 95 % interval.
"""

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.plots.draw import draw
from bench.statistics.intervals import t_interval
from bench.statistics.ranks import spearman

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Layer = Mapping[str, Any]
"""An entry of `layers` in a `mixed.json`."""

CLAIMS = {
    "early layers keep more bits: correlation of a layer's place with its bits (-1: they do)": (
        "early"
    ),
    "the last layer keeps more bits: its bits less the mean of the others'": "last",
    "residual sums arrive at more bits: bits of such inputs less the mean of the others'": "path",
    "few bits of weights go with small ranges: their correlation (1: they do)": "ranges",
    "few bits of inputs go with small ranges: their correlation (1: they do)": "input_ranges",
}
_NEEDED = ("input_bits", "ranges", "input_ranges")
_BLOCK = re.compile(r"(.*?(?:unit\d+|blocks\.\d+\.\d+|layer\d+\.\d+))\.")
_SHORTCUT = re.compile(r"identity_conv|downsample|shortcut|skip")


def measures(layers: Sequence[Layer]) -> dict[str, float | None]:
    """Return a number a claim, by the values of `CLAIMS`; None where a cell says nothing of it.

    layers: in the order of the network, with bits, input_bits, ranges and input_ranges. Of inputs,
    those of the first layer are left out, which are images.
    """
    bits = [layer["bits"] for layer in layers]
    inputs = layers[1:]
    arriving = [
        x["input_bits"] for x, is_sum in zip(inputs, _reads_sum(inputs), strict=True) if is_sum
    ]
    others = [
        x["input_bits"] for x, is_sum in zip(inputs, _reads_sum(inputs), strict=True) if not is_sum
    ]
    return {
        "early": spearman(range(len(bits)), bits),
        "last": bits[-1] - _mean(bits[:-1]) if len(bits) > 1 else None,
        "path": _mean(arriving) - _mean(others) if arriving and others else None,
        "ranges": spearman([_mean(layer["ranges"]) for layer in layers], bits),
        "input_ranges": spearman(
            [_mean(layer["input_ranges"]) for layer in inputs],
            [layer["input_bits"] for layer in inputs],
        ),
    }


def _reads_sum(layers: Sequence[Layer]) -> list[bool]:
    """Return of each layer whether its input is that of a block: it is the first there, or on a
    shortcut."""
    seen, found = set[str](), []
    for layer in layers:
        name = layer["layer"]
        block = match[1] if (match := _BLOCK.match(name)) else None
        found.append(block is not None and (block not in seen or bool(_SHORTCUT.search(name))))
        seen |= {block} if block else set()
    return found


def report(cells: Sequence[Sequence[Layer]]) -> list[str]:
    """Return a line a claim: how many cells say something, their mean, and its interval."""
    found = [measures(layers) for layers in cells]
    lines = []
    for claim, key in CLAIMS.items():
        values = [value for each in found if (value := each[key]) is not None]
        around = " [{:+.2f}, {:+.2f}]".format(*t_interval(values)) if len(values) > 2 else ""
        mean = f"{_mean(values):+.2f}" if values else "-"
        lines.append(f"{claim}: {mean}{around}, {len(values)} of {len(found)} cells")
    return lines


def plot_learned_bits(cells: Sequence[Sequence[Layer]], path: Path) -> None:
    """Draw bits of weights and inputs by place, and against ranges. cells: of one network."""
    draw(lambda figure: _paint(figure, cells), path, (13, 7))


def _paint(figure: "Figure", cells: Sequence[Sequence[Layer]]) -> None:
    (of_weights, by_range), (of_inputs, by_input_range) = figure.subplots(2, 2, width_ratios=(3, 2))
    layers = cells[0]
    sums = [False, *_reads_sum(layers[1:])]
    colours = ["tab:red" if is_sum else "tab:blue" for is_sum in sums]
    for ax, key, title in ((of_weights, "bits", "weights"), (of_inputs, "input_bits", "inputs")):
        for cell in cells:
            places = range(len(cell))
            ax.scatter(places, [layer[key] for layer in cell], s=9, c="0.75", linewidths=0)
        means = [_mean([cell[at][key] for cell in cells]) for at in range(len(layers))]
        ax.scatter(
            range(len(layers)), means, s=26, c=colours if key == "input_bits" else "tab:blue"
        )
        ax.set(title=f"bits of {title}: cells (grey) and their mean", xlabel="layer", ylabel="bits")
    of_inputs.set_title("bits of inputs; red: those that a residual sum arrives at")
    _against(by_range, cells, "ranges", "bits", 0)
    _against(by_input_range, cells, "input_ranges", "input_bits", 1)


def _against(
    ax: "Axes", cells: Sequence[Sequence[Layer]], ranges: str, bits: str, first: int
) -> None:
    points = [(_mean(layer[ranges]), layer[bits]) for cell in cells for layer in cell[first:]]
    x, y = [x for x, _ in points], [y for _, y in points]
    ax.scatter(x, y, s=9, c="tab:blue", alpha=0.4, linewidths=0)
    ax.set(xscale="log", xlabel="learned range", ylabel="bits")


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the numbers of the cells given on the command line, and draw their figure."""
    parser = argparse.ArgumentParser(prog="python -m bench.plots.learned_bits")
    parser.add_argument("figure", type=Path, help="the PNG to write")
    parser.add_argument("choices", type=Path, nargs="+", help="mixed.json of cells of one network")
    given = parser.parse_args(arguments)
    cells = [json.loads(path.read_bytes())["layers"] for path in given.choices]
    for path, layers in zip(given.choices, cells, strict=True):
        if lacking := next((key for key in _NEEDED if key not in layers[0]), None):
            parser.error(
                f"{path} has no {lacking} of its layers; give cells whose bits are trained"
            )
    plot_learned_bits(cells, given.figure)
    sys.stdout.write("\n".join([*report(cells), ""]))


if __name__ == "__main__":
    main()
