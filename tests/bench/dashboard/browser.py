"""A real Chromium, for the tests and the screenshots of the dashboard."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def find_chromium(which: Callable[[str], str | None] = shutil.which) -> str:
    """Return the path of an installed Chromium: `$BENCH_CHROMIUM`, or one on the path.

    Without one the test run ends, with status 1 and a line that says what to install.
    """
    named = os.environ.get("BENCH_CHROMIUM")
    found = next((path for name in (named, *NAMES) if name and (path := which(name))), None)
    if found is None:
        pytest.exit(
            f"no Chromium {f'at {named}' if named else 'on the path'}: install one (Debian: "
            "apt-get install chromium), or name it in BENCH_CHROMIUM",
            returncode=1,
        )
    return found


@contextmanager
def chromium() -> Iterator["Browser"]:
    """Give a headless Chromium; nothing is downloaded."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        pytest.exit("no playwright: pip install 'quantization-bench[browser]'", returncode=1)
    path = find_chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        try:
            yield browser
        finally:
            browser.close()
