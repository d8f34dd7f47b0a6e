import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.tables.latex import escape, latex

CONTROLS = {"textbackslash", "textasciicircum", "textasciitilde", "textless", "textgreater"}
CONTROLS |= {"textbar", "textendash", "textemdash"}
CONTROLS |= {"pm", "times", "Delta", "lambda", "dagger", "checkmark"}


def assert_plain(text: str) -> None:
    """Fail unless `text` is ordinary text for LaTeX: no special character but in an escape."""
    rest = re.sub(r"\\[{}$&#%_]", "", text)
    assert set(re.findall(r"\\([A-Za-z]+)", rest)) <= CONTROLS
    assert "--" not in rest
    rest = re.sub(r"\\[A-Za-z]+(\{\})?", "", rest).replace("-{}", "-")
    rest = re.sub(r"^\{([\[*])\}", "", rest)
    # What is left of math is an even number of dollars, never two in a row.
    assert rest.count("$") % 2 == 0
    assert not set(rest.replace("$", "")) & set("\\{}&#%_^~")
    assert all(ord(character) < 0x100 for character in rest)


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        (r"50 % of $x_1$ & #2", r"50 \% of \$x\_1\$ \& \#2"),
        (r"\input{x}", r"\textbackslash{}input\{x\}"),
        ("a^b~c", r"a\textasciicircum{}b\textasciitilde{}c"),
        ("91.00 ± 1.00", r"91.00 $\pm$ 1.00"),
        ("Δ_B", r"$\Delta$\_B"),
        ("✓", r"$\checkmark$"),
        ("-1.64", "$-1.64$"),
        ("+0.00", "$+0.00$"),
        ("off by -1.64", "off by -1.64"),
        ("bench table x --missing", "bench table x -{}-missing"),
        ("---", "-{}-{}-"),
        ("5–9 — x", r"5\textendash{}9 \textemdash{} x"),  # noqa: RUF001
        ("[1] why", "{[}1] why"),
        ("*", "{*}"),
        ("two\n lines", "two lines"),
        ("가", "U+AC00"),
        ("Schäfer", "Schäfer"),
        ("x\u200by", "xU+200By"),
    ],
)
def test_escape(text: str, escaped: str) -> None:
    assert escape(text) == escaped
    assert_plain(escape(text))


@pytest.mark.thorough
@given(st.text())
def test_any_text_is_escaped(text: str) -> None:
    assert_plain(escape(text))


NASTY = pd.DataFrame(
    {"a & b": [r"\\", "[1]", "*"], "%": ["{", "}", "~^"], "Δ_B": ["-1.0", "91 ± 1", "<✗|✓>"]}
)


def test_a_table_has_its_columns_in_every_line() -> None:
    lines = latex(NASTY, ["head_ing"], ["note & more"]).splitlines()
    assert lines[lines.index(r"\toprule") - 1] == r"\begin{tabular}{lll}"
    rows = [line for line in lines if line.endswith(r"\\")]
    assert len(rows) == 4
    assert all(len(re.findall(r"(?<!\\)&", row)) == 2 for row in rows)
    for row in rows:
        for cell in re.split(r"(?<!\\)&", row.removesuffix(r"\\")):
            assert_plain(cell.strip())


def test_a_document_is_whole(tmp_path: Path) -> None:
    """Compiled where there is a LaTeX, and otherwise looked at."""
    text = latex(NASTY, ["head_ing"], ["note & more"])
    opened = re.findall(r"\\begin\{(\w+)\}", text)
    closed = re.findall(r"\\end\{(\w+)\}", text)
    assert opened == ["document", "tabular"] == closed[::-1]
    for package in ("booktabs", "amssymb"):
        assert package in text[: text.index(r"\begin{document}")]
    body = re.sub(r"\\[{}]", "", text)
    assert body.count("{") == body.count("}")
    if pdflatex := shutil.which("pdflatex"):
        (tmp_path / "table.tex").write_text(text)
        command = [pdflatex, "-halt-on-error", "-interaction=nonstopmode", "table.tex"]
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert run.returncode == 0, run.stdout[-2000:]
