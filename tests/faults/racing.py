"""A second writer: what it does to an object, when, and the history that a watch tells of it."""

from __future__ import annotations

import json
import random
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from opslib.core.model import Manifest
from opslib.kube.client import MERGE, Cluster
from opslib.kube.errors import ApiError

from .parts import Asked

MANAGER = "kubectl-edit"
END = "the-end"
FIELDS = {"configmaps": ("data",), "services": ("metadata", "labels")}
"""Where an object of each kind keeps its pairs of texts."""

MOMENTS = ("between", "at the write", "twice", "while others are written")
"""Between plan and apply; when the write is on its way, its lock read long ago; then, and again
when it is planned anew; at any time during the apply."""


class History:
    """Every version of every object of one kind in a namespace, as a watch of its own tells."""

    def __init__(self, server: Cluster, path: str) -> None:
        self.path = path
        self.versions: dict[str, list[Manifest]] = defaultdict(list)
        self._server = server
        items, self._since = server.list(path)
        for item in items:
            self._keep(item)
        self._thread = threading.Thread(target=self._follow, name="history", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Wait until all that happened so far was told."""
        body: dict[str, Any] = {"metadata": {"name": END}}
        if self.path.endswith("services"):
            body["spec"] = {"clusterIP": "None"}
        self._server.request("POST", self.path, body=body)
        self._thread.join(timeout=60)
        assert not self._thread.is_alive(), "the watch tells no end"

    def version(self, uid: str, resource_version: str) -> int:
        """Return the place of a version among the versions of its object."""
        found = [one["metadata"]["resourceVersion"] for one in self.versions[uid]]
        return found.index(resource_version)

    def _follow(self) -> None:
        query: dict[str, str | int | bool] = {"watch": True, "resourceVersion": self._since}
        for line in self._server.stream(self.path, query=query, timeout=200):
            event = json.loads(line)
            assert event["type"] in {"ADDED", "MODIFIED", "DELETED"}, event
            if event["object"]["metadata"]["name"] == END:
                return
            if event["type"] != "DELETED":
                self._keep(event["object"])

    def _keep(self, thing: Manifest) -> None:
        self.versions[thing["metadata"]["uid"]].append(thing)


@dataclass
class SecondWriter:
    """Somebody else with rights of their own, who knows nothing of the plan."""

    server: Cluster
    namespace: str
    dice: random.Random
    done: Counter[str] = field(default_factory=Counter)
    """What it did that the server took, while a plan was on its way."""

    def path(self, plural: str, name: str = "") -> str:
        return f"/api/v1/namespaces/{self.namespace}/{plural}" + (f"/{name}" if name else "")

    def edits(self, plural: str, *, fresh: bool) -> dict[str, Callable[[str], None]]:
        """Return what may be done to an object that is there, or to the name of a new one."""
        if fresh:
            return {
                "created first, other value": lambda n: self._create(plural, n, {"a": "theirs"}),
                "created first, other field": lambda n: self._create(plural, n, {"z": "theirs"}),
            }
        edits = {
            "same field": lambda n: self._set(plural, n, "a"),
            "declared field": lambda n: self._set(plural, n, "b"),
            "dropped field": lambda n: self._set(plural, n, "c"),
            "other field": lambda n: self._set(plural, n, "z"),
            "field removed": lambda n: self._set(plural, n, "b", remove=True),
            "label": lambda n: self._merge(plural, n, {"metadata": {"labels": {"x": self._any()}}}),
            "annotation": lambda n: self._merge(
                plural, n, {"metadata": {"annotations": {"note": self._any()}}}
            ),
            "deleted": lambda n: self._delete(plural, n),
            "deleted and made anew": lambda n: self._anew(plural, n),
        }
        if plural == "services":
            edits["status"] = self._status
            edits["target of a port"] = lambda n: self._merge(
                plural, n, {"spec": {"ports": [{"port": 80, "targetPort": 8081}]}}
            )
        return edits

    def act(self, what: str, edit: Callable[[str], None], name: str) -> bool:
        """Do it; False where the server did not take it, as the object is gone."""
        try:
            edit(name)
        except ApiError as error:
            if error.code not in {404, 409}:
                raise
            return False
        self.done[what] += 1
        return True

    def _any(self) -> str:
        return f"theirs-{self.dice.randrange(10**9)}"

    def _set(self, plural: str, name: str, key: str, *, remove: bool = False) -> None:
        value: Any = {key: None if remove else self._any()}
        for step in reversed(FIELDS[plural]):
            value = {step: value}
        self._merge(plural, name, value)

    def _merge(self, plural: str, name: str, change: dict[str, Any], sub: str = "") -> None:
        self.server.request(
            "PATCH",
            self.path(plural, name) + sub,
            query={"fieldManager": MANAGER},
            body=change,
            content_type=MERGE,
        )

    def _status(self, name: str) -> None:
        condition = {
            "type": "Seen",
            "status": "True",
            "reason": "ByHand",
            "message": self._any(),
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        self._merge("services", name, {"status": {"conditions": [condition]}}, "/status")

    def _create(self, plural: str, name: str, pairs: dict[str, str]) -> None:
        body: dict[str, Any] = {"metadata": {"name": name}}
        if plural == "services":
            body["spec"] = {"clusterIP": "None", "selector": {"app": "x"}, "ports": [{"port": 80}]}
            body["metadata"]["labels"] = pairs
        else:
            body["data"] = pairs
        query = {"fieldManager": MANAGER}
        self.server.request("POST", self.path(plural), query=query, body=body)

    def _delete(self, plural: str, name: str) -> None:
        self.server.request("DELETE", self.path(plural, name))

    def _anew(self, plural: str, name: str) -> None:
        live = self.server.get(self.path(plural, name))
        self._delete(plural, name)
        # Exactly as it was, to be told from the old one by nothing but its uid.
        kept = {k: v for k, v in live["metadata"].items() if k in {"name", "labels", "annotations"}}
        body = {k: v for k, v in live.items() if k in {"data", "spec"}} | {"metadata": kept}
        self.server.request("POST", self.path(plural), query={"fieldManager": MANAGER}, body=body)


@dataclass
class Ambush:
    """One thing that is to happen to one object, when a request for it is on its way."""

    times: int
    strike: Callable[[], None]
    lock: threading.Lock = field(default_factory=threading.Lock)
    struck: int = 0

    def meet(self, asked: Asked) -> None:
        """Strike at the write; the second time at the dry run that plans it anew."""
        with self.lock:
            due = asked.writes if self.struck == 0 else asked.method == "PATCH"
            if self.struck >= self.times or not due:
                return
            self.struck += 1
        self.strike()
