"""One holder at a time, by a Lease in the cluster (coordination.k8s.io/v1).

The rules are those of client-go's leader election: a holder renews well before the
lease ends; a contender takes it only when it has seen no renewal for the lease's whole
duration by its own clock, so that clocks need not agree. A holder that was killed on this
machine is known to be dead at once (see ``lifesign``).
https://pkg.go.dev/k8s.io/client-go/tools/leaderelection
"""

from __future__ import annotations

import math
import os
import secrets
import socket
import time
from dataclasses import dataclass
from typing import Any

from opslib.core.clock import awake, now, parse_stamp, stamp
from opslib.core.errors import LockBusy
from opslib.kube import lifesign
from opslib.kube.client import Cluster
from opslib.kube.errors import ApiError
from opslib.kube.lifesign import LifeSign

_ROOT = "/apis/coordination.k8s.io/v1/namespaces"
_LOOK = 0.5
"""Seconds between two looks at a lease whose holder seems to be dead."""


def identity() -> str:
    """Return a name for this process that no other has: host, pid and a random part."""
    return f"{socket.gethostname()}_{os.getpid()}_{secrets.token_hex(4)}"


@dataclass(frozen=True)
class Holder:
    """Who holds a lease and since when."""

    identity: str
    acquired: str
    renewed: str
    transitions: int


class Lease:
    """A named lease that this process may hold for ``duration`` seconds after each renewal."""

    def __init__(
        self, cluster: Cluster, namespace: str, name: str, *, holder: str, duration: float = 15
    ) -> None:
        self._cluster = cluster
        self._collection = f"{_ROOT}/{namespace}/leases"
        self.name = name
        self.holder = holder
        self.duration = duration
        self._seen: tuple[str, float] = ("", 0.0)
        self._held_until = 0.0
        self._sign = LifeSign(holder)

    def held(self) -> bool:
        """Whether this process may still write: its last renewal is younger than the lease.

        By the monotonic clock from before the renewal was sent, so a process that was
        frozen and woken up answers False without asking anybody.
        """
        return awake() < self._held_until

    def try_acquire(self) -> bool:
        """Take or renew the lease; False when another holder's term may still run."""
        asked = awake()
        live = self._cluster.find(f"{self._collection}/{self.name}")
        if live is None:
            return self._write("POST", self._collection, self._fresh(None), asked)
        spec = live.get("spec") or {}
        holder = str(spec.get("holderIdentity") or "")
        mine = holder == self.holder
        if not mine:
            self._held_until = 0.0  # somebody took it, whatever our clock says
        if not mine and holder and not self._expired(spec) and not lifesign.gone(holder):
            return False
        body = {**live, "spec": self._fresh(spec)["spec"]}
        taken = self._write("PUT", f"{self._collection}/{self.name}", body, asked)
        if taken and not mine:
            lifesign.forget(holder)
        return taken

    def acquire(self) -> bool:
        """Take the lease; one that a dead holder left, after watching it for its term.

        False, at once, where the holder renewed it within its term by the clocks of both: it
        lives. Else the clocks may differ, so that it is watched for a term by our own clock.
        """
        if self.try_acquire():
            return True
        seen = first = self.read()
        until = time.monotonic() + 2 * self.duration
        while (seen is None or (seen == first and self._has_run_out(seen))) and (
            time.monotonic() < until
        ):
            time.sleep(_LOOK)
            if self.try_acquire():
                return True
            seen = self.read()
        return False

    def _has_run_out(self, holder: Holder) -> bool:
        try:
            return (now() - parse_stamp(holder.renewed)).total_seconds() > self.duration
        except ValueError:
            return True

    def release(self) -> None:
        """Give the lease back, so that a successor need not wait for its end."""
        self._held_until = 0.0
        self._sign.take_back()
        live = self._cluster.find(f"{self._collection}/{self.name}")
        held = (live or {}).get("spec") or {}
        if live is None or held.get("holderIdentity") != self.holder:
            return
        spec = {**held, "holderIdentity": "", "leaseDurationSeconds": 1}
        try:
            self._cluster.request(
                "PUT", f"{self._collection}/{self.name}", body={**live, "spec": spec}
            )
        except ApiError as error:
            if error.code not in (404, 409):
                raise

    def read(self) -> Holder | None:
        """Return who holds the lease now, or None when nobody does."""
        live = self._cluster.find(f"{self._collection}/{self.name}")
        spec = (live or {}).get("spec") or {}
        if not spec.get("holderIdentity"):
            return None
        return Holder(
            spec["holderIdentity"],
            spec.get("acquireTime", ""),
            spec.get("renewTime", ""),
            int(spec.get("leaseTransitions", 0)),
        )

    def busy(self) -> LockBusy:
        """Return the error that names the holder."""
        holder = self.read()
        name = holder.identity if holder else "another process"
        return LockBusy(
            f"the lease is held by {name}",
            where=f"Lease {self._collection.removeprefix(_ROOT + '/')}/{self.name}",
            hint="wait: it is free when that loop ends or stops renewing it",
        )

    def _expired(self, spec: dict[str, Any]) -> bool:
        mark = f"{spec.get('holderIdentity')} {spec.get('renewTime')}"
        if mark != self._seen[0]:
            self._seen = (mark, awake())
        term = float(spec.get("leaseDurationSeconds") or self.duration)
        return awake() - self._seen[1] > term

    def _fresh(self, old: dict[str, Any] | None) -> dict[str, Any]:
        moment = stamp()
        previous = old or {}
        kept = previous.get("holderIdentity") == self.holder
        moved = old is not None and not kept
        spec = {
            "holderIdentity": self.holder,
            # Rounded up: contenders must wait no less than the holder believes to hold.
            "leaseDurationSeconds": max(1, math.ceil(self.duration)),
            "acquireTime": previous.get("acquireTime", moment) if kept else moment,
            "renewTime": moment,
            "leaseTransitions": int(previous.get("leaseTransitions") or 0) + int(moved),
        }
        kind = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
        return {**kind, "metadata": {"name": self.name}, "spec": spec}

    def _write(self, method: str, path: str, body: dict[str, Any], asked: float) -> bool:
        self._sign.show()  # before the lease names us: from then on others ask for it
        try:
            self._cluster.request(method, path, body=body)
        except ApiError as error:
            if error.code == 409:
                return False
            raise
        self._held_until = asked + self.duration
        return True
