"""Messages reach a real server once, wait on disk while it is down, and hold no address."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from opslib import runbook
from opslib.cli.main import run as cli
from opslib.core.errors import InputError
from opslib.runbook import notify, outbox, targets

from .conftest import Make, code, parameters

SECRET = "hunter2-correct-horse"  # a planted secret that must be nowhere


class Server:
    """A real HTTP server on this machine that keeps what it got; ``down`` refuses with 503."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.down = False
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if not outer.down:
                    outer.got.append(json.loads(body))
                self.send_response(503 if outer.down else 200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever)
        self.thread.start()
        port = self.http.server_address[1]
        self.address = f"json://user:{SECRET}@127.0.0.1:{port}/hook?cto=5&rto=5"

    def close(self) -> None:
        """End the server; its port refuses connections from then on."""
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """Start a server that the setting "ops" names; state and configuration are the test's own."""
    one = Server()
    monkeypatch.setenv("OPSLIB_NOTIFY_OPS", one.address)
    monkeypatch.setenv("OPSLIB_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("OPSLIB_CONFIG", str(tmp_path / "config"))
    yield one
    one.close()


def _no_secret(*places: Path) -> int:
    files = [path for place in places for path in place.rglob("*") if path.is_file()]
    for path in files:
        assert SECRET.encode() not in path.read_bytes(), path
        assert SECRET not in path.name
    return len(files)


@pytest.fixture
def fails(make: Make) -> Path:
    """Return a runbook that fails."""
    return make(parameters("reason: str = 'no quorum'"), code("raise ValueError(reason)"))


def test_what_happened_is_told(
    server: Server, fails: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A failed run is told: runbook, outcome, error, how long, and where the record is."""
    words = ["run", str(fails), "--out", str(tmp_path / "out"), "--notify", "ops"]
    assert cli([*words, "-p", "reason=disk full"]) == 1
    (message,) = server.got
    (record,) = runbook.list_records(tmp_path / "out")
    assert message["title"] == "work: failed"
    assert message["type"] == "failure"
    for part in ("What: disk full", "Took: ", f"Record: {record.folder / 'record.html'}"):
        assert part in message["message"]
    said = capfd.readouterr()
    assert SECRET not in said.out + said.err
    print(f"{_no_secret(tmp_path)} files without the address")


def test_only_the_chosen_outcomes_are_told(server: Server, make: Make, tmp_path: Path) -> None:
    """An ok is not told unless asked for; a run that cannot start is, and exits 2."""
    words = ["run", str(make(code("1"))), "--out", str(tmp_path / "out"), "--notify", "ops"]
    assert cli(words) == 0
    assert server.got == []
    assert cli([*words, "--notify-on", "ok,failed"]) == 0
    assert [one["title"] for one in server.got] == ["work: ok"]
    assert cli([*words, "-p", "nope=1"]) == 2
    assert server.got[-1]["title"] == "work: not started"
    assert "there is no parameter nope" in server.got[-1]["message"]


@pytest.mark.parametrize("way", ["refuses", "gone"])
def test_down_then_queued_then_delivered_once(  # noqa: PLR0917  # fixtures, given by name
    server: Server,
    fails: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    way: str,
) -> None:
    """A message that is not taken waits without its address, and then arrives exactly once."""
    if way == "refuses":
        server.down = True
    else:
        server.close()
    words = ["run", str(fails), "--out", str(tmp_path / "out"), "--notify", "ops"]
    assert cli(words) == 1
    said = capfd.readouterr()
    assert "waits for the next run" in said.err
    assert SECRET not in said.out + said.err
    (waiting,) = (tmp_path / "state" / "notify").glob("*.json")
    assert waiting.stat().st_mode & 0o777 == 0o600
    assert json.loads(waiting.read_text())["setting"] == "ops"
    files = _no_secret(tmp_path)
    assert cli(["notify", "flush"]) == 1
    up = server
    if way == "refuses":
        server.down = False
    else:
        up = Server()
        monkeypatch.setenv("OPSLIB_NOTIFY_OPS", up.address)
    try:
        with ThreadPoolExecutor(4) as pool:
            done = list(pool.map(lambda _: notify.flush(), range(4)))
        assert sum(one.delivered for one in done) == 1
        assert cli(["notify", "flush"]) == 0
        assert [one["title"] for one in up.got] == ["work: failed"]
        print(f"{way}: queued without the address in {files} files, delivered once")
    finally:
        if up is not server:
            up.close()
        else:
            assert up.thread.is_alive()


DIES = """
import os, signal, sys
from opslib.runbook import notify, outbox

at, one = sys.argv[1], notify.notifier(["ops"], ["all"])
message = notify.Message("it: failed", "text", "failure", "key-1")
send = outbox.send

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

if at == "kept":
    outbox.send = die
if at == "taken":
    outbox.send = lambda *words: send(*words) and die()
if at == "removed":
    outbox.fsync_dir = lambda folder: list(folder.glob("*.json")) or die()
one.send(message, "failed")
"""
KILLS = {"kept": 0, "taken": 1, "removed": 1}
"""Where the sender is killed, and how often its message had arrived by then."""


def test_a_killed_sender_loses_nothing_and_says_what_may_come_twice(server: Server) -> None:
    """Killed at each step: at least once, twice in one window only, then marked, of one key."""
    counts: dict[str, int] = {}
    for at, before in KILLS.items():
        done = subprocess.run([sys.executable, "-c", DIES, at], check=False, capture_output=True)
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert len(server.got) == before
        waits = at != "removed"
        server.down = True
        assert notify.flush().waiting == waits  # an answer that is no does not clear the doubt
        server.down = False
        assert notify.flush().delivered == waits
        assert notify.flush() == notify.Flushed(0, 0)
        texts = [one["message"] for one in server.got]
        assert all("Message: key-1" in text for text in texts)
        assert ["Again: it may have arrived before" in text for text in texts] == (
            [False] * before + [True] * waits
        )
        counts[at] = len(texts)
        server.got.clear()
        assert not [one for one in outbox.queue_dir().iterdir() if one.name != ".lock"]
    print(f"messages that arrived when the sender was killed: {counts}")
    assert counts == {"kept": 1, "taken": 2, "removed": 1}


def test_a_flush_beside_a_sender_sends_nothing_twice(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one process sends is left alone by another that finds it in the queue."""
    real = targets.send
    flushed: list[notify.Flushed] = []

    def send(*words: Any) -> bool:
        flushed.append(notify.flush())
        return real(*words)

    monkeypatch.setattr(outbox, "send", send)
    one = notify.notifier(["ops"], ["all"])
    assert one.send(notify.Message("it: failed", "text", "failure"), "failed") == []
    assert len(server.got) == 1
    assert [one.delivered for one in flushed] == [0]
    assert "is being sent by another process" in flushed[0].notes[0]


def test_the_next_run_sends_what_waits(server: Server, make: Make, tmp_path: Path) -> None:
    """A run with notifications first delivers what an earlier one could not."""
    outbox.queue("ops", notify.Message("old: failed", "text", "failure"))
    outbox.queue("gone", notify.Message("lost: failed", "text", "failure"))
    words = ["run", str(make(code("1"))), "--out", str(tmp_path / "out")]
    assert cli([*words, "--notify", "ops", "--notify-on", "all"]) == 0
    assert [one["title"] for one in server.got] == ["old: failed", "work: ok"]
    done = notify.flush()
    assert (done.delivered, done.waiting) == (0, 1)
    assert "there is no notification setting gone" in done.notes[0]


def test_bad_settings_are_refused_before_anything_runs(
    server: Server, fails: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """An unknown name or outcome, an address of no kind, an open file: exit 2, no record."""
    words = ["run", str(fails), "--out", str(tmp_path / "out")]
    assert cli([*words, "--notify", "nobody"]) == 2
    assert cli([*words, "--notify", f"nonsense://{SECRET}"]) == 2
    assert cli([*words, "--notify", "json://"]) == 2
    assert cli([*words, "--notify", "ops", "--notify-on", "broken"]) == 2
    assert cli([*words, "--notify", "../../etc/passwd"]) == 2
    open_to_all = tmp_path / "config" / "notify" / "team"
    open_to_all.parent.mkdir(parents=True)
    open_to_all.write_text(server.address)
    open_to_all.chmod(0o644)
    with pytest.raises(InputError, match="can be read by others"):
        notify.notifier(["team"])
    open_to_all.chmod(0o600)
    assert notify.notifier(["team"]).targets[0].name == "team"
    assert SECRET not in repr(notify.notifier(["team"]))
    assert not (tmp_path / "out").exists()
    assert server.got == []
    said = capfd.readouterr()
    assert SECRET not in said.out + said.err


def test_an_address_of_the_command_line_cannot_wait(
    server: Server, fails: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What was given as an address is never written down: its message is lost, and that is said."""
    server.down = True
    words = ["run", str(fails), "--out", str(tmp_path / "out"), "--notify", server.address]
    assert cli(words) == 1
    said = capfd.readouterr()
    assert "it is lost" in said.err
    assert SECRET not in said.out + said.err
    assert not list((tmp_path / "state" / "notify").glob("*.json"))
    _no_secret(tmp_path)


def test_without_apprise_it_is_told_what_to_install(
    server: Server, fails: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The extra is named before anything runs; a run without --notify never needs it."""
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(InputError, match="not installed") as caught:
        notify.notifier(["ops"])
    assert "opslib[notify]" in str(caught.value.hint)
    out = tmp_path / "out"
    assert cli(["run", str(fails), "--out", str(out), "--notify", "ops"]) == 2
    assert not out.exists()
    assert cli(["run", str(fails), "--out", str(out)]) == 1
