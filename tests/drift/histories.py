"""Made-up histories of one object with a known truth, as an API server's audit log tells them."""

from __future__ import annotations

import copy
import json
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from opslib.core.model import Manifest, ResourceKey

USERS = ("alice", "bob", "carol", "system:serviceaccount:ops:tuner")
MANAGERS = ("kubectl-edit", "kubectl-patch", "tool", "opslib-shop")
FIELDS = ("a", "b")
VALUES = ("red", "green", "blue")
KEY = ResourceKey("", "ConfigMap", "shop", "settings")
BEGIN = datetime(2026, 11, 30, 8, 0, 0, 250_000, UTC)


@dataclass
class History:
    """A ConfigMap, the events of all that was done to it, and who did what last.

    ``truth`` has for each field the user and audit id that gave it its present value (or took
    it away); ``deleted`` those of the deletion, ``created`` of the creation.
    """

    chance: random.Random
    now: datetime = BEGIN
    live: Manifest | None = None
    owners: dict[tuple[str, str], tuple[set[str], str]] = field(default_factory=dict)
    lines: list[bytes] = field(default_factory=list)
    truth: dict[str, tuple[str, str]] = field(default_factory=dict)
    created: tuple[str, str] = ("", "")
    deleted: tuple[str, str] = ("", "")
    tracked: bool = True

    def tick(self) -> None:
        self.now += timedelta(seconds=self.chance.choice([0.02, 0.3, 1.1, 3]))

    def run(self, steps: int) -> None:
        self.tracked = self.chance.random() < 0.7
        self.noise()
        for _ in range(steps):
            self.tick()
            if self.live is None:
                self._create()
            else:
                weights = (6, 4, 3, 3, 3, 1, 1, 1, 1)
                acts = (
                    self._merge, self._json, self._put, self._apply, self._merge_none,
                    self._delete, self._dry_run, self._refused, self._wipe,
                )  # fmt: skip
                self.chance.choices(acts, weights)[0]()
            if self.chance.random() < 0.5:
                self.noise()
        self.tick()

    def read(self) -> str:
        """Let the reviewer read: return the time right before; the log has that reading."""
        at = self.now
        self.tick()
        self.noise()
        return _stamp(at)

    def noise(self) -> None:
        """Somebody reads something."""
        self._log("list", "reader", code=200, name="", uri="")
        self.now += timedelta(milliseconds=self.chance.randrange(1, 300))

    # -- what is done

    def _create(self) -> None:
        data = {k: self.chance.choice(VALUES) for k in FIELDS if self.chance.random() < 0.7}
        body: Manifest = {"apiVersion": "v1", "kind": "ConfigMap", "data": data}
        body["metadata"] = {"name": KEY.name, "namespace": KEY.namespace}
        user, manager = self._who()
        if self.chance.random() < 0.4:
            uri, verb = f"fieldManager={manager}&force=true", "patch"
        else:
            uri, verb = f"fieldManager={manager}", "create"
        done = self._log(verb, user, body=body, code=201, uri=uri)
        self.live, self.owners = {**copy.deepcopy(body)}, {}
        metadata = self.live["metadata"]
        metadata["creationTimestamp"] = _second(self.now)
        metadata["uid"] = f"uid-{done}"
        self.created = (user, done)
        self.truth = dict.fromkeys(FIELDS, (user, done))
        self._own(manager, "Apply" if verb == "patch" else "Update", set(data))

    def _merge(self) -> None:
        fields = self.chance.sample(FIELDS, self.chance.choice([1, 1, 2]))
        change = {name: self.chance.choice(VALUES) for name in fields}
        body = {"data": change} if self.chance.random() < 0.8 else {"metadata": {"labels": change}}
        self._write("patch", body, body.get("data", {}))

    def _merge_none(self) -> None:
        name = self.chance.choice(FIELDS)
        self._write("patch", {"data": {name: None}}, {name: None})

    def _json(self) -> None:
        name, value = self.chance.choice(FIELDS), self.chance.choice(VALUES)
        if name in self._data() and self.chance.random() < 0.4:
            self._write("patch", [{"op": "remove", "path": f"/data/{name}"}], {name: None})
        else:
            body = [{"op": "add", "path": f"/data/{name}", "value": value}]
            self._write("patch", body, {name: value})

    def _put(self) -> None:
        data = {k: self.chance.choice(VALUES) for k in FIELDS if self.chance.random() < 0.7}
        if self.chance.random() < 0.6:
            data = dict(self._data())
        body = {**copy.deepcopy(self.live or {}), "data": data}
        self._write("update", body, {name: data.get(name) for name in FIELDS})

    def _apply(self) -> None:
        """Apply some fields; those that this manager applied before and not now go."""
        user, manager = self._who()
        data = {k: self.chance.choice(VALUES) for k in FIELDS if self.chance.random() < 0.6}
        mine, _ = self.owners.get((manager, "Apply"), (set(), ""))
        others = {
            name
            for key, (fields, _) in self.owners.items()
            if key != (manager, "Apply")
            for name in fields
        }
        gone = dict.fromkeys(mine - data.keys() - others)
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": KEY.name},
            "data": data,
        }
        self._write("patch", body, {**data, **gone}, user, manager, applied=set(data))

    def _delete(self) -> None:
        user, _ = self._who()
        verb, name = self.chance.choice([("delete", KEY.name), ("deletecollection", "")])
        done = self._log(verb, user, code=200, name=name, gone=verb == "delete")
        self.live, self.deleted = None, (user, done)

    def _dry_run(self) -> None:
        body = {"data": {name: self.chance.choice(VALUES) for name in FIELDS}}
        self._log("patch", self._who()[0], body=body, uri="fieldManager=tool&dryRun=All")

    def _refused(self) -> None:
        body = {"data": {name: self.chance.choice(VALUES) for name in FIELDS}}
        self._log("patch", self._who()[0], body=body, code=self.chance.choice([403, 409, 422, 500]))

    def _wipe(self) -> None:
        self._log("patch", self._who()[0], body={"metadata": {"managedFields": [{}]}})
        self.owners = {}
        self.tracked = False

    # -- how the server takes it

    def _write(
        self,
        verb: str,
        body: Any,
        change: dict[str, Any],
        user: str = "",
        manager: str = "",
        *,
        applied: set[str] | None = None,
    ) -> None:
        who, name = self._who()
        user, manager = user or who, manager or name
        uri = f"fieldManager={manager}" + ("" if applied is None else "&force=true")
        done = self._log(verb, user, body=body, uri=uri)
        data = self._data()
        changed = {key for key, value in change.items() if data.get(key) != value}
        for key in changed:
            self.truth[key] = (user, done)
            data[key] = change[key]
            if change[key] is None:
                del data[key]
        for kept, _ in self.owners.values():
            kept.difference_update(changed)
        if applied is not None:
            self._own(manager, "Apply", applied, taken=bool(changed))
        elif changed:
            self._own(manager, "Update", {key for key in changed if key in data}, more=True)

    def _own(
        self, manager: str, how: str, fields: set[str], *, more: bool = False, taken: bool = True
    ) -> None:
        old, at = self.owners.get((manager, how), (set(), ""))
        mine = old | fields if more else set(fields)
        moved = taken or mine != old
        self.owners[manager, how] = (mine, _second(self.now) if moved or not at else at)

    def _data(self) -> dict[str, Any]:
        assert self.live is not None
        data: dict[str, Any] = self.live["data"]
        return data

    def _who(self) -> tuple[str, str]:
        return self.chance.choice(USERS), self.chance.choice(MANAGERS)

    def _log(  # noqa: PLR0917  # as an event has them
        self,
        verb: str,
        user: str,
        body: Any = None,
        code: int = 200,
        uri: str = "fieldManager=tool",
        name: str = KEY.name,
        *,
        gone: bool = False,
    ) -> str:
        """Write one event, and return its id; the time goes on by what the request takes."""
        begun = self.now
        self.now += timedelta(milliseconds=self.chance.randrange(1, 9))
        number = f"id-{len(self.lines):05d}"
        status: dict[str, Any] = {"metadata": {}, "code": code}
        if gone:
            status |= {"status": "Success", "details": {"name": name, "kind": "configmaps"}}
        event: dict[str, Any] = {
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": "Request",
            "auditID": number,
            "stage": "ResponseComplete",
            "requestURI": f"/api/v1/namespaces/shop/configmaps/{name}?{uri}",
            "verb": verb,
            "user": {"username": user},
            "userAgent": "tool/1.0",
            "objectRef": {"resource": "configmaps", "namespace": "shop", "name": name},
            "responseStatus": status,
            "requestReceivedTimestamp": _stamp(begun),
            "stageTimestamp": _stamp(self.now),
        }
        event["objectRef"]["apiVersion"] = "v1"
        if body is not None:
            event["requestObject"] = copy.deepcopy(body)
        self.lines.append(json.dumps(event, separators=(",", ":")).encode())
        return number

    def object(self) -> Manifest | None:
        """Return the live object, with managedFields where the server keeps them."""
        if self.live is None:
            return None
        found = copy.deepcopy(self.live)
        if self.tracked:
            found["metadata"]["managedFields"] = [
                {
                    "manager": manager,
                    "operation": how,
                    "time": at,
                    "fieldsV1": {"f:data": {f"f:{name}": {} for name in sorted(fields)}},
                }
                for (manager, how), (fields, at) in self.owners.items()
                if fields
            ]
        return found


def spoiled(lines: list[bytes], folder: Path, chance: random.Random) -> Path:
    """Write a log as it may be found: rotated, cut, torn, without bodies, in disorder."""
    lines = [_bodiless(one) if chance.random() < 0.05 else one for one in lines]
    if chance.random() < 0.3:
        lines = [one for one in lines for _ in range(chance.choice([1, 1, 1, 2]))]
    if chance.random() < 0.3:
        for at in range(len(lines) - 1):
            if chance.random() < 0.2:
                lines[at], lines[at + 1] = lines[at + 1], lines[at]
    how = chance.choice(["whole", "whole", "head", "tail", "both", "torn", "rotated", "rotated"])
    text = b"".join(one + b"\n" for one in lines)
    low, high = sorted(chance.randrange(len(text)) for _ in range(2))
    log = folder / "audit.log"
    if how == "rotated":
        _rotated(lines, log, chance)
        return log
    cuts = {"head": text[low:], "tail": text[:high], "both": text[low:high], "whole": text}
    cuts["torn"] = text[:low] + text[min(high, low + 900) :]
    log.write_bytes(cuts[how])
    return log


def _rotated(lines: list[bytes], log: Path, chance: random.Random) -> None:
    """Spread a log over rotated files, of which some are missing."""
    size = max(2, len(lines) // chance.randrange(2, 6))
    parts = [lines[at : at + size] for at in range(0, len(lines), size)]
    lost = chance.choice([None, None, chance.randrange(len(parts))])
    for number, part in enumerate(parts):
        path = log
        if number + 1 < len(parts):
            first = json.loads(parts[number + 1][0])["stageTimestamp"]
            at = datetime.fromisoformat(first)
            path = log.with_name(f"audit-{at:%Y-%m-%dT%H-%M-%S}.{at.microsecond // 1000:03d}.log")
        if number != lost:
            path.write_bytes(b"".join(one + b"\n" for one in part))


def _bodiless(line: bytes) -> bytes:
    event = json.loads(line)
    event.pop("requestObject", None)
    event["level"] = "Metadata"
    return json.dumps(event, separators=(",", ":")).encode()


def _stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _second(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
