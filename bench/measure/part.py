"""A part of the evaluation set, where that is enough: how much of it, and what is known already."""

import logging
from typing import Literal, NamedTuple

from torch import nn

from bench.cells.cell import Cell
from bench.cells.result import Result
from bench.config.schema import EvaluateConfig
from bench.data.feed import Feed, ResidentImages, part
from bench.data.listing import random_order
from bench.machine.device import Device
from bench.measure.compilation import Wish
from bench.measure.evaluate import Evaluation, OfWhole, evaluate
from bench.statistics.bets import drop_of, looks, may_be_settled, settled
from bench.statistics.drops import Drop
from bench.tasks.base import Task
from bench.tasks.classification import Correctness
from bench.tasks.parts import joined, placed, sample
from methods.base import Progress
from models.preprocessing import Preparation

log = logging.getLogger(__name__)


class Earlier(NamedTuple):
    """What was evaluated of a cell before. fingerprint: of the set of which it was a part."""

    items: Correctness
    fingerprint: str | None
    logit_mse: float | None


class Part(NamedTuple):
    """How much is to be evaluated.

    until: a number of images, None for all; "resolved": until the drop from `before`, what the
    float network has right, is decided against each of `drops` (points). earlier: what need not
    be evaluated again.
    """

    until: int | Literal["resolved"] | None
    drops: tuple[float, ...] = ()
    tolerance: float = 0.0
    before: Correctness | None = None
    earlier: Earlier | None = None

    def is_settled(self, now: Correctness) -> bool:
        """Return whether what is evaluated decides."""
        assert self.before is not None
        seen = sample(self.before, now)
        if not all(may_be_settled(seen, drop, self.tolerance) for drop in self.drops):
            return False
        found = drop_of(seen)
        return all(settled(found, drop, self.tolerance) for drop in self.drops)


def suffices(result: Result, asked: EvaluateConfig) -> bool:
    """Return whether as many images were evaluated for a result as are asked for."""
    if result.part_of is None or result.total is None:
        return True
    if asked.until != "resolved":
        return asked.until is not None and result.total >= min(asked.until, result.part_of)
    if result.drop_low is None or result.drop_high is None or not asked.drops:
        return False
    drop = Drop((result.drop_low + result.drop_high) / 2, result.drop_low, result.drop_high)
    return all(settled(drop, published, asked.tolerance) for published in asked.drops)


def part_of(cell: Cell, before: Correctness | None, earlier: Earlier | None) -> Part | None:
    """Return the part of its set that a cell is to be evaluated on; None: all, and all anew.

    before: items of the float network, where there is one. What is asked for and cannot be is said.
    """
    asked = cell.request.config.evaluate
    until, name = asked.until, f"{cell.entry.name} {cell.method.name}"
    if cell.spec.is_float:
        if until is not None:
            log.info("%s: evaluated whole, as float networks are", cell.entry.name)
        return None
    if until == "resolved" and not (asked.drops and before is not None):
        why = "no float network to compare with" if before is None else "no published drop is known"
        log.info(
            "%s: evaluated whole: %s; take the experiment of a paper's table, or give "
            "evaluate.published_drop=POINTS",
            *(name, why),
        )
        until = None
    if until is None and earlier is None:
        return None
    return Part(until, asked.drops, asked.tolerance, before, earlier)


def evaluate_part(
    network: nn.Module,
    feed: Feed,
    preprocessing: Preparation,
    device: Device,
    progress: Progress,
    task: Task,
    compile: Wish,
    wanted: Part,
    resident: ResidentImages,
) -> Evaluation:
    """Return as `evaluate`, with the items of all that is evaluated now or was before.

    feed: of the whole set. Batches have the size, and a network is compiled or not, as where all
    images are evaluated, so that what comes of parts is what comes of all.
    """
    total, earlier = len(feed.images), wanted.earlier
    if earlier is not None:
        sizes = earlier.items.seen is not None and len(earlier.items.seen)
        if sizes != total or earlier.fingerprint != feed.images.listing.fingerprint:
            earlier = None  # of a set without other images (data.skip_bad)
    seen = 0 if earlier is None else len(earlier.items.top1)
    goal = min(wanted.until, total) if isinstance(wanted.until, int) else total
    if not seen and goal == total and wanted.until != "resolved":
        if isinstance(wanted.until, int) and wanted.until > total:
            log.info("evaluate.until=%d: all %d images are evaluated", wanted.until, total)
        return evaluate(network, feed, preprocessing, device, progress, task, compile)
    places = random_order(total)[seen : max(goal, seen)]

    def together(items: Correctness) -> Correctness:
        now = placed(items, places[: len(items.top1)], total)
        return now if earlier is None else joined(earlier.items, now)

    ends = [n - seen for n in looks(total) if n > seen] if wanted.until == "resolved" else []
    of_whole = OfWhole(
        feed,
        ends,
        lambda items: wanted.is_settled(together(items)),
        with_logits=earlier is None or earlier.logit_mse is None,
    )
    rest = part(feed, places, device.device, resident)
    found = evaluate(network, rest, preprocessing, device, progress, task, compile, of_whole)
    return found._replace(items=together(found.items))
