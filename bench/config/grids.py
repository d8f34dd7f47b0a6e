"""The jobs of a sweep: every combination of the listed values, of one grid or of several.

Plain lists of values are taken apart here, any other by Hydra's parser, which is slow to import.
"""

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.config.shards import jobs_of_shard, without_shard
from bench.config.words import as_hydra_reads, parsed, unreadable
from models.errors import BenchError

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

_LINE = re.compile(r"(?P<key>[A-Za-z_][\w/.@]*)=(?P<values>[^=]+)")
_WORD = re.compile(r"(\.{0,2}/)?[A-Za-z_]((\\? )*[\w/.+%-])*|0|-?[1-9]\d*")
_NUMBER = r"(?:0|[1-9]\d*)(?:\.\d+)?"
_NUMBERS = re.compile(rf"\[\d+(?:,\d+)*\]|\{{[a-z_]+:{_NUMBER}(?:,[a-z_]+:{_NUMBER})*\}}")
_BOOLEANS = {"true": "True", "false": "False"}
_NUMBER_WORDS = ("null", "nan", "inf")
_FLOAT = "quant=fp32"


def jobs_of(
    overrides: Sequence[str],
    params: Mapping[str, Any] | None = None,
    user_configs: Path | None = None,
) -> list[list[str]]:
    """Return the overrides of every job of a multirun, in Hydra's order.

    params: lists an experiment sweeps by itself (hydra.sweeper.params); `overrides`, as typed,
    win over them.

    Raises BenchError for a sweep of a kind without a fixed list of jobs.
    """
    lines = [*_lines(params or {}), *overrides]
    return [list(job) for job in itertools.product(*_choices(lines, user_configs).values())]


def jobs_of_grids(
    grids: Sequence[Mapping[str, Any]],
    overrides: Sequence[str],
    user_configs: Path | None = None,
) -> list[list[str]]:
    """Return the jobs of several grids one after the other, each job once.

    grids: a list of values for each of their keys.
    overrides: as typed. A value that one of the grids has narrows those with its key to it; any
        other replaces their values. What no grid has a key for is part of every job.

    Raises BenchError as `jobs_of`.
    """
    by_grid = [_choices(_lines(grid), user_configs) for grid in grids]
    typed = _choices(overrides, user_configs)
    jobs = [
        job
        for choices in by_grid
        for job in itertools.product(*_typed_into(choices, typed, by_grid))
    ]
    return [list(job) for job in dict.fromkeys(jobs)]


def jobs_of_sweep(
    grids: Sequence[Mapping[str, Any]],
    params: Mapping[str, Any],
    overrides: Sequence[str],
    user_configs: Path | None = None,
) -> list[list[str]]:
    """Return the jobs of `grids`, or without any of the lists in `params`; see above.

    overrides: as typed; `shard=I/N` among them leaves the jobs of that shard. With `quant=fp32`
        the lists for values of the quantizer, a budget for instance, have no part in them.
    """
    lines, shard = without_shard(overrides)
    if _FLOAT in lines:
        grids, params = [_without_quantizer(grid) for grid in grids], _without_quantizer(params)
    if grids:
        lines = [*_lines(params), *lines]
        jobs = jobs_of_grids(grids, lines, user_configs)
    else:
        jobs = jobs_of(lines, params, user_configs)
    return jobs if shard is None else jobs_of_shard(jobs, shard)


def _without_quantizer(lists: Mapping[str, Any]) -> dict[str, Any]:
    return {key: values for key, values in lists.items() if not key.startswith("quant.")}


def with_choices(args: Sequence[str], user_configs: Path | None = None) -> list[str]:
    """Return `args` of a multirun so that values of a swept group are part of each job alone.

    Hydra composes what is not swept before it takes the lists apart, and would look for
    `method.schedule.epochs` of `method=individual,coquant method.schedule.epochs=5` in the default
    method.
    """
    if not {"-m", "--multirun"} & set(args):
        return list(args)
    plain = [arg for arg in args if "=" in arg and not arg.startswith("-")]
    count = {arg: len(jobs_of([arg], user_configs=user_configs)) for arg in plain}
    several = {arg.partition("=")[0] for arg in plain if count[arg] > 1}
    return [
        f"{key}=choice({value})"
        if key.split(".")[0] in several and "." in key and count.get(arg) == 1
        else arg
        for arg in args
        for key, _, value in [arg.partition("=")]
    ]


def _lines(lists: Mapping[str, Any]) -> list[str]:
    """Return lists of values of a YAML file as they would be typed."""
    return [f"{key}={'null' if value is None else value}" for key, value in lists.items()]


def _typed_into(
    choices: dict[str, list[str]], typed: dict[str, list[str]], grids: list[dict[str, list[str]]]
) -> list[list[str]]:
    elsewhere = {key for grid in grids for key in grid} - choices.keys()
    listed = {value for grid in grids for values in grid.values() for value in values}
    kept = {
        key: [
            value
            for value in values
            if key not in choices or value in choices[key] or value not in listed
        ]
        for key, values in typed.items()
        if key not in elsewhere
    }
    return list((choices | kept).values())


def _choices(lines: Iterable[str], user_configs: Path | None) -> dict[str, list[str]]:
    """Return the values of each key as `key=value`; of two lines for one key the later counts."""
    choices: dict[str, list[str]] = {}
    for line in map(as_hydra_reads, lines):
        key, values = _plain(line) or _listed(line, user_configs)
        choices[key] = [f"{key}={value}" for value in values]
    return choices


def _plain(line: str) -> tuple[str, list[str]] | None:
    """Return the key and the values of `key=word,word`, `key=[1,2],[3]` or `key={a:1},{a:2}`; None
    for others.
    """
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    several = _NUMBERS.findall(match["values"])
    if several and ",".join(several) == match["values"] and None not in map(numbers_in, several):
        return match["key"], several
    values = [written(word) for word in match["values"].split(",")]
    plain = [value for value in values if value is not None]
    return (match["key"], plain) if len(plain) == len(values) else None


def numbers_in(word: str) -> list[int] | dict[str, float] | None:
    """Return what `[1,2]` or `{a:1,b:2.5}` stands for; None for anything else."""
    if not _NUMBERS.fullmatch(word):
        return None
    parts = word[1:-1].split(",")
    if word[0] == "[":
        return [int(part) for part in parts]
    pairs = [part.split(":") for part in parts]
    usual = all("." not in number or _is_decimal(number) for _, number in pairs)
    return {n: float(x) if "." in x else int(x) for n, x in pairs} if usual else None


def written(word: str) -> str | None:
    """Return how Hydra writes the value `word` when it has read it; None where it may be quoting,
    a function, or a number in another than the usual form.
    """
    lower = word.lower()
    if lower in _BOOLEANS:
        return _BOOLEANS[lower]
    if lower in _NUMBER_WORDS:
        return word if word == "null" else None
    if _WORD.fullmatch(word):
        return re.sub(r"(?<!\\) ", r"\\ ", word)
    return word if _is_decimal(word) else None


def _is_decimal(word: str) -> bool:
    try:
        return "inf" not in word and str(float(word)) == word
    except ValueError:
        return False


def _listed(line: str, user_configs: Path | None) -> tuple[str, list[str]]:
    override = parsed(line, user_configs)
    if override is None:
        raise unreadable(line)
    return override.get_key_element(), _values(override)


def _values(override: "Override") -> list[str]:
    if not override.is_sweep_override():
        return [override.get_value_element_as_str()]
    if not override.is_discrete_sweep():
        raise BenchError(f"{override.input_line}: give a list of values, not an interval")
    values = list(override.sweep_string_iterator())
    if not values:
        raise BenchError(f"{override.input_line} lists nothing; `bench ls` says what there is")
    return values
