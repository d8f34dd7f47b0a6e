"""The same table for a terminal, a page, a paper and a program."""

from collections.abc import Callable, Sequence
from html import escape

import pandas as pd

from bench.tables.latex import latex
from bench.tables.table import Table

_STYLE = """\
body { font: 14px/1.5 system-ui, sans-serif; margin: 2rem; color: #222; background: #fff; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { text-align: left; padding: .2rem .8rem; border-bottom: 1px solid #ccc; }
.reproduced { color: #116329; } .off { color: #a40e26; } .not { color: #6b6b6b; }
@media (prefers-color-scheme: dark) {
  body { color: #ddd; background: #16181c; } th, td { border-color: #444; }
  .reproduced { color: #57c27a; } .off { color: #ff8182; } .not { color: #9a9a9a; }
}"""
_CLASSES = ("reproduced", "off", "not")


_BOLD_LINE = (
    "bold: the best method among values that differ in nothing else, where that is resolved (95 %)"
)


def render(table: Table, to: str) -> str:
    """Return the table as text, md, latex or html, or its rows of numbers as csv.

    Its best values are bold where the format has that.
    """
    best = table.best
    if to == "csv":
        return table.rows.to_csv(index=False)
    if best is None or to not in _BOLD or not best.to_numpy().any():
        return _FORMATS[to](table.texts, table.heading, table.notes)
    return _BOLD[to](table.texts, [*table.heading, _BOLD_LINE], table.notes, best)


def _text(table: pd.DataFrame, heading: Sequence[str], notes: Sequence[str]) -> str:
    body = table.to_markdown(index=False, tablefmt="simple", disable_numparse=True)
    return "\n".join([*heading, "", body, "", *notes]) + "\n"


def _markdown(
    table: pd.DataFrame,
    heading: Sequence[str],
    notes: Sequence[str],
    best: pd.DataFrame | None = None,
) -> str:
    escaped = table.astype(object).map(_md)
    if best is not None:
        escaped = escaped.mask(best, "**" + escaped + "**")
    body = escaped.rename(columns=_md).to_markdown(
        index=False, tablefmt="github", disable_numparse=True
    )
    lines = [f"{_md(line)}  " for line in heading]
    return "\n".join([*lines, "", body, "", *(f"- {_md(note)}" for note in notes)]) + "\n"


def _md(text: object) -> str:
    """Return `text` on one line, without what would end a cell or begin an element."""
    one_line = " ".join(str(text).split())
    return one_line.replace("|", r"\|").replace("<", "&lt;")


def _html(table: pd.DataFrame, heading: Sequence[str], notes: Sequence[str]) -> str:
    title = escape(heading[0] if heading else "Results")
    paragraphs = "".join(f"<p>{escape(line)}</p>\n" for line in heading)
    head = "".join(f'<th scope="col">{escape(str(column))}</th>' for column in table.columns)
    rows = "".join(f"<tr>{_cells(row)}</tr>\n" for row in table.itertuples(index=False))
    items = "".join(f"<li>{escape(note)}</li>\n" for note in notes)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{_STYLE}\n</style>\n</head>\n<body>\n{paragraphs}"
        f"<table>\n<thead>\n<tr>{head}</tr>\n</thead>\n<tbody>\n{rows}</tbody>\n</table>\n"
        f"<ul>\n{items}</ul>\n</body>\n</html>\n"
    )


def _cells(row: Sequence[object]) -> str:
    return "".join(f"<td{_class(str(text))}>{escape(str(text))}</td>" for text in row)


def _class(text: str) -> str:
    """Return the class of a verdict."""
    first = text.partition(" ")[0]
    return f' class="{first}"' if first in _CLASSES else ""


_FORMATS: dict[str, Callable[[pd.DataFrame, Sequence[str], Sequence[str]], str]] = {
    "text": _text,
    "md": _markdown,
    "latex": latex,
    "html": _html,
}

_BOLD: dict[str, Callable[[pd.DataFrame, Sequence[str], Sequence[str], pd.DataFrame], str]] = {
    "md": _markdown,
    "latex": latex,
}
