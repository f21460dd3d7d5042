"""A person seals a password in JupyterLab, by keys: it is in Git sealed, and nowhere else."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from runbook.conftest import wait_for
from seal import parts

from opslib.runbook.verify import verify
from opslib.seal.recovery import values
from opslib.seal.sealed import read_sealed

from .conftest import Lab
from .test_gate import SHOTS, _cell, _git, _run, _shot, _type

VALUE = 'kR7#"Qx</b>2vN\\9-zöT4m'
AUTHOR = "Ada <ada@example.com>"
READER = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: reader, namespace: shop}
spec:
  selector: {matchLabels: {app: reader}}
  template:
    metadata: {labels: {app: reader}}
    spec:
      containers:
      - name: reader
        image: registry.example.com/reader:1
        envFrom: [{secretRef: {name: gateway}}]
"""


@pytest.fixture
def pair() -> parts.Pair:
    """Return the key of a cluster."""
    return parts.pair()


@pytest.fixture
def repo(pair: parts.Pair, tmp_path: Path) -> Path:
    """Return a repository with a pinned certificate, and a Deployment that reads the Secret."""
    repo = tmp_path / "shop"
    repo.mkdir()
    cluster = {"name": "shop", "keys": [pair.fingerprint], "certificate": "cert.pem"}
    pins = {"apiVersion": "opslib.dev/v1", "kind": "Sealing", "clusters": [cluster]}
    (repo / "seal.yaml").write_text(json.dumps(pins))
    (repo / "cert.pem").write_bytes(pair.cert)
    (repo / "reader.yaml").write_text(READER)
    for words in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "-m", "a shop")):
        _git(repo, *words)
    return repo


@pytest.mark.timeout(600)
def test_a_password_is_sealed_by_keys(
    chromium: Any, lab: Lab, repo: Path, pair: parts.Pair
) -> None:
    """Typed into a masked field, sealed, approved, committed; no page, file or message has it."""
    page = chromium.new_page(viewport={"width": 1500, "height": 1250})
    page.set_default_timeout(180_000)
    received: list[bytes] = []
    page.on("websocket", lambda one: one.on("framereceived", lambda f: received.append(_data(f))))
    page.goto(lab.open("notebooks/seal-secret.ipynb"))
    page.wait_for_selector(".jp-Notebook .jp-CodeCell")
    page.wait_for_selector("#jp-main-statusbar :text('| Idle')")
    _enter(page, repo)
    _approve(page)
    page.keyboard.press("Control+s")
    saved = lab.root / "notebooks" / "seal-secret.ipynb"
    wait_for(lambda: "The record of this session" in saved.read_text(), "the save", 120)
    shown = page.content() + page.locator("body").inner_text()
    assert not _has(shown.encode())
    assert page.locator("input[type=password]").first.input_value() == ""
    page.close()
    _sealed(repo, pair)
    _nowhere(lab, received, repo)
    _record(chromium, lab)


def _data(frame: Any) -> bytes:
    return frame if isinstance(frame, bytes) else str(frame).encode()


def _enter(page: Any, repo: Path) -> None:
    _run(page, "from typing import Literal", alone=True)
    _run(page, "forms.parameters", alone=True)
    form = _cell(page, "forms.parameters")
    form.get_by_label("repo", exact=True).wait_for(timeout=180_000)
    _type(page, "secret", "shop/gateway")
    _type(page, "repo", str(repo))
    _type(page, "author", AUTHOR)
    form.get_by_label("mode", exact=True).select_option("apply")
    _run(page, "runbook.load")
    entry = _cell(page, "entry.form(")
    field = entry.get_by_label("password", exact=True)
    field.wait_for(timeout=180_000)
    assert field.get_attribute("type") == "password"
    _cell(page, "desk.wish(").get_by_text("there is no value for password").wait_for(
        timeout=180_000
    )
    keys, cells = page.keyboard, page.locator(".jp-Cell").count()
    field.focus()
    keys.type(VALUE)
    _shot(page, "13-seal-masked", entry)
    keys.press("Enter")
    entry.get_by_text("entered here").wait_for(timeout=180_000)
    assert page.locator(".jp-Cell").count() == cells, "a key was a command to the notebook"
    wait_for(lambda: field.input_value() == "", "the clearing of the field", 120)


def _approve(page: Any) -> None:
    _run(page, "desk.wish(")
    gate = _cell(page, "runbook.gate(")
    button = gate.get_by_role("button", name="Approve this plan")
    button.wait_for(timeout=180_000)
    _cell(page, "runbook.once").get_by_text("not approved").first.wait_for(timeout=180_000)
    _shot(page, "14-seal-diff", _cell(page, "desk.wish("))
    button.focus()
    page.keyboard.press("Space")
    gate.get_by_text("Now run the next cell").wait_for(timeout=180_000)
    _run(page, "runbook.once")
    last = _cell(page, "runbook.record(")
    last.get_by_text("The record of this session").wait_for(timeout=180_000)
    _shot(page, "15-seal-done", _cell(page, "arrival.follow("))


def _has(data: bytes) -> bool:
    raw = VALUE.encode()
    forms = {raw, json.dumps(VALUE)[1:-1].encode(), quote(VALUE, safe="").encode()}
    forms |= {raw.hex().encode(), base64.b64encode(raw)[:-4], raw[:9], raw[::-1]}
    forms |= {json.dumps(VALUE, ensure_ascii=False)[1:-1].encode(), raw[-9:]}
    return any(one in data for one in forms)


def _sealed(repo: Path, pair: parts.Pair) -> None:
    """The branch has the value, for whoever has the key, and restarts what reads it."""
    words = ["git", "-C", str(repo), "branch", "--list", "opslib/*", "--format=%(refname:short)"]
    (branch,) = subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()
    show = ["git", "-C", str(repo), "show"]
    data = subprocess.run([*show, f"{branch}:gateway.yaml"], check=True, capture_output=True).stdout
    (one,) = read_sealed(data, "gateway.yaml")
    assert values(one, pair.private)["password"].reveal() == VALUE.encode()
    told = subprocess.run([*show, branch], check=True, capture_output=True, text=True).stdout
    assert f"Author: {AUTHOR}" in told
    assert "+      annotations:" in told or "opslib.dev/sealed-gateway" in told


def _nowhere(lab: Lab, received: list[bytes], repo: Path) -> None:
    """Not in the saved notebook with the state of its widgets, a record, a message, an object."""
    saved = json.loads((lab.root / "notebooks" / "seal-secret.ipynb").read_text())
    states = saved["metadata"]["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    masked = [one for one in states.values() if one["model_name"] == "PasswordModel"]
    assert masked
    assert all(one["state"].get("value", "") == "" for one in masked)
    assert AUTHOR in json.dumps(states), "the state of widgets is saved, and looked at"
    files = [path for path in lab.root.rglob("*") if path.is_file()]
    assert [path for path in files if _has(path.read_bytes())] == []
    assert received
    assert any(AUTHOR.encode() in one for one in received), "messages are looked at"
    assert not [one for one in received if _has(one)]
    words = ["git", "-C", str(repo), "cat-file", "--batch-all-objects", "--batch"]
    objects = subprocess.run(words, check=True, capture_output=True).stdout
    assert not _has(objects)
    print(f"0 in {len(files)} files, {len(received)} messages, {len(objects) >> 10} KiB of objects")


def _record(chromium: Any, lab: Lab) -> None:
    """The record says what was sealed and who approved it, also in the dark; it verifies."""
    found = (lab.root / "outputs").glob
    manifest = wait_for(lambda: next(found("*/seal-secret-*/manifest.json"), None), "the record")
    folder = manifest.parent
    result = json.loads((folder / "result.json").read_text())
    assert result["outcome"] == "ok", result["error"]
    assert result["approval"]["how"] == "form"
    assert result["planned"]["restarts"] == ["Deployment reader (reader.yaml)"]
    assert result["done"]["commit"]["branch"].startswith("opslib/seal-gateway-")
    assert result["verified"]["arrived"] is False
    assert verify(folder).ok
    for scheme in ("light", "dark"):
        context = chromium.new_context(java_script_enabled=False, color_scheme=scheme)
        page = context.new_page()
        page.goto((folder / "record.html").as_uri())
        text = page.locator("main").inner_text()
        page.screenshot(path=str(SHOTS / f"16-seal-record-{scheme}.png"), full_page=True)
        context.close()
        assert not _has(text.encode())
        for words in ("seals password for SHA256:", "entered here", "approved by"):
            assert words in text
