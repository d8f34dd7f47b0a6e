"""`bench docs`: the tables of a checkout's pages, made again from its kept results."""

from argparse import Namespace
from pathlib import Path

from bench.console import say
from bench.files.whole import write_whole
from bench.papers.pages import fill, table_from_files, tables_in
from models.errors import BenchError

_RESULTS = Path("docs/results")
_PAGES = (Path("README.md"), Path("docs/results.md"))


def docs(arguments: Namespace) -> int:
    """Write the tables that differ, or with --check only name them, and then return 1.

    Raises BenchError outside a checkout, and for a table without its files.
    """
    if not _RESULTS.is_dir():
        raise BenchError(f"there is no {_RESULTS} here; `bench docs` is for a checkout of the code")
    pages = {page: page.read_text("utf-8") for page in _PAGES}
    shown = dict.fromkeys(table for page in pages.values() for table in tables_in(page))
    tables = {table: table_from_files(_RESULTS, *table) for table in shown}
    content = {page: fill(text, tables.__getitem__) for page, text in pages.items()}
    content |= {_RESULTS / f"{table.name}.md": text for table, text in tables.items()}
    stale = [file for file, text in content.items() if file.read_text("utf-8") != text]
    for file in stale:
        if not arguments.check:
            write_whole(file, content[file])
        say(f"{file} is stale; `bench docs` writes it" if arguments.check else f"wrote {file}")
    if not stale:
        say(f"{len(tables)} tables are those of {_RESULTS}")
    return int(bool(stale) and arguments.check)
