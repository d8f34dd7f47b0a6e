"""What `bench compare` says of two cells, in the words of their task."""

from bench.cells.result import Result
from bench.statistics.significance import (
    ALPHA,
    Difference,
    discordant,
    smallest_paired_difference,
    smallest_unpaired_difference,
)
from bench.tasks.base import Items
from bench.tasks.classification import Classification, Correctness


def cell_line(name: str, result: Result, items: Items) -> str:
    """Return the number of a cell with its 95 % interval: `A  80.00 % [71.12, 86.66]  80 of 100`.

    name: what stands first.
    """
    task = result.of_task
    numbers = task.measured(items)
    value = (
        f"{numbers[task.headline.key]:.2f} % [{numbers['ci_low']:.2f}, {numbers['ci_high']:.2f}]"
    )
    if isinstance(task, Classification):
        counts = f"{numbers['correct']:,} of {numbers['total']:,}"
        if result.part_of is not None:
            counts += f", of a set of {result.part_of:,}"
        return f"{name}  {value}  {counts}  {result.label}"
    return f"{name}  {task.headline.title} {value}  {numbers['total']:,} images  {result.label}"


def common_line(first: Result, second: Result, common: Items) -> list[str]:
    """Return a line on the images that are paired, where one of two cells has not seen all."""
    sizes = [result.part_of for result in (first, second) if result.part_of is not None]
    if not sizes:
        return []
    return [
        f"paired on the {len(common.top1):,} images that both have seen, of {sizes[0]:,}; what "
        "follows is for a number of them that was fixed before, not for evaluate.until=resolved"
    ]


def verdict(result: Result, a: Items, b: Items) -> list[str]:
    """Return the lines on the difference of two cells, of which `result` is one."""
    task = result.of_task
    difference = task.compare([a], [b])
    if isinstance(task, Classification):
        return _of_labels(difference, a, b)
    changed, title = task.changed(a, b), task.headline.title
    return [
        f"A - B  {difference.points:+.2f} points of {title} [{difference.low:+.2f}, "
        f"{difference.high:+.2f}], 95 % by paired bootstrap over images",
        f"images on which A and B differ: {changed:,}; bootstrap p {_is(difference.p)}",
        _leader(difference, changed, "A and B find the same on every image"),
        "",
        "images are what is random here; other seeds may differ more",
    ]


def p_text(p: float) -> str:
    """Return a p-value as it is printed."""
    return "<0.0001" if p < 0.0001 else f"{p:.4f}"


def _is(p: float) -> str:
    text = p_text(p)
    return text if text.startswith("<") else f"= {text}"


def _of_labels(difference: Difference, first: Correctness, second: Correctness) -> list[str]:
    a, b = first.top1, second.top1
    only_a, only_b = discordant(a, b)
    images, differ = len(a), 100 * (only_a + only_b) / len(a)
    paired = smallest_paired_difference(images, differ)
    resolves = "no difference" if paired is None else f"{paired:.2f} points"
    unpaired = smallest_unpaired_difference(images, 50 * (a.mean() + b.mean()))
    return [
        f"A - B  {difference.points:+.2f} points [{difference.low:+.2f}, {difference.high:+.2f}], "
        "95 % by paired bootstrap over images",
        f"images that only A has right: {only_a:,}, only B: {only_b:,}; exact McNemar p "
        f"{_is(difference.p)}",
        _leader(difference, only_a + only_b, "A and B are right on the same images"),
        "",
        f"{images:,} images of which {differ:.2f} % tell A and B apart resolve {resolves} "
        f"(unpaired {unpaired:.2f}), at 95 % with a power of 80 %",
        "images are what is random here; other seeds may differ more",
    ]


def _leader(difference: Difference, differ: int, alike: str) -> str:
    """Return who is ahead, and whether that is resolved. alike: what it means that nobody is."""
    if not differ:
        return f"equal: {alike}"
    leader = "A" if difference.points > 0 else "B"
    if difference.p < ALPHA:
        return f"{leader} wins: resolved at 95 %"
    if difference.points == 0:
        return "a draw"
    return f"{leader} is ahead, but unresolved: these images do not tell A and B apart"
