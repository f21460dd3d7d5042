"""Take a picture of a page with the system's Chromium: ``picture.py PAGE PNG [WIDTH HEIGHT]``."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright


def picture(page: Path, png: Path, width: int = 1200, height: int = 0) -> None:
    """Render a local page; ``height`` 0 takes all of it, else only the top."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("chromium is needed to take pictures: install it, or put it on PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": width, "height": height or 900})
        tab.goto(page.resolve().as_uri())
        tab.wait_for_load_state("networkidle")
        tab.screenshot(path=str(png), full_page=not height)
        browser.close()


if __name__ == "__main__":
    picture(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:5]))
