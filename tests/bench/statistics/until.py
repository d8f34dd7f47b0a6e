"""How often a verdict on a part of the images is wrong, and how many images it takes: simulated.

`python -m tests.bench.statistics.until [--plot FILE]` prints the figures of docs/results.md, in two
minutes or so of one core. A population is what a quantized network does on 50,000 images, given by
the float network's top-1, its own, and the share of images that it gains. A published drop lies a
given difference below or above the true one. The images are taken in random order, and the drop is
looked at as `evaluate.until=resolved` does.
"""

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from bench.console import say
from bench.statistics.bets import Sample, drop_of, first_settled
from bench.statistics.intervals import wilson_interval
from bench.statistics.significance import ALPHA

IMAGES = 50_000
TOLERANCES = (0.5, 0.25, 0.1)
DIFFERENCES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
RUNS = 20


class Population(NamedTuple):
    """What a quantized network does on all images; accuracies and shares in percent."""

    images: int
    float_top1: float
    top1: float
    gained: float


# From ResNet-18 at few bits to ResNet-50 at many. The fewer images are lost, the fewer are gained.
POPULATIONS = (
    Population(IMAGES, 71.5, 30.0, 2.0),
    Population(IMAGES, 71.5, 50.0, 3.0),
    Population(IMAGES, 71.5, 65.0, 3.5),
    Population(IMAGES, 71.5, 70.5, 3.0),
    Population(IMAGES, 77.5, 72.0, 3.0),
    Population(IMAGES, 79.0, 78.0, 2.0),
)


def outcomes(population: Population, generator: np.random.Generator) -> Sample:
    """Return all images of a population in random order."""
    images, *shares = population
    right, kept, gained = (round(share * images / 100) for share in shares)
    lost = right - kept + gained
    change = np.zeros(images, dtype=np.int8)
    change[:lost], change[right : right + gained] = 1, -1
    order = generator.permutation(images)
    return Sample(change[order], (np.arange(images) < right)[order], right, images)


def judged(drawn: Sample, published: float, tolerance: float) -> tuple[int, str]:
    """Return after how many images the verdict on a published drop is decided, and which it is."""
    for share in (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1):  # what is not needed is not calculated
        n = int(share * drawn.total)
        seen = Sample(drawn.change[:n], drawn.right[:n], drawn.total_right, drawn.total)
        images = first_settled(seen, published, tolerance)
        if images is not None:
            break
    images = images or drawn.total
    found = drop_of(Sample(drawn.change[:images], drawn.right[:images], *drawn[2:]))
    low, high = found.low - published, found.high - published
    return images, "off" if low > tolerance or high < -tolerance else "reproduced"


def looked_at_once(population: Population, distance: float, power: float = 0.8) -> float:
    """Return what share of the images, in percent, a test takes that looks but once, after as many
    as it needs to decide with `power` that the drop is `distance` points beyond a tolerance.

    It is told the variance, that of the changes within the float network's right and wrong images,
    and has the same share of wrong verdicts. Size of a sample without replacement: Cochran,
    "Sampling Techniques" (1977), 4.6.
    """
    float_right, gained = population.float_top1 / 100, population.gained / 100
    lost = (population.float_top1 - population.top1) / 100 + gained
    of_right, of_wrong = lost / float_right, gained / (1 - float_right)
    variance = lost * (1 - of_right) + gained * (1 - of_wrong)
    z = NormalDist().inv_cdf(1 - ALPHA / 2) + NormalDist().inv_cdf(power)
    replaced = variance * (z / (distance / 100)) ** 2
    return 100 * replaced / (replaced + population.images)


class Row(NamedTuple):
    """What became of the verdicts at one difference; shares of the images, in percent."""

    difference: float
    runs: int
    wrong: int
    shares: list[float]


def simulate(tolerance: float, runs: int, seed: int = 0) -> list[Row]:
    """Return a row a difference: `runs` orders of each population, half of them below the truth."""
    generator, rows = np.random.default_rng(seed), []
    for difference in DIFFERENCES:
        shares, wrong = [], 0
        for population in POPULATIONS:
            drop = population.float_top1 - population.top1
            # The edge of the tolerance belongs to it: rounding must not decide what is right.
            wanted = "reproduced" if difference <= tolerance + 1e-9 else "off"
            for run in range(runs):
                published = drop + (difference if run % 2 else -difference)
                drawn = outcomes(population, generator)
                images, verdict = judged(drawn, published, tolerance + 1e-9)
                shares.append(100 * images / population.images)
                wrong += verdict != wanted
        rows.append(Row(difference, len(shares), wrong, shares))
    return rows


def main(arguments: Sequence[str]) -> None:
    """Print the tables, and draw them where --plot says."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS, help="orders of each population")
    parser.add_argument("--plot", type=Path, help="where to draw the shares")
    options = parser.parse_args(arguments)
    every = {tolerance: simulate(tolerance, options.runs) for tolerance in TOLERANCES}
    say("| tolerance | difference | verdicts | wrong | images, % | middle half |")
    say("|---:|---:|---:|---:|---:|---|")
    for tolerance, rows in every.items():
        for row in rows:
            quarter, three = np.percentile(row.shares, [25, 75])
            say(
                f"| {tolerance:g} | {row.difference:g} | {row.runs} | {row.wrong} | "
                f"{np.mean(row.shares):.1f} | {quarter:.1f} to {three:.1f} |"
            )
    for tolerance, rows in every.items():
        count, wrong = sum(row.runs for row in rows), sum(row.wrong for row in rows)
        low, high = wilson_interval(wrong, count)
        say(f"tolerance {tolerance:g}: {wrong} of {count} wrong, {100 * wrong / count:.1f} %")
        say(f"  [{low:.1f}, {high:.1f}]")
        for least, words in ((1.0, "from published"), (1.0 + tolerance, "beyond the tolerance")):
            far = [share for row in rows if row.difference >= least - 1e-9 for share in row.shares]
            say(f"  1 point or more {words}: {np.mean(far):.1f} % of the images")
        once = [
            looked_at_once(population, difference - tolerance)
            for population in POPULATIONS
            for difference in DIFFERENCES
            if difference >= 1
        ]
        say(f"  looked at once, 80 % decided: {np.mean(once):.1f} % from published")
    if options.plot is not None:
        draw_shares(every, options.plot)


def draw_shares(every: dict[float, list[Row]], path: Path) -> None:
    """Draw the mean share of the images over the difference, a line a tolerance."""
    from bench.plots.draw import draw

    def paint(figure) -> None:
        ax = figure.subplots()
        for tolerance, rows in every.items():
            means = [float(np.mean(row.shares)) for row in rows]
            ax.plot(DIFFERENCES, means, marker="o", label=f"tolerance {tolerance:g}")
        ax.axhline(15, color="0.6", linestyle="--", linewidth=0.8)
        ax.set(xlabel="true drop from the published one, points", ylabel="images evaluated, %")
        ax.set_ylim(0, 105)
        ax.grid(color="0.92")
        ax.legend(frameon=False)

    draw(paint, path, (6.0, 3.4), dpi=110)


if __name__ == "__main__":
    main(sys.argv[1:])
