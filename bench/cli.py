"""The `bench` command. Nothing heavy is imported before a sub-command needs it."""

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from bench.arguments import parser
from bench.config.files import check_user_configs
from bench.console import flush, flush_or_drop, prepare_streams
from bench.machine.children import import_last_from
from models.errors import BenchError


def command() -> NoReturn:
    """Run the process's own command line and end the process: what the installed `bench` calls."""
    status = main()
    flush_or_drop()
    sys.exit(status)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; return its exit status: 0, 1 (a cell failed) or 2 (bad input)."""
    args = list(sys.argv[1:] if argv is None else argv)
    prepare_streams()
    try:
        import_last_from(_folder())
        if args[:1] == ["run"]:
            # Hydra parses these itself, flags such as -m and --cfg included.
            from bench.commands.run import run

            return run(args[1:])
        options, rest = parser().parse_known_args(args)
        # argparse cannot tell an override from a name.
        names: list[str] = getattr(options, "names", [])
        options.names = [word for word in names if "=" not in word]
        options.overrides = _overrides([*(word for word in names if "=" in word), *rest])
        if getattr(options, "config_dir", None) is not None:
            check_user_configs(options.config_dir)
        status: int = options.action(options)
        flush()
        return status
    except BenchError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; finished cells are kept\n")
        return 130


def _folder() -> str:
    """Return where the command is typed: a user's own modules are found there."""
    try:
        return os.getcwd()  # noqa: PTH109
    except OSError as error:
        raise BenchError(
            "the folder that this was started in is gone; change to another"
        ) from error


def _overrides(rest: Sequence[str]) -> list[str]:
    """Return what argparse left over, which must be config overrides (key=value)."""
    for word in rest:
        if word.startswith("-") or "=" not in word:
            raise BenchError(f"unknown argument {word!r}; overrides look like key=value")
    if not rest:
        return []
    from bench.config.words import as_hydra_reads

    return list(map(as_hydra_reads, rest))
