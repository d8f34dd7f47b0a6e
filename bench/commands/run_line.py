"""The command line of `bench run`: flags of Hydra's and overrides, in any order."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bench.config.experiments import check_one_experiment
from bench.config.files import check_user_configs
from bench.config.words import as_hydra_reads, check_words
from models.errors import BenchError


class Line(NamedTuple):
    """What is typed after `bench run`.

    args: for Hydra, flags first: its parser takes overrides on one side of them.
    overrides: among them. user_configs: the folder of the user's own configs.
    dry: whether nothing is to be measured. only_prints: whether Hydra is to print something.
    """

    args: list[str]
    overrides: list[str]
    user_configs: Path | None
    multirun: bool
    dry: bool
    asks_for_help: bool
    only_prints: bool


def read_line(args: Sequence[str]) -> Line:
    """Return what `args` say, with quotes around texts that need them.

    Raises BenchError for an unknown flag, a word that is no override, several experiments, and a
    folder of configs that is not there.
    """
    from hydra._internal.utils import get_args_parser

    given = [arg for arg in args if arg != "--dry-run"]
    parser = get_args_parser()
    parser.prog = "bench run"
    typed, unknown = parser.parse_known_intermixed_args(given)
    if unknown:
        hint = (
            f"did you mean {unknown[0].lstrip('-')}?" if "=" in unknown[0] else "see --hydra-help"
        )
        raise BenchError(f"unknown flag {unknown[0]}; {hint}")
    user_configs = None if typed.config_dir is None else Path(typed.config_dir)
    if user_configs is not None:
        check_user_configs(user_configs)
    check_words(typed.overrides, user_configs)
    check_one_experiment(typed.overrides, user_configs)
    flags = list(given)
    for override in typed.overrides:
        flags.remove(override)
    overrides = list(map(as_hydra_reads, typed.overrides))
    return Line(
        args=[*flags, *overrides],
        overrides=overrides,
        user_configs=user_configs,
        multirun=typed.multirun,
        dry="--dry-run" in args,
        asks_for_help=typed.help,
        only_prints=any((typed.cfg, typed.info, typed.hydra_help, typed.shell_completion)),
    )
