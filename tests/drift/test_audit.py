"""The audit log in all forms and states in which it is found, and how fast it is read."""

from __future__ import annotations

import gzip
import json
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from opslib.drift import audit
from opslib.drift.attribute import attribute
from opslib.drift.audit import AuditSource, Scan
from opslib.drift.entries import entries
from opslib.drift.model import Attribution, Confidence, Difference, Drift, Fight, Plane

from .histories import BEGIN, KEY, History, _stamp

CERTAIN, LIKELY = Confidence.CERTAIN, Confidence.LIKELY
UPPER = Confidence.UPPER_BOUND


class Made(History):
    """A short history: the app creates the object, alice changes it, somebody reads."""

    def __init__(self) -> None:
        super().__init__(random.Random(1))  # noqa: S311  # to be had again
        self.noise()
        self.born("kwok-admin")
        self.change("alice", "red")
        self.read_at = self.read()

    def born(self, user: str) -> None:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "plain"}}
        body["metadata"] = {"name": KEY.name, "namespace": KEY.namespace}
        uri = "fieldManager=opslib-shop&force=true"
        self._log("patch", user, body=body, code=201, uri=uri)
        self.live = json.loads(json.dumps(body))
        self.live["metadata"]["creationTimestamp"] = f"{self.now:%Y-%m-%dT%H:%M:%SZ}"
        self.now += timedelta(seconds=2)

    def change(self, user: str, value: str, manager: str = "kubectl-edit") -> None:
        self._log("patch", user, body={"data": {"a": value}}, uri=f"fieldManager={manager}")
        assert self.live
        self.live["data"]["a"] = value
        self.owners[manager, "Update"] = ({"a"}, f"{self.now:%Y-%m-%dT%H:%M:%SZ}")
        self.now += timedelta(seconds=2)

    def ask(self, log: Any, **more: Any) -> tuple[Drift, str]:
        """Attribute the one difference by a log."""
        live = self.object()
        assert live
        drift = Drift(
            Plane.OBJECTS, Difference.CHANGED, KEY, "data.a", "plain", live["data"]["a"],
            api_version="v1", place=("data", "a"),
        )  # fmt: skip
        more = {"read_at": self.read_at, **more}
        told, text = attribute([drift], {KEY: live}, app_manager="opslib-shop", log=log, **more)
        return told[0], text

    def events(self) -> list[Any]:
        return [json.loads(one) for one in self.lines]

    def edited(self, edit: Callable[[Any], None]) -> bytes:
        """Return the log with each event edited."""
        events = self.events()
        for event in events:
            edit(event)
        return lines(events)


def lines(events: list[Any]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in events)


def is_alice(found: Attribution) -> bool:
    return found.actor is not None and found.actor.user == "alice"


@pytest.fixture
def made() -> Made:
    return Made()


def test_a_plain_file(made: Made, tmp_path: Path) -> None:
    """User, client, time, request and onset are told, and that it was a person."""
    log = tmp_path / "audit.log"
    log.write_bytes(lines(made.events()))
    told, text = made.ask(log)
    found = told.attribution
    assert (found.confidence, found.person) == (CERTAIN, True)
    assert found.actor
    assert found.actor.user == "alice"
    assert (found.actor.client, found.actor.verb) == ("tool/1.0", "patch")
    assert found.actor.audit_id in found.why
    assert told.since == found.actor.time
    assert "fieldManager=kubectl-edit" in found.actor.uri
    assert "2026-11-30T08:00:00Z" in text


@pytest.mark.parametrize("wrap", ["list", "pretty", "lines of lists", "message", "array"])
def test_sinks_and_services(made: Made, tmp_path: Path, wrap: str) -> None:
    """Batches of a webhook sink, and what log services put around an event, are read alike."""
    events = made.events()
    batch = {"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": events}
    text = {
        "list": json.dumps(batch),
        "pretty": json.dumps(batch, indent=2),
        "lines of lists": "\n".join(json.dumps({**batch, "items": [e]}) for e in events),
        "message": "\n".join(json.dumps({"t": 1, "message": json.dumps(e)}) for e in events),
        "array": json.dumps(events, indent=1),
    }[wrap]
    (tmp_path / "sink").mkdir()
    (tmp_path / "sink" / "batch-1.json").write_text(text)
    told, _ = made.ask(tmp_path / "sink")
    assert told.attribution.confidence is CERTAIN
    assert is_alice(told.attribution)


def test_rotated_files(made: Made, tmp_path: Path) -> None:
    """Rotated and compressed siblings are read with the log; one that is missing is a gap."""
    parts = [lines([one]) for one in made.events()]
    log = tmp_path / "audit.log"
    log.write_bytes(parts[-1])
    names = []
    for part, following in zip(parts, made.events()[1:], strict=False):
        at = following["stageTimestamp"].replace(":", "-")[:23]
        names.append(tmp_path / f"audit-{at}.log.gz")
        names[-1].write_bytes(gzip.compress(part))
    (tmp_path / "audit-notes.log").write_text("somebody's own file")
    told, text = made.ask(log)
    assert told.attribution.confidence is CERTAIN, text
    names[1].unlink()
    told, text = made.ask(log)
    assert told.attribution.confidence is LIKELY
    assert is_alice(told.attribution)
    assert "is missing" in text


def test_numbered_files(made: Made, tmp_path: Path) -> None:
    """The files of logrotate are read in their order; a number that is missing is a gap."""
    parts = [lines([one]) for one in made.events()]
    for number, part in enumerate(reversed(parts)):
        (tmp_path / (f"audit.log.{number}" if number else "audit.log")).write_bytes(part)
    told, text = made.ask(tmp_path / "audit.log")
    assert told.attribution.confidence is CERTAIN, text
    (tmp_path / "audit.log.2").unlink()
    told, _ = made.ask(tmp_path / "audit.log")
    assert told.attribution.confidence is LIKELY


def test_a_command(made: Made, tmp_path: Path) -> None:
    """A command's output is read; one that fails or hangs leaves nothing certain."""
    log = tmp_path / "events"
    log.write_bytes(lines(made.events()))
    told, _ = made.ask([sys.executable, "-c", f"print(open({str(log)!r}).read())"])
    assert told.attribution.confidence is CERTAIN
    told, text = made.ask(["sh", "-c", f"cat {log}; exit 3"])
    assert told.attribution.confidence is LIKELY
    assert "exit code 3" in text
    told, text = made.ask(AuditSource(command=("sh", "-c", f"cat {log}; sleep 60"), timeout=3))
    assert told.attribution.confidence is LIKELY
    assert "did not end" in text
    told, text = made.ask(["/there/is/none"])
    assert told.attribution.confidence is UPPER
    assert "cannot be started" in text


@pytest.mark.parametrize("data", [None, b"", b"\0\xff" * 999, b"{}\n[]\n1\nnull\n", b'{"a":\n'])
def test_no_log(made: Made, tmp_path: Path, data: bytes | None) -> None:
    """Without anything to read there is a manager, an upper bound, and no user."""
    log = tmp_path / "audit.log"
    if data is not None:
        log.write_bytes(data)
    made.tracked = True
    told, text = made.ask(log)
    found = told.attribution
    assert (found.confidence, found.actor, found.person) == (UPPER, None, None)
    assert found.candidates[0].manager == "kubectl-edit"
    assert "user unknown" in found.sentence()
    assert found.not_later_than > made.events()[2]["stageTimestamp"]
    assert "users unknown" in text
    assert told.since == ""


def test_what_is_not_certain(made: Made, tmp_path: Path) -> None:
    """A missing body, end, beginning or completion is enough to say probably."""
    log = tmp_path / "audit.log"
    events = made.events()

    def told(some: list[Any], **more: Any) -> Drift:
        log.write_bytes(lines(some))
        return made.ask(log, **more)[0]

    assert told(events).attribution.confidence is CERTAIN
    late = told(events[:-1])
    assert late.attribution.confidence is LIKELY
    assert "before the object was read" in late.attribution.why
    # Managed fields say that this very write changed this very field, so nobody did before.
    assert told(events[2:]).attribution.confidence is CERTAIN
    more = json.loads(json.dumps(events[2:]))
    more[0]["requestObject"]["data"]["b"] = "x"
    assert told(more).attribution.confidence is LIKELY
    made.tracked = False
    assert told(events[2:]).attribution.confidence is LIKELY
    bare = json.loads(json.dumps(events))
    bare.insert(3, {**events[2], "auditID": "more", "user": {"username": "bob"}})
    del bare[3]["requestObject"]
    assert told(bare).attribution.confidence is LIKELY
    bare[3] = {**events[2], "auditID": "more", "stage": "RequestReceived"}
    del bare[3]["responseStatus"]
    bare[3]["requestObject"] = {"data": {"a": None}}
    assert told(bare).attribution.confidence is CERTAIN  # had it come, the value would be gone


def test_lines_that_are_too_long(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line beyond the bound is left out, and counts as a gap."""
    monkeypatch.setattr(audit, "MAX_LINE", 4000)
    monkeypatch.setattr(audit, "CHUNK", 512)
    log = tmp_path / "audit.log"
    log.write_bytes(lines(made.events()))
    assert made.ask(log)[0].attribution.confidence is CERTAIN
    parts = [lines([one]) for one in made.events()]
    long = b'{"auditID":"' + b"x" * 9000 + b'"}\n'
    log.write_bytes(b"".join([*parts[:3], long, *parts[3:]]))
    told, text = made.ask(log)
    assert told.attribution.confidence is LIKELY
    assert "1 of 5 lines cannot be read" in text


def test_clocks(made: Made, tmp_path: Path) -> None:
    """A server whose clock is ahead is told; how far it is ahead makes the log's end count."""
    log = tmp_path / "audit.log"
    log.write_bytes(lines(made.events()))
    told, _ = made.ask(log, skew=60)
    assert told.attribution.confidence is LIKELY
    ahead = BEGIN + timedelta(days=40_000)

    def later(event: Any) -> None:
        event["stageTimestamp"] = _stamp(ahead)

    log.write_bytes(made.edited(later))
    _, text = made.ask(log)
    assert "ahead of this machine's" in text


def test_impersonation(made: Made, tmp_path: Path) -> None:
    """Who acts for another is named beside the one that the request was made as."""

    def as_other(event: Any) -> None:
        if event["user"]["username"] == "alice":
            event["impersonatedUser"] = {"username": "root\u202e", "groups": ["wheel"]}

    log = tmp_path / "audit.log"
    log.write_bytes(made.edited(as_other))
    actor = made.ask(log)[0].attribution.actor
    assert actor
    assert (actor.user, actor.impersonated_by, actor.groups) == ("root", "alice", ("wheel",))


def test_two_that_fight(made: Made, tmp_path: Path) -> None:
    """Two that set a field in turn are both named from three times on, with times and count."""
    log = tmp_path / "audit.log"
    fights: list[Fight | None] = []
    for number in range(6):
        user, value = (("tuner", "red"), ("keeper", "green"))[number % 2]
        made.change(f"system:serviceaccount:ops:{user}", value)
        made.read_at = made.read()
        log.write_bytes(lines(made.events()))
        fights.append(made.ask(log)[0].fight)
    assert fights[:2] == [None, None]
    last = fights[-1]
    assert last
    assert set(last.writers) == {f"system:serviceaccount:ops:{n}" for n in ("tuner", "keeper")}
    assert last.count >= 5
    assert last.since < last.until


MEASURE = """
import json, resource, sys, time
from opslib.core.model import ResourceKey
from opslib.drift.attribute import attribute
from opslib.drift.model import Difference, Drift, Plane
key = ResourceKey("", "ConfigMap", "shop", "settings")
live = {"metadata": {"creationTimestamp": "2026-11-30T08:00:01Z"}, "data": {"a": "red"}}
drift = Drift(Plane.OBJECTS, Difference.CHANGED, key, "data.a", "x", "red", place=("data", "a"))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
begun = time.perf_counter(), time.process_time()
told, text = attribute([drift], {key: live}, app_manager="opslib-shop", log=sys.argv[1])
wall, busy = time.perf_counter() - begun[0], time.process_time() - begun[1]
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
actor = told[0].attribution.actor
print(json.dumps([wall, busy, (after - before) / 1024, actor.user if actor else ""]))
"""


def test_a_large_log_is_streamed(made: Made, tmp_path: Path) -> None:
    """200 MB are read in a few seconds, and in no more memory than a few lines take."""
    log = tmp_path / "audit.log"
    other = History(random.Random(2))  # noqa: S311  # to be had again
    other.run(40)
    text = b"".join(one + b"\n" for one in other.lines).replace(b'"settings"', b'"unrelated"')
    block = text * (4_000_000 // len(text))
    with log.open("wb") as stream:
        stream.write(lines(made.events()[:3]))
        for _ in range(50):
            stream.write(block)
        stream.write(lines(made.events()[3:]))
    size = log.stat().st_size / 1e6
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(log)], capture_output=True, check=True, timeout=120
    )
    wall, busy, grown, user = json.loads(done.stdout)
    print(f"\n{size:.0f} MB in {wall:.1f} s: {size / wall:.0f} MB/s ({size / busy:.0f} of CPU)")
    print(f"memory grew by {grown:.0f} MB")
    assert user == "alice"
    assert grown < 60
    assert size / busy > 40


def test_entries_for_a_ticket(made: Made, tmp_path: Path) -> None:
    """The writes to the objects are returned as the log has them; of Secrets without bodies."""
    log = tmp_path / "audit.log"
    log.write_bytes(lines(made.events()))
    drift = Drift(Plane.OBJECTS, Difference.CHANGED, KEY, "data.a", "plain", "red")
    found = entries([drift], {}, log)
    assert [one["verb"] for one in found] == ["patch", "patch"]
    assert "requestObject" in found[0]
    assert entries([drift], {}, None) == []
    log.write_bytes(log.read_bytes().replace(b'"configmaps"', b'"secrets"'))
    secret = replace(KEY, kind="Secret")
    found = entries([replace(drift, key=secret)], {}, log)
    assert len(found) == 2
    assert "red" not in str(found)


def test_a_scan_counts(made: Made, tmp_path: Path) -> None:
    """What was read is counted: files, lines, bytes, and from when to when."""
    log = tmp_path / "audit.log"
    log.write_bytes(lines(made.events()) + b"\n\nnot json\n")
    scan = Scan(AuditSource(log))
    assert len(list(scan.events())) == 4
    assert (scan.coverage.files, scan.coverage.lines, scan.coverage.broken) == (1, 5, 1)
    assert scan.coverage.bytes == log.stat().st_size
