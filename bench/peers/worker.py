"""The process of one tool: `python -m bench.peers.worker TOOL`, started by `bench.peers.run`.

Some tools replace functions of PyTorch when they are imported: in a process of its own none of
them changes what others compute, or how fast. Standard input: JSON, what to measure. Standard
output: a line of JSON for each row; what the tool itself prints goes to standard error.
"""

import json
import os
import sys
from importlib import import_module
from typing import TextIO

from bench.measure.resources import Resources
from bench.peers.base import Bits
from bench.peers.measure import measured
from bench.peers.place import configuration, prepare
from bench.peers.registry import tool
from models.errors import BenchError, first_line


def main(name: str, orders: TextIO, answers: TextIO) -> None:
    """Measure what `orders` say of a tool, and write the rows to `answers`."""
    asked = json.load(orders)
    try:
        found, place = tool(name), prepare(configuration(asked["overrides"]), Resources())
    except Exception as error:
        known = isinstance(error, BenchError)
        said = first_line(error) if known else f"{type(error).__name__}: {first_line(error)}"
        answers.write(json.dumps({"error": said}) + "\n")
        return
    for module in found.imports:
        import_module(module)
    ways = {way.name: way for way in found.ways}
    for method, bits in asked["jobs"]:
        row = measured(found, ways[method], Bits(*bits), place)
        answers.write(json.dumps({"row": row.model_dump()}) + "\n")
        answers.flush()


if __name__ == "__main__":
    # NNCF compiles its extension when it is first used: a minute, and more on a busy machine.
    os.environ.setdefault("NNCF_EXTENSION_LOAD_TIMEOUT", "0")
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as kept:
        os.dup2(2, 1)
        main(sys.argv[1], sys.stdin, kept)
