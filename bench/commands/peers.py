"""`bench peers`: other tools beside this one, on one network, with the same images and bits."""

import logging
import re
from argparse import Namespace
from collections.abc import Sequence

from bench.console import say, show_log, write
from bench.measure.resources import Resources
from bench.peers import floating
from bench.peers.base import Bits, Tool
from bench.peers.page import page
from bench.peers.place import conditions_of, configuration, planned
from bench.peers.registry import NAMES, check_installed, tool, version_of
from bench.peers.rows import Job, Row, check_conditions, read, text, with_row
from bench.peers.run import rows_of
from models.errors import BenchError

log = logging.getLogger(__name__)

_BITS = re.compile(r"w(\d+)a(\d+)", re.IGNORECASE)
_LOGS = "logs"


def peers(arguments: Namespace) -> int:
    """Measure what the table of a network does not have yet, write and print it; return 0.

    Raises BenchError for tools that are not installed, for bits that are none, and for a table of
    other images in `--out`.
    """
    show_log()
    names = [*dict.fromkeys(arguments.only.split(","))] if arguments.only else list(NAMES)
    tools = {name: tool(name) for name in names}
    check_installed(list(tools.values()))
    bits = [_bits(word) for word in arguments.bits.split(",")]
    conditions = conditions_of(planned(configuration(arguments.overrides), Resources()))
    path = arguments.out / f"peers_{conditions.network.replace('/', '_')}.csv"
    rows = read(path)
    check_conditions(rows, conditions, path)
    for name, found in {"float": floating.TOOL, **tools}.items():
        jobs = _left(found, [floating.BITS] if name == "float" else bits, rows)
        if not jobs:
            continue
        log.info("%s %s: %d to measure", found.name, version_of(found), len(jobs))
        printed = arguments.out / _LOGS / f"{path.stem}_{name}.txt"
        for row in rows_of(name, jobs, arguments.overrides, printed):
            rows = with_row(read(path), row)  # another command may have added its own
            write(text(rows), path)
            log.info("  %s %s: %s", row.bits.label, row.method, _in_words(row))
    shown = page(rows)
    write(shown, path.with_suffix(".md"))
    say(shown.rstrip("\n"))
    say(f"wrote {path} and {path.with_suffix('.md').name}")
    return 0


def _bits(word: str) -> Bits:
    match = _BITS.fullmatch(word)
    if match is None or not all(2 <= int(n) <= 8 or int(n) == 32 for n in match.groups()):
        raise BenchError(
            f"--bits {word}: give such as w8a8,w4a32; bits are 2 to 8, or 32 for float activations"
        )
    bits = Bits(*map(int, match.groups()))
    if bits.weights == 32:
        raise BenchError(f"--bits {word}: weights in float are what every tool is compared with")
    return bits


def _left(found: Tool, bits: Sequence[Bits], rows: Sequence[Row]) -> list[Job]:
    """Return what has no row yet, of this version of the tool; what has failed is tried again."""
    version = version_of(found)
    there = {
        row.job
        for row in rows
        if row.version == version and not (row.reason or "").startswith("failed")
    }
    jobs = [Job(found.name, way.name, each) for each in bits for way in found.ways]
    return [job for job in jobs if job not in there]


def _in_words(row: Row) -> str:
    if row.correct is None:
        return row.reason or ""
    return f"{100 * row.correct / row.images:.2f} %, quantized in {row.quantize_s:.1f} s"
