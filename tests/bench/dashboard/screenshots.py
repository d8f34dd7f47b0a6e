"""The pictures in docs/screenshots, of a page that `bench dashboard` made.

python -m tests.bench.dashboard.screenshots outputs/dashboard.html --cell ID --against ID
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
    """Take table, charts and comparison in light, a cell in dark, and the table on a phone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("--cell", required=True, help="id of the cell to show")
    parser.add_argument("--against", required=True, help="id of the cell to compare it with")
    parser.add_argument(
        "--view", default="", help="what else the address says: filters, hidden methods"
    )
    given = parser.parse_args(argv)
    address = f"{given.page.resolve().as_uri()}#{given.view}"
    compared = f"&a={given.cell}&b={given.against}"
    with chromium() as browser:
        keep(opened(browser, address, DESKTOP), "leaderboard", "#leaderboard")
        keep(opened(browser, address, DESKTOP), "charts", "#scope")
        keep(opened(browser, address + compared, DESKTOP), "compare", "#compare")
        page = opened(browser, f"{address}&cell={given.cell}", DESKTOP, color_scheme="dark")
        keep(page, "cell")
        keep(page, "mistakes", ".panel:has(.map)")
        keep(opened(browser, address, PHONE), "phone", "#count")


def opened(browser: "Browser", address: str, size: tuple[int, int], **given: Any) -> "Page":
    width, height = size
    view = {"width": width, "height": height}
    page = browser.new_page(viewport=view, device_scale_factor=2, **given)
    page.goto(address)
    page.wait_for_timeout(2500)  # until the charts are drawn
    return page


def keep(page: "Page", name: str, place: str = "") -> None:
    """Save what is seen from `place` on, in 256 colours, as docs/screenshots/NAME.png."""
    page.add_style_tag(content=".tray { display: none }")  # it covers what is shown
    if place:
        top = "(place) => scrollBy(0, place.getBoundingClientRect().y - 56)"
        page.locator(place).evaluate(top)
    page.wait_for_timeout(300)
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{name}.png"
    picture.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    if path.stat().st_size > LIMIT_BYTES:
        raise SystemExit(f"{path} has {path.stat().st_size} bytes, more than {LIMIT_BYTES}")


if __name__ == "__main__":
    main()
