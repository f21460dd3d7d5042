"""The gallery opens anywhere, finds by typing, and lets nothing in a record become mark-up."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from opslib.cli.main import run as cli
from opslib.runbook.gallery import gallery
from opslib.runbook.query import Query

from .many import multiply, one_real

HOSTILE = (
    "<img src=x onerror=\"document.title='owned'\"></script><script>document.title='owned'</script>"
)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of 40 records, one of which carries mark-up in every text."""
    place = tmp_path_factory.mktemp("gallery")
    made = multiply(one_real(place), place / "many", 40)
    folder = next((place / "many").glob(f"*/*{made[7]['run_id']}"))
    result = json.loads((folder / "result.json").read_text())
    result |= {"title": HOSTILE, "runbook": HOSTILE, "error": {"message": HOSTILE, "cell": None}}
    result["parameters"] = {HOSTILE: HOSTILE}
    result["outcome"] = f'" onmouseover="{HOSTILE}'
    (folder / "result.json").write_text(json.dumps(result))
    return place / "many"


def test_a_reader_finds_a_record_by_typing(chromium: Any, out: Path, tmp_path: Path) -> None:
    """In a real browser without a network: typing and outcomes filter, a link opens the record."""
    done = gallery(tmp_path / "shared", out=out)
    moved = tmp_path / "moved elsewhere"
    shutil.move(tmp_path / "shared", moved)
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    try:
        asked: list[str] = []
        messages: list[str] = []
        page = context.new_page()
        page.on("request", lambda one: asked.append(one.url))
        page.on("console", lambda one: messages.append(one.text))
        page.on("pageerror", lambda one: messages.append(str(one)))
        page.goto((moved / "index.html").as_uri())
        page.wait_for_function("document.getElementById('count').textContent === '40 of 40'")
        page.fill("#words", "registry FAILED team-3")
        visible = page.locator("tr.row:visible")
        assert visible.count() == 1
        page.fill("#words", "")
        page.click("button.chip:text-is('failed')")
        assert visible.count() == 4
        page.fill("#words", "nothing like this")
        assert page.locator("#none").is_visible()
        page.fill("#words", "")
        page.click("button.chip:text-is('all')")
        assert visible.count() == 40
        assert page.title() == "Records of runs"
        assert page.locator("img, iframe, tr script").count() == 0
        page.locator("tr.row a").first.click()
        page.wait_for_load_state()
        assert page.url.endswith("/record.html")
        assert all(re.match(r"(file:///|data:)", url) for url in asked), asked
        assert messages == []
    finally:
        context.close()
    assert done.records == 40
    print(f"40 records, {len(asked)} requests, all to the folder itself")


def test_every_link_is_relative_and_meets_a_file(out: Path, tmp_path: Path) -> None:
    """No link leads out of the folder, and each one meets a file."""
    done = gallery(tmp_path / "shared", out=out)
    source = done.page.read_text()
    links = [link for link in re.findall(r'(?:href|src)="([^"]*)"', source) if link != "data:,"]
    assert len(links) == 3 * 40
    for link in links:
        assert link.startswith("./records/")
        assert (done.page.parent / link).resolve().is_relative_to(tmp_path / "shared")
        assert (done.page.parent / link).is_file()
    assert "http:" not in source
    assert "https:" not in source
    assert "<img" not in source


def test_records_below_the_folder_are_linked_not_copied(out: Path) -> None:
    """A gallery in outputs/ itself links the records where they are."""
    try:
        done = gallery(out, Query(limit=5), out)
        links = re.findall(r'href="(\./[^"]*record\.html)"', done.page.read_text())
        assert len(links) == 5
        assert all((out / link).is_file() for link in links)
        assert not (out / "records").exists()
    finally:
        (out / "index.html").unlink()


def test_what_no_run_leaves_is_not_copied(out: Path, tmp_path: Path) -> None:
    """Links and pipes in a record's folder are neither followed nor copied."""
    here = tmp_path / "many"
    day = next(out.glob("2026-*"))
    shutil.copytree(day, here / day.name)
    folder = next(here.glob("*/*"))
    (folder / "record.html").unlink()
    (folder / "record.html").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe")
    done = gallery(tmp_path / "shared", out=here)
    copied = [path for path in (tmp_path / "shared").rglob("*") if path.is_file()]
    assert not any("root:" in path.read_text() for path in copied)
    assert {path.name for path in copied} == {
        *("index.html", "record.html", "record.ipynb", "result.json"),
        *("manifest.json", "events.jsonl"),
    }
    assert len(done.without_page) == 1


def test_the_command_line(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`opslib records gallery --to FOLDER` says where the page is; a file in its place is told."""
    words = ["records", "gallery", "--out", str(out), "--to"]
    assert cli([*words, str(tmp_path / "g"), "--limit", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["records"] == 3
    (tmp_path / "file").write_text("")
    assert cli([*words, str(tmp_path / "file")]) == 2
    assert "cannot be written" in capsys.readouterr().err
