"""`bench run --dry-run`: what would be measured, and what that takes; no cell is written."""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.cells.cell import Cell, plan
from bench.cells.differences import differences, typed_values
from bench.cells.recipe import recipe_of
from bench.cells.request import request_of
from bench.cells.result import Result
from bench.cells.store import Store
from bench.commands.run_line import Line
from bench.config.experiments import typed_jobs
from bench.config.launchers import prefer_own_defaults
from bench.config.schema import read_config
from bench.console import say
from bench.data.listings import Listings
from bench.files.entry import CacheEntry
from bench.files.kinds import CALIBRATION, TRAINING
from bench.machine.device import check_device
from bench.measure.run import known_result
from bench.sweep.forecast import Estimate, Planned, forecast, kind_of
from bench.sweep.journal import readable
from bench.sweep.published import with_published_drop
from bench.training.host import check_machines
from models.errors import BenchError


def dry_run(line: Line) -> int:
    """Print how many cells there are, and the time and memory of those that would be measured.

    Return 1 when one of them is impossible, else 0. Raises BenchError when one does not compose.
    """
    prefer_own_defaults()
    counts: Counter[str] = Counter()
    refused: dict[str, list[str]] = {}  # jobs by what is said of them
    left: list[Cell] = []
    words: dict[str, set[str]] = {}  # by id of a cell: in which it differs from others
    listings = Listings()
    asked = typed_jobs(line.overrides, line.multirun, line.user_configs)
    differing = differences([typed_values(job) for job, _ in asked])
    for (job, composed), its_words in zip(asked, differing, strict=True):
        try:
            config = read_config(composed)
            cell = plan(with_published_drop(request_of(config), job), listings)
            result = known_result(cell)
            if result is None:
                check_machines(config.runtime)
                check_device(config.runtime.device)
        except (BenchError, OSError) as error:
            refused.setdefault(str(error), []).append(" ".join(job))
            continue
        if result is None:
            left.append(cell)
            words[cell.id] = set(its_words)
        counts["left" if result is None else result.status] += 1
    earlier = _earlier({_outputs(cell) for cell in left})
    failed = sum(map(_failed, left))
    references = _references(left)
    impossible = sum(map(len, refused.values()))
    for text in _summary(counts, failed, impossible, len(references)):
        say(text)
    if (left or refused) and (varying := _varying(differing)):
        say(f"varying: {varying}")
    planned = [_planned(cell, earlier) for cell in [*references, *left]]
    for text in _costs(forecast(_distinct(planned, words), earlier)):
        say(text)
    for reason, jobs in refused.items():
        several = f"{len(jobs)} cells, the first: " if len(jobs) > 1 else ""
        say(f"error: {reason} ({several}{jobs[0]})")
    return 1 if refused else 0


def _earlier(stores: set[Path]) -> list[Result]:
    return [result for outputs in sorted(stores) for result in Store(outputs).results()]


def _outputs(cell: Cell) -> Path:
    return cell.request.config.paths.outputs


def _failed(cell: Cell) -> bool:
    try:
        result = Store(_outputs(cell)).read(cell.id)
    except BenchError:  # altered, so it is measured again
        return False
    return result is not None and result.status == "failed"


def _references(left: Sequence[Cell]) -> list[Cell]:
    """Return the float cells that are measured on the way, each once."""
    floats = {cell.id: cell for cell in (cell.as_float() for cell in left if cell.needs_float)}
    for cell in left:
        floats.pop(cell.id, None)
    return [cell for cell in floats.values() if known_result(cell) is None]


def _varying(differing: Sequence[Sequence[str]]) -> str:
    """Return the values of each key that varies, as one would type them."""
    values: dict[str, dict[str, None]] = {}
    for word in itertools.chain.from_iterable(differing):
        key, _, value = word.partition("=")
        values.setdefault(key, {})[value] = None
    return " ".join(f"{key}={','.join(of_key)}" for key, of_key in values.items())


def _distinct(planned: Sequence[Planned], words: Mapping[str, set[str]]) -> list[Planned]:
    """Return `planned`, each with what its kind alone has in its name."""
    of_kind: dict[str, set[str]] = {}
    for cell in planned:
        own = words.get(cell.id, set())
        of_kind[cell.kind] = of_kind.get(cell.kind, own) & own

    def named(cell: Planned) -> str:
        said = {
            f"{key}={value}"
            for key, value in zip(("model", "data", "method"), cell.name.split(), strict=False)
        }
        return " ".join([cell.name, *sorted(of_kind[cell.kind] - said)])

    return [cell._replace(name=named(cell)) for cell in planned]


def _planned(cell: Cell, earlier: Sequence[Result]) -> Planned:
    name = f"{cell.entry.name} {cell.listing.name} {cell.method.name}"
    bits = cell.spec.w_bits, cell.spec.a_bits
    shared = _shared(cell, _outputs(cell) / "cache", earlier)
    return Planned(cell.id, name, kind_of(cell.entry.name, recipe_of(cell)), bits, shared)


def _shared(cell: Cell, caches: Path, earlier: Sequence[Result]) -> dict[str, str | None]:
    from bench.training.cache import training_key
    from methods.training.base import TrainedMethod

    images, shared = cell.calibration_key, dict[str, str | None]()
    if cell.method.image_method.cached:
        kept = CacheEntry(caches, CALIBRATION, images).is_whole
        shared["synthesise"] = None if kept else images
    if cell.spec.is_mixed and not cell.method.chooses_bits:
        kept = any(r.calibration_key == images and r.w_bits == "mixed" for r in earlier)
        shared["sensitivity"] = None if kept else images
    if isinstance(cell.method, TrainedMethod):
        key = training_key(cell, cell.method)
        kept = CacheEntry(caches, TRAINING, key).is_whole
        shared["train"] = None if kept else key
    return shared


def _summary(counts: Counter[str], failed: int, refused: int, references: int) -> list[str]:
    parts = [f"{counts['done']} done"]
    parts += [f"{counts['skipped']} skipped"] if counts["skipped"] else []
    parts += [f"{refused} impossible"] if refused else []
    again = f" ({failed} failed before and {'is' if failed == 1 else 'are'} tried again)"
    parts.append(f"{counts['left']} to measure{again if failed else ''}")
    total = counts.total() + refused
    lines = [f"{total} cell{'' if total == 1 else 's'}: {', '.join(parts)}"]
    if references:
        several = "s" if references > 1 else ""
        lines.append(f"besides, {references} float cell{several} that they are compared with")
    return lines


def _costs(estimates: Sequence[Estimate]) -> list[str]:
    """Return a line on the time of all and one on memory, then one a kind."""
    if not estimates:
        return []
    costs = [seconds for one in estimates if (seconds := _seconds(one)) is not None]
    unknown = sum(one.cells for one in estimates if one.cells_seconds is None)
    time = f"{'at least' if unknown else 'about'} {readable(sum(costs))}" if costs else "unknown"
    peaks = [one.peak_memory_bytes for one in estimates if one.peak_memory_bytes is not None]
    memory = f"up to {max(peaks) / 2**30:.1f} GiB" if peaks else "unknown"
    return [
        f"time, one cell after the other: {time}",
        f"memory of a process: {memory}",
        *map(_of_kind, estimates),
    ]


def _seconds(estimate: Estimate) -> float | None:
    if estimate.cells_seconds is None or estimate.shared_seconds is None:
        return None
    return estimate.cells_seconds + estimate.shared_seconds


def _of_kind(estimate: Estimate) -> str:
    several = "" if estimate.cells == 1 else "s"
    what = [f"{estimate.cells} cell{several}"]
    what += [f"{count} x {phase}" for phase, count in estimate.shared.items()]
    seconds = _seconds(estimate)
    time = "unknown" if seconds is None else readable(seconds)
    return f"  {estimate.name}: {' and '.join(what)}, {time}; {estimate.basis}"
