"""The same table for a terminal, a page, a paper and a program."""

from collections.abc import Callable, Sequence

import pandas as pd


def render(
    table: pd.DataFrame, cells: pd.DataFrame, heading: Sequence[str], notes: Sequence[str], to: str
) -> str:
    """Return the table as text, md, latex or html, or its cells, one a line, as csv."""
    if to == "csv":
        return cells.to_csv(index=False)
    return _FORMATS[to](table, heading, notes)


def _text(table: pd.DataFrame, heading: Sequence[str], notes: Sequence[str]) -> str:
    body = table.to_markdown(index=False, tablefmt="simple", disable_numparse=True)
    return "\n".join([*heading, "", body, "", *notes]) + "\n"


def _markdown(table: pd.DataFrame, heading: Sequence[str], notes: Sequence[str]) -> str:
    body = table.to_markdown(index=False, tablefmt="github", disable_numparse=True)
    return "\n".join([*(f"{line}  " for line in heading), "", body, "", *_list(notes)]) + "\n"


def _list(notes: Sequence[str]) -> list[str]:
    return [f"- {note}" for note in notes]


def _latex(table: pd.DataFrame, heading: Sequence[str], notes: Sequence[str]) -> str:
    escaped = table.map(_tex).rename(columns=_tex)
    columns = "l" * len(table.columns)
    body = escaped.style.hide(axis="index").to_latex(hrules=True, column_format=columns)
    comments = [f"% {line}" for line in [*heading, *notes]]
    return "\n".join([*comments, "% needs \\usepackage{booktabs}", body])


def _tex(text: object) -> str:
    special = {"%": r"\%", "_": r"\_", "&": r"\&", "#": r"\#", "±": r"$\pm$"}
    return "".join(special.get(character, character) for character in str(text))


def _html(table: pd.DataFrame, heading: Sequence[str], notes: Sequence[str]) -> str:
    from html import escape

    paragraphs = "".join(f"<p>{escape(line)}</p>\n" for line in heading)
    items = "".join(f"<li>{escape(note)}</li>\n" for note in notes)
    body = table.to_html(index=False, border=0)
    return f"<section>\n{paragraphs}{body}\n<ul>\n{items}</ul>\n</section>\n"


_FORMATS: dict[str, Callable[[pd.DataFrame, Sequence[str], Sequence[str]], str]] = {
    "text": _text,
    "md": _markdown,
    "latex": _latex,
    "html": _html,
}
