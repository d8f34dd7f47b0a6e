"""The pictures in docs/screenshots, of a page that `bench dashboard` made.

python -m tests.bench.dashboard.screenshots outputs/dashboard.html --cell ID --words "w8a4"
"""

import argparse
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from tests.bench.dashboard.browser import chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FOLDER = Path(__file__).parents[3] / "docs" / "screenshots"
DESKTOP, PHONE = (1280, 840), (360, 740)
LIMIT_BYTES = 300_000


def main(argv: Sequence[str] | None = None) -> None:
    """Take leaderboard and charts in light, a cell in dark, and the leaderboard on a phone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("--cell", required=True, help="id of the cell to show")
    parser.add_argument("--words", default="", help="to filter the leaderboard by")
    given = parser.parse_args(argv)
    address = given.page.resolve().as_uri()
    with chromium() as browser:
        page = opened(browser, address, DESKTOP)
        page.get_by_label("Words").fill(given.words)
        page.evaluate("document.activeElement.blur()")
        keep(page, "leaderboard")
        page.get_by_role("link", name="Bits", exact=True).click()
        keep(page, "charts")
        page = opened(browser, f"{address}#cell={given.cell}", DESKTOP, color_scheme="dark")
        keep(page, "cell")
        page.locator(".panel:has(.map)").scroll_into_view_if_needed()
        keep(page, "mistakes")
        page = opened(browser, address, PHONE)
        page.get_by_label("Words").fill(given.words)
        page.locator("#board").scroll_into_view_if_needed()
        page.evaluate(
            "scrollBy(0, document.querySelector('#count').getBoundingClientRect().y - 60)"
        )
        keep(page, "phone")


def opened(browser: "Browser", address: str, size: tuple[int, int], **given: Any) -> "Page":
    width, height = size
    view = {"width": width, "height": height}
    page = browser.new_page(viewport=view, device_scale_factor=2, **given)
    page.goto(address)
    page.wait_for_timeout(2500)  # until the charts are drawn
    return page


def keep(page: "Page", name: str) -> None:
    """Save what is seen, in 256 colours, as docs/screenshots/NAME.png."""
    page.wait_for_timeout(300)
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{name}.png"
    picture.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    if path.stat().st_size > LIMIT_BYTES:
        raise SystemExit(f"{path} has {path.stat().st_size} bytes, more than {LIMIT_BYTES}")


if __name__ == "__main__":
    main()
