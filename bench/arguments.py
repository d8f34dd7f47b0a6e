"""What can be typed behind `bench`: each command, its arguments and the function it calls."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

_EPILOG = """examples:
  bench run model=resnet20 data=mnist5k method=zeroq quant=w4a4      one cell
  bench run -m method=gaussian,zeroq,real quant.w_bits=8,4,3 seed=0,1,2
  bench run -m experiment=demo                                       a sweep kept as a config
  bench table demo                                                   what it measured
Every command takes config overrides such as paths.outputs=DIR; `bench run --help` lists them."""

_LISTABLE = ["models", "methods", "quant", "recipes", "data", "experiments", "tables"]


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands but for what `bench run` hands to Hydra."""
    whole = argparse.ArgumentParser(
        prog="bench",
        description="Benchmark data-free and low-bit quantization of image classifiers.",
        epilog=_EPILOG,
        formatter_class=_Help,
    )
    whole.add_argument("--version", action="version", version=_version())
    commands = whole.add_subparsers(metavar="COMMAND", required=True)
    for add in (_measuring, _reading, _judging, _publishing, _maintaining):
        add(commands)
    return whole


def _measuring(commands: _Commands) -> None:
    run = commands.add_parser("run", help="measure one cell, or with -m many", add_help=False)
    run.set_defaults(action=None)

    rerun = commands.add_parser("rerun", help="repeat a cell and compare its number")
    rerun.add_argument("id", metavar="ID", help="of a cell, or its first characters")
    rerun.set_defaults(action=_lazy("bench.commands.rerun", "rerun"))

    join = commands.add_parser("join", help="take part in trainings of a run on another machine")
    join.add_argument("address", metavar="HOST:PORT", help="runtime.address of that run")
    join.add_argument("--machine", type=int, required=True, metavar="K", help="which one: 1, 2, ..")
    join.add_argument(
        "--wait", type=float, default=600.0, metavar="SECONDS", help="for that run, 600 if not"
    )
    join.set_defaults(action=_lazy("bench.commands.join", "join"))

    train = commands.add_parser("train", help="train a network of the zoo on its small data set")
    train.set_defaults(action=_lazy("bench.commands.train", "train"))

    validate = commands.add_parser("validate", help="compose every experiment, name what is wrong")
    validate.add_argument("experiment", nargs="*", help="only these")
    validate.set_defaults(action=_lazy("bench.commands.validate", "validate"))
    _with_configs(validate)

    latency = commands.add_parser("latency", help="what each layer takes here, as a table")
    latency.add_argument("--out", type=Path, required=True, metavar="FILE", help="ends in .csv")
    latency.add_argument(
        "--images", type=int, default=16, metavar="N", help="so many at once, 16 if not"
    )
    latency.add_argument(
        "--seconds", type=float, default=0.5, metavar="S", help="for each layer, 0.5 if not"
    )
    latency.set_defaults(action=_lazy("bench.commands.latency", "latency"))


def _reading(commands: _Commands) -> None:
    ls = commands.add_parser("ls", help="list what can be named")
    ls.add_argument("what", type=_plural, choices=_LISTABLE)
    ls.set_defaults(action=_lazy("bench.commands.ls", "ls"))
    _with_configs(ls)

    status = commands.add_parser("status", help="how many cells are measured")
    status.add_argument("--experiment", metavar="NAME")
    status.set_defaults(action=_lazy("bench.commands.status", "status"))
    _with_configs(status)

    table = commands.add_parser("table", help="a paper's table, or what was measured")
    table.add_argument(
        "names",
        metavar="NAME",
        nargs="+",
        help="of a table, an experiment, a group or a CSV file; of several, all cells",
    )
    table.add_argument("--format", choices=["text", "md", "csv", "latex", "html"], default="text")
    table.add_argument("--missing", action="store_true", help="commands for what is not run, only")
    table.add_argument(
        "--show",
        metavar="NUMBERS",
        default="top1",
        help="which, as in top1,logit_mse,size_mb,quantize_seconds",
    )
    table.add_argument(
        "--sort", metavar="NUMBER", help="a line each, by bops, say; downwards --sort=-top1"
    )
    table.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw it too, a dot a seed, as a PNG"
    )
    table.add_argument(
        "--against", metavar="COST", help="with --plot: accuracy against size_mb, bops, .."
    )
    table.set_defaults(action=_lazy("bench.commands.table", "table"))

    ledger = commands.add_parser("ledger", help="what of each paper is reproduced")
    ledger.add_argument("--format", choices=["text", "md", "html"], default="text")
    ledger.set_defaults(action=_lazy("bench.commands.ledger", "ledger"))
    for view in (table, ledger):
        view.add_argument("--from", dest="source", metavar="wandb:ENTITY/PROJECT", help="W&B runs")
        view.add_argument(
            "--out", type=Path, metavar="FILE", help="write there, not to the terminal"
        )
        _with_configs(view)

    recipe = commands.add_parser("recipe", help="one recipe as a card, or where two differ")
    recipe.add_argument("first", metavar="ID", help="of a cell, or the name of a recipe preset")
    recipe.add_argument("second", metavar="ID", nargs="?")
    recipe.set_defaults(action=_lazy("bench.commands.recipe", "recipe"))
    _with_configs(recipe)


def _judging(commands: _Commands) -> None:
    export = commands.add_parser("export", help="a finished cell as an ONNX file of integers")
    export.add_argument("--out", type=Path, required=True, metavar="FILE", help="ends in .onnx")
    export.add_argument("--verify", action="store_true", help="and run it, as bench verify does")
    export.set_defaults(action=_lazy("bench.commands.export", "export"))
    verify = commands.add_parser("verify", help="run the integers of a cell on its images")
    verify.set_defaults(action=_lazy("bench.commands.export", "verify"))
    for maker in (export, verify):
        maker.add_argument("id", metavar="ID", help="of a cell, or its first characters")
        maker.add_argument(
            "--images", type=int, metavar="N", help="verify on the first N of them, not on all"
        )
        maker.add_argument(
            "--exact", action="store_true", help="add products in 32 bits on any processor"
        )

    compare = commands.add_parser("compare", help="who wins, and whether that is resolved")
    compare.add_argument(
        "names", metavar="NAME", nargs="+", help="of an experiment or a group, or two ids of cells"
    )
    compare.add_argument("--format", choices=["text", "md"], default="text")
    compare.add_argument("--out", type=Path, metavar="FILE", help="write there")
    compare.set_defaults(action=_lazy("bench.commands.compare", "compare"))
    _with_configs(compare)

    explain = commands.add_parser("explain", help="which recipes fit a published number")
    explain.add_argument("names", metavar="NAME", nargs="*", help="of a paper's table, and its row")
    explain.add_argument("--bits", metavar="W4A4", help="of the number, where the row has several")
    explain.add_argument(
        "--target", type=float, metavar="TOP1", help="a number that is in no table"
    )
    explain.add_argument(
        "--float", type=float, dest="float_top1", metavar="TOP1", help="the float number beside it"
    )
    explain.add_argument(
        "--known", metavar="KEYS", help="what is not to be varied, as in sites,images,fold"
    )
    explain.add_argument(
        "--confirm",
        type=int,
        default=4,
        metavar="N",
        help="recipes to measure at the end, 4 if not",
    )
    explain.add_argument("--plot", type=Path, metavar="FILE", help="draw the effects as a PNG")
    explain.add_argument("--out", type=Path, metavar="FILE", help="write there")
    explain.set_defaults(action=_lazy("bench.commands.explain", "explain"))
    _with_configs(explain)


def _publishing(commands: _Commands) -> None:
    dashboard = commands.add_parser("dashboard", help="all results as one HTML file, offline")
    dashboard.add_argument("--open", action="store_true", help="show it in a browser")
    dashboard.add_argument("--out", type=Path, metavar="FILE", help="outputs/dashboard.html if not")
    dashboard.add_argument("--experiment", metavar="NAME", help="only its cells")
    dashboard.set_defaults(action=_lazy("bench.commands.dashboard", "dashboard"))
    _with_configs(dashboard)

    wandb = commands.add_parser("wandb", help="an experiment in Weights & Biases: beyond its runs")
    views = wandb.add_subparsers(metavar="WHAT", required=True)
    for what, words in (
        ("report", "save a report and a workspace"),
        ("artifacts", "keep the table, made of the bitmaps of its cells"),
    ):
        view = views.add_parser(what, help=words)
        view.add_argument("name", metavar="NAME", help="of an experiment")
        view.add_argument(
            "--dry-run", action="store_true", help="write what would be sent, as JSON"
        )
        view.add_argument("--out", type=Path, metavar="FILE", help="of a dry run")
        view.add_argument("--config-dir", type=Path, metavar="DIR", help="your own configs")
        view.set_defaults(action=_lazy("bench.commands.wandb", what))

    cache = commands.add_parser("cache", help="what is kept to be used again, and room for more")
    jobs = cache.add_subparsers(metavar="WHAT", required=True)
    listing = jobs.add_parser("ls", help="entries and size by kind")
    listing.set_defaults(action=_lazy("bench.commands.cache", "ls"))
    cleaning = jobs.add_parser("clean", help="remove what was not used for longest; never results")
    cleaning.add_argument(
        "--max-gb", type=float, required=True, metavar="N", help="what may stay, in 10^9 bytes"
    )
    cleaning.add_argument("--dry-run", action="store_true", help="only say what would go")
    cleaning.set_defaults(action=_lazy("bench.commands.cache", "clean"))

    merge = commands.add_parser("merge", help="results of several machines in one folder")
    merge.add_argument("folders", nargs="+", metavar="DIR", help="of results, left as it is")
    merge.add_argument("--dry-run", action="store_true", help="only say what would be copied")
    merge.set_defaults(action=_lazy("bench.commands.merge", "merge"))

    cite = commands.add_parser("cite", help="BibTeX for a paper, or for what an experiment uses")
    cite.add_argument("name", metavar="NAME", help="of an experiment, or of a paper")
    cite.set_defaults(action=_lazy("bench.commands.cite", "cite"))
    _with_configs(cite)


def _maintaining(commands: _Commands) -> None:
    docs = commands.add_parser("docs", help="put the kept results into a checkout's pages")
    docs.add_argument("--check", action="store_true", help="only name what is stale, and fail")
    docs.set_defaults(action=_lazy("bench.commands.docs", "docs"))

    speed = commands.add_parser("speed", help="ratios of times on this machine, and their goals")
    speed.add_argument("--out", type=Path, metavar="DIR", default=Path("outputs/speed"))
    speed.add_argument(
        "--gpu", action="store_true", help="what a GPU makes of the papers' networks"
    )
    speed.set_defaults(action=_lazy("bench.commands.speed", "speed"))

    peers = commands.add_parser("peers", help="other quantization tools beside this one")
    peers.add_argument("--only", metavar="TOOLS", help="of ours,brevitas,mct,nncf; all if not")
    peers.add_argument("--bits", metavar="BITS", default="w8a8,w4a8,w4a32")
    peers.add_argument("--out", type=Path, metavar="DIR", default=Path("outputs/peers"))
    peers.set_defaults(action=_lazy("bench.commands.peers", "peers"))


def _with_configs(reader: argparse.ArgumentParser) -> None:
    reader.add_argument("--config-dir", type=Path, metavar="DIR", help="your own configs")


def _plural(word: str) -> str:
    """Return the name of a list where the group is named, as in `model=`."""
    return f"{word}s" if f"{word}s" in _LISTABLE else word


def _lazy(module: str, function: str) -> Callable[[argparse.Namespace], int]:
    def action(options: argparse.Namespace) -> int:
        import importlib

        return getattr(importlib.import_module(module), function)(options)

    return action


def _version() -> str:
    from bench import __version__

    return f"bench {__version__}"


class _Help(argparse.RawDescriptionHelpFormatter):
    """argparse forgets that names of sub-commands are indented, and gives the longest two lines."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog)
        self._action_max_length = len("    dashboard")
