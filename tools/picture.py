"""Take pictures of pages with the system's Chromium.

``picture.py PAGE PNG [WIDTH HEIGHT]`` takes a local page; ``picture.py readme PNG`` the newest
record of a rollout that was not ready: the top of the page, and beside it the timeline.
``picture.py lab PNG`` takes over what the browser tests saw of the gate.
"""

from __future__ import annotations

import base64
import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

OUTPUTS = Path(__file__).parents[1] / "outputs"
WIDTH, HEIGHT = 1100, 1010
BESIDE = (
    "<body style='margin:0;display:flex;gap:16px;align-items:flex-start;background:#f4f6f8;"
    "padding:8px'>{}</body>"
)


@contextmanager
def browser() -> Iterator[Any]:
    """Run Chromium while the block runs."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("chromium is needed to take pictures: install it, or put it on PATH")
    with sync_playwright() as playwright:
        one = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield one
        one.close()


def opened(chromium: Any, page: Path, width: int, height: int) -> Any:
    """Open a local page and wait until its scripts have drawn."""
    tab = chromium.new_page(viewport={"width": width, "height": height})
    tab.goto(page.resolve().as_uri())
    tab.wait_for_load_state("networkidle")
    return tab


def picture(page: Path, png: Path, width: int = 1200, height: int = 0) -> None:
    """Render a local page; ``height`` 0 takes all of it, else only the top."""
    with browser() as chromium:
        tab = opened(chromium, page, width, height or 900)
        tab.screenshot(path=str(png), full_page=not height)


def hanging() -> Path:
    """Return the page of the newest rollout record that says not ready."""
    for result in sorted(OUTPUTS.glob("*/rollout-*/result.json"), reverse=True):
        verified = json.loads(result.read_text())["report"].get("verified") or {}
        if verified.get("ready") is False:
            return result.parent / "record.html"
    raise SystemExit("no record of a rollout that hangs: run `make demo` first")


def readme(png: Path) -> None:
    """Put the top of a record and its timeline with what follows beside each other."""
    with browser() as chromium:
        tab = opened(chromium, hanging(), WIDTH, HEIGHT)
        shots = [tab.screenshot()]
        tab.locator("h2", has_text="The rollout over time").first.scroll_into_view_if_needed()
        tab.evaluate(
            "[...document.querySelectorAll('h2')]"
            ".find(h => h.textContent.includes('The rollout over time')).scrollIntoView()"
        )
        shots.append(tab.screenshot())
        images = "".join(
            f"<img src='data:image/png;base64,{base64.b64encode(shot).decode()}'>" for shot in shots
        )
        both = chromium.new_page(viewport={"width": 2 * WIDTH + 32, "height": HEIGHT + 16})
        both.set_content(BESIDE.format(images))
        both.screenshot(path=str(png), full_page=True)


def lab(png: Path) -> None:
    """Copy the browser tests' picture of the gate."""
    seen = OUTPUTS / "browser" / "6-destructive.png"
    if not seen.exists():
        raise SystemExit("no picture of the gate: run `make test ARGS=tests/browser` first")
    shutil.copyfile(seen, png)


if __name__ == "__main__":
    if sys.argv[1] == "readme":
        readme(Path(sys.argv[2]))
    elif sys.argv[1] == "lab":
        lab(Path(sys.argv[2]))
    else:
        picture(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:5]))
