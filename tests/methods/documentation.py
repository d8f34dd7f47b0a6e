"""The code in docs/add_a_method.md."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "add_a_method.md"


def blocks(language: str) -> list[str]:
    """Return the page's code blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
