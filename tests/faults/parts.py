"""What the tests of faults share: requests seen on their way, the audit log, programs that die."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml
from auditlog import lines

from opslib.core.model import Manifest, Origin, Resource
from opslib.kube.client import Cluster
from opslib.kube.discovery import Discovery
from opslib.reconcile.app import App
from opslib.reconcile.apply import Applied, apply_plan
from opslib.reconcile.desired import declare
from opslib.reconcile.judge import Prepared
from opslib.reconcile.planner import make_plan
from opslib.reconcile.prune import PruneLimits
from opslib.sandbox import processes, state
from opslib.sandbox.cluster import Status

from .victim import LIMITS, revision

T = TypeVar("T")
USER_AGENT = "opslib"
"""How the kit's own client names itself; a second writer of a test takes another name."""


@dataclass(frozen=True)
class Asked:
    """One request on its way to the API server."""

    method: str
    path: str
    query: dict[str, Any]
    body: Any

    @property
    def writes(self) -> bool:
        """Whether it changes the cluster: no read, and no dry run."""
        body = self.body if isinstance(self.body, dict) else {}
        return self.method != "GET" and "dryRun" not in self.query and not body.get("dryRun")


def overhear(
    cluster: Cluster,
    before: Callable[[Asked], None] = lambda asked: None,
    after: Callable[[Asked], None] = lambda asked: None,
) -> None:
    """Call a function before each request of this one connection is sent, and after its answer."""
    real = cluster._send

    def send(method: str, path: str, **options: Any) -> Any:
        asked = Asked(method, path, dict(options.get("query") or {}), options.get("body"))
        before(asked)
        answer = real(method, path, **options)
        after(asked)
        return answer

    cluster._send = send  # type: ignore[method-assign]  # of this connection only


def named(cluster: Cluster, agent: str) -> Cluster:
    """Let a connection call itself by another name in the audit log."""
    real = cluster._credentials
    cluster._credentials = lambda *words: {**real(*words), "User-Agent": agent}  # type: ignore[method-assign]  # of this connection only
    return cluster


def wait_for(what: Callable[[], T | None], *, seconds: float = 90, why: str = "") -> T:
    """Return the first true value within the deadline."""
    until = time.monotonic() + seconds
    while True:
        if value := what():
            return value
        assert time.monotonic() < until, why or "it did not come about in time"
        time.sleep(0.05)


@dataclass
class Bench:
    """One app in one namespace: texts of YAML are planned and written as successive commits."""

    cluster: Cluster
    namespace: str
    app: App

    def __post_init__(self) -> None:
        self.discovery = Discovery(self.cluster)

    def plan(self, text: str, commit: str, *, limits: PruneLimits = LIMITS) -> Prepared:
        """Plan these resources as a commit; the plan must have no problems."""
        found = [
            Resource(manifest, Origin("app.yaml", 1))
            for manifest in yaml.safe_load_all(text)
            if manifest
        ]
        prepared = make_plan(
            self.cluster,
            self.discovery,
            self.app,
            revision(commit),
            declare(found, self.discovery, namespace=self.namespace),
            is_ancestor=lambda older, newer: older <= newer,
            limits=limits,
        )
        assert not prepared.plan.problems, prepared.plan.problems
        return prepared

    def write(self, prepared: Prepared, **options: Any) -> Applied:
        """Apply a plan."""
        return apply_plan(self.cluster, self.discovery, prepared, **{"timeout": 60, **options})


@dataclass(frozen=True)
class Entry:
    """One request as the audit log has it."""

    verb: str
    resource: str
    name: str
    code: int
    agent: str
    uri: str
    body: Any

    @property
    def dry_run(self) -> bool:
        body = self.body if isinstance(self.body, dict) else {}
        return "dryRun" in self.query or bool(body.get("dryRun"))

    @property
    def query(self) -> dict[str, list[str]]:
        return urllib.parse.parse_qs(urllib.parse.urlsplit(self.uri).query)

    @property
    def done(self) -> bool:
        """Whether it changed the cluster."""
        return not self.dry_run and 200 <= self.code < 300

    @property
    def lock(self) -> tuple[str, str] | None:
        """Return the uid and resourceVersion that an apply or a delete was bound to."""
        body = self.body if isinstance(self.body, dict) else {}
        where = body.get("preconditions") or body.get("metadata") or {}
        found = where.get("uid"), where.get("resourceVersion")
        return (str(found[0]), str(found[1])) if all(found) else None


WRITES = ("create", "update", "patch", "delete", "deletecollection")


def audited(sandbox: Status, namespace: str, verbs: Sequence[str] = WRITES) -> list[Entry]:
    """Return what the audit log says of one namespace, in the order of the log.

    "" is for objects without a namespace.
    """
    return [
        _entry(event, ref)
        for event, ref in _events(sandbox.audit_log, namespace)
        if event["verb"] in verbs and event["stage"] == "ResponseComplete"
    ]


def _events(log: Path, namespace: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for line in lines(log):
        if namespace and namespace.encode() not in line:
            continue
        event = json.loads(line)
        ref = event.get("objectRef") or {}
        if ref.get("namespace", "") == namespace:
            yield event, ref


def _entry(event: dict[str, Any], ref: dict[str, Any]) -> Entry:
    body = event.get("requestObject")
    name = ref.get("name") or ((body or {}).get("metadata") or {}).get("name") or ""
    code = int((event.get("responseStatus") or {}).get("code", 0))
    agent = str(event.get("userAgent", ""))
    resource = "/".join(filter(None, (ref.get("resource"), ref.get("subresource"))))
    return Entry(event["verb"], resource, name, code, agent, event["requestURI"], body)


@dataclass
class Program:
    """One program of a sandbox of the test's own: killed, stopped, and started as it was."""

    sandbox: Status
    name: str
    _argv: list[str] = field(default_factory=list)
    _folder: str = ""
    started: ClassVar[list[subprocess.Popen[bytes]]] = []

    @property
    def pid(self) -> int:
        return processes.owned(self._place.work / "bin")[self.name][0]

    def kill(self) -> None:
        """End it at once, as a crash or the out-of-memory killer does."""
        pid = self.pid
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
        self._argv = [os.fsdecode(word) for word in words]
        self._folder = os.readlink(f"/proc/{pid}/cwd")
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: processes.gone(pid), why=f"{self.name} does not die")

    def start(self) -> None:
        """Start it again with the words that it was started with."""
        log = self._place.work / "logs" / f"{self.name}.log"
        with log.open("ab") as stream:
            self.started.append(
                subprocess.Popen(
                    self._argv,
                    cwd=self._folder,
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=stream,
                    start_new_session=True,
                )
            )

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Keep it from running while the block runs."""
        pid = self.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    @classmethod
    def reap(cls) -> None:
        """Wait for all that were started here; their sandbox is down."""
        while cls.started:
            cls.started.pop().wait(timeout=90)

    @property
    def _place(self) -> state.Place:
        return state.place(self.sandbox.name)


def leaves(thing: Manifest) -> dict[tuple[str, ...], Any]:
    """Return an object's values by their paths; a list is one value.

    Without status and what the server itself keeps. An own reading, not the kit's.
    """
    server = {"managedFields", "resourceVersion", "generation", "uid", "creationTimestamp"}
    metadata = {k: v for k, v in thing["metadata"].items() if k not in server}
    rest = {k: v for k, v in thing.items() if k not in {"status", "metadata"}}
    return dict(_walk({**rest, "metadata": metadata}, ()))


def _walk(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _walk(part, (*path, key))
    else:
        yield path, value
