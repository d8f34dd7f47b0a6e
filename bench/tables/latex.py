"""A table as a LaTeX file that compiles as it is."""

import re
from collections.abc import Sequence

import pandas as pd

_PREAMBLE = r"""% Compiles as it is. A paper with \usepackage{standalone,booktabs,amssymb} can
% \input it.
\documentclass{article}
\usepackage[utf8]{inputenc}
\usepackage[T1]{fontenc}
\usepackage{booktabs,amssymb}
\usepackage[a3paper,landscape,margin=2cm]{geometry}
\pagestyle{empty}
\begin{document}
\noindent
"""
_END = "\\end{document}\n"

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    **{character: f"\\{character}" for character in "{}$&#%_"},
    "±": r"$\pm$",
    "×": r"$\times$",  # noqa: RUF001
    "Δ": r"$\Delta$",
    "λ": r"$\lambda$",
    "†": r"$\dagger$",
    "✓": r"$\checkmark$",
    "✗": r"$\times$",
    "–": r"\textendash{}",  # noqa: RUF001
    "—": r"\textemdash{}",
    "’": "'",  # noqa: RUF001
}
_SIGNED = re.compile(r"[-+]\d+(\.\d+)?")
_LATIN_1 = 0x100


def latex(
    table: pd.DataFrame,
    heading: Sequence[str],
    notes: Sequence[str],
    best: pd.DataFrame | None = None,
) -> str:
    """Return a document with `table` between the lines above and below it; `best` is bold."""
    escaped = table.astype(object).map(escape)
    if best is not None:
        escaped = escaped.mask(best, r"\textbf{" + escaped + "}")
    rows = [map(escape, table.columns), *escaped.to_numpy().tolist()]
    head, *body = (" & ".join(row) + r" \\" for row in rows)
    columns = "l" * len(table.columns)
    tabular = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule", *body]
    lines = [
        *(rf"{escape(line)}\par" for line in heading),
        r"\medskip",
        *tabular,
        r"\bottomrule",
        r"\end{tabular}",
        r"\par\medskip\footnotesize",
        *(rf"{escape(line)}\par" for line in notes),
    ]
    return _PREAMBLE + "\n".join(lines) + "\n" + _END


def escape(text: object) -> str:
    """Return any `text` so that LaTeX prints it; a character that fonts lack by its code."""
    plain = " ".join(str(text).split())
    if _SIGNED.fullmatch(plain):
        return f"${plain}$"  # a minus, not a hyphen
    escaped = "".join(_ESCAPES.get(c, c) if _is_printed(c) else f"U+{ord(c):04X}" for c in plain)
    escaped = re.sub("-(?=-)", "-{}", escaped)  # or LaTeX would make one dash of both
    # At the start of a line of a table these would belong to the end of the line before.
    return re.sub(r"^([\[*])", r"{\1}", escaped)


def _is_printed(character: str) -> bool:
    known = character in _ESCAPES or ord(character) < _LATIN_1
    return known and character.isprintable()
