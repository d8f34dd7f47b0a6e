"""`bench explain`: which of what a paper leaves open may have made its number."""

import logging
import shlex
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pandas as pd

from bench.cells.lookup import find_results
from bench.cells.request import Request, request_of
from bench.cells.store import Store
from bench.commands.explain_report import plan_in_words, report
from bench.commands.run import run
from bench.config.experiments import outputs_of, run_command, typed_jobs
from bench.config.schema import read_config
from bench.console import put, show_log
from bench.papers.cells import flips_of
from bench.papers.comparison import published_floats
from bench.papers.definition import load_definition
from bench.papers.explanation import (
    Levels,
    Measured,
    Target,
    effects_of,
    match,
    nearest,
    screening,
)
from bench.papers.factors import KEYS, Factor, open_factors
from bench.papers.published import Published, load_published
from bench.papers.records import records
from bench.papers.table import paper_rows
from bench.plots.effects import plot_effects
from bench.tables.table import TableSource
from models.errors import BenchError
from models.registry import did_you_mean

log = logging.getLogger(__name__)

_GROUP = "group=explain"
_MOST = 8
"""Choices that are tried: 16 cells say what each of eight changes, and nine would take 32."""


class _Question(NamedTuple):
    """words: what measures the cell to begin with. stated: what is known of the recipe."""

    title: str
    target: Target
    words: list[str]
    stated: dict[str, object]


def explain(arguments: Namespace) -> int:
    """Measure the recipes of a screening and those nearest to the number; print what was found.

    Returns 1 where a cell fails. Raises BenchError for a number that is not there, or has no cell,
    and where nothing is left open.
    """
    show_log()
    question = _typed(arguments) if arguments.target is not None else _published(arguments)
    request = _request(question.words, arguments)
    if request.config.evaluate.until is not None:
        raise BenchError(
            "bench explain looks at all images of its cells; leave evaluate.until at null, and "
            "give data.limit=N for fewer"
        )
    stated = question.stated | dict.fromkeys(_known(arguments.known), "as it is")
    factors = _with_effect(open_factors(request, stated), question.words, request, arguments)
    if not factors:
        raise BenchError(f"{question.title}: its recipe leaves nothing open that is known here")
    factors, left = factors[:_MOST], factors[_MOST:]
    design = screening(factors)
    for text in plan_in_words(question.title, factors, left, len(design), arguments.confirm):
        log.info(text)
    cells = _Cells(question.words, factors, arguments)
    for number, levels in enumerate(design, start=1):
        log.info("%d of %d, to see what each choice changes:", number, len(design))
        if not cells.measure(levels):
            return 1
    effects = effects_of(cells.done)
    for number in range(1, arguments.confirm + 1):
        recipe = nearest(cells.done, question.target)
        if recipe is None:
            break
        log.info("%d of %d, predicted to be nearest:", number, arguments.confirm)
        if not cells.measure(recipe):
            return 1
    matches = [match(levels, cell, question.target) for levels, cell in cells.done.items()]
    found = report(question.title, question.target, factors, effects, matches, cells.command)
    put("\n".join(found) + "\n", arguments.out)
    if arguments.plot is not None:
        names = [f"{factor.name}: {' -> '.join(factor.levels)}" for factor in factors]
        plot_effects(dict(zip(names, effects, strict=True)), arguments.plot)
    return 0


def _known(keys: str | None) -> list[str]:
    """Raises BenchError for a name that no choice has."""
    known = [] if keys is None else keys.split(",")
    for key in known:
        if key not in KEYS:
            raise BenchError(f"--known {key}: there is no such choice; {did_you_mean(key, KEYS)}")
    return known


def _typed(arguments: Namespace) -> _Question:
    if arguments.names:
        raise BenchError("give the name and the row of a table, or --target and overrides")
    for option, value in (("--target", arguments.target), ("--float", arguments.float_top1)):
        if value is not None and not 0 <= value <= 100:
            raise BenchError(f"{option} {value:g}: top-1 is in percent, 0..100")
    title = f"top-1 of {arguments.target:g} %"
    target = Target(arguments.target, arguments.float_top1)
    return _Question(title, target, list(arguments.overrides), {})


def _published(arguments: Namespace) -> _Question:
    if len(arguments.names) != 2:
        raise BenchError(
            "name a table and a row, as in: bench explain dsg_resnet18 ZeroQ --bits W4A4"
        )
    name, row = arguments.names
    definition, numbers = load_definition(name), load_published()
    source = TableSource([], arguments.overrides, arguments.config_dir)
    rows = records(paper_rows(name, definition, numbers, source).compared)
    of_row = [r for r in rows if isinstance(r["published"], Published) and _is(r, row)]
    if not of_row:
        known = dict.fromkeys(r["published"].row for r in rows)
        raise BenchError(f"{name} has no row {row!r}; {did_you_mean(row, known)}")
    fitting = [r for r in of_row if arguments.bits in (None, _bits(r["published"]))]
    if len(fitting) != 1:
        bits = ", ".join(dict.fromkeys(_bits(r["published"]) for r in of_row))
        raise BenchError(f"{row} of {name} has {len(of_row)} numbers; give one of --bits {bits}")
    (found,) = fitting
    published: Published = found["published"]
    if pd.isna(found["cell"]) or published.metric != "top1":
        raise BenchError(f"{row} of {name}: {found['why'] or 'no top-1'}; it cannot be measured")
    key = published.paper, published.table, published.model
    target = Target(published.value, published_floats(numbers).get(key))
    words = shlex.split(found["command"])[2:]
    words = words[2:] if words[:1] == ["--config-dir"] else words
    stated = published.recipe | {"weights": published.weights}
    return _Question(f"{row} {_bits(published)} of {name}", target, words, stated)


def _is(row: Mapping[Any, Any], name: str) -> bool:
    published = row["published"]
    assert isinstance(published, Published)
    return published.row.casefold() == name.casefold()


def _bits(published: Published) -> str:
    return f"W{published.w_bits}A{published.a_bits}"


def _request(words: Sequence[str], arguments: Namespace) -> Request:
    jobs = typed_jobs(words, multirun=False, user_configs=arguments.config_dir)
    if len(jobs) != 1:
        raise BenchError(f"bench explain begins with one cell, and these words are {len(jobs)}")
    return request_of(read_config(jobs[0][1]))


def _with_effect(
    factors: Sequence[Factor], words: Sequence[str], request: Request, arguments: Namespace
) -> list[Factor]:
    """Return the choices of which both levels can be asked for, and are other cells."""
    useful = []
    for factor in factors:
        try:
            other = _request([*words, *factor.words[1]], arguments)
        except BenchError as error:
            log.debug("%s is no choice here: %s", factor.name, error)
            continue
        if other.id != request.id:
            useful.append(factor)
    return useful


@dataclass(frozen=True)
class _Cells:
    """The recipes that are measured, by their levels. words: what measures level 0 of each."""

    words: Sequence[str]
    factors: Sequence[Factor]
    arguments: Namespace
    done: dict[Levels, Measured] = field(default_factory=dict)

    def measure(self, levels: Levels) -> bool:
        """Measure a recipe, or find it measured; return whether there is a number."""
        configs, words = self.arguments.config_dir, self._typed(levels)
        option = [] if configs is None else ["--config-dir", str(configs)]
        named = any(word.startswith(("group=", "experiment=")) for word in words)
        run([*option, *words, *([] if named else [_GROUP])])
        request = _request(words, self.arguments)
        store = Store(outputs_of(words))
        (result,) = find_results([request], store.results())
        if result is None or result.status != "done":
            log.error("error: %s has no number, and the others say nothing without it", words)
            return False
        right = store.items(result.id).top1
        self.done[levels] = Measured(result.id, right, flips_of(result))
        return True

    def command(self, levels: Levels) -> str:
        """Return what to type for a recipe."""
        return run_command(self._typed(levels), self.arguments.config_dir)

    def _typed(self, levels: Levels) -> list[str]:
        chosen = [f.words[1] for level, f in zip(levels, self.factors, strict=True) if level]
        return [*self.words, *(word for words in chosen for word in words)]
