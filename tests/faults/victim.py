"""A process that plans and applies, and dies by SIGKILL at a request of the test's choice."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from dataclasses import dataclass
from typing import Any

import yaml

from opslib.core.model import Origin, Resource, Revision
from opslib.kube.client import Cluster, connect
from opslib.kube.discovery import Discovery
from opslib.reconcile.app import App
from opslib.reconcile.apply import apply_plan
from opslib.reconcile.desired import declare
from opslib.reconcile.planner import make_plan
from opslib.reconcile.prune import PruneLimits

NOT_OK, WRITTEN = 3, 0
LIMITS = PruneLimits(count=100, percent=100)


def revision(commit: str) -> Revision:
    """Return a revision; the commit is repeated up to 40 digits."""
    return Revision("file:///repo", "main", (commit * 40)[:40], path="app")


@dataclass(frozen=True)
class Job:
    """What is applied where: YAML as a commit of an app, in one namespace."""

    kubeconfig: str
    namespace: str
    app: str
    text: str
    commit: str


def apply(job: Job) -> bool:
    """Plan and apply these resources as a process of its own would; True where all is well."""
    cluster = connect(job.kubeconfig)
    discovery = Discovery(cluster)
    found = [
        Resource(manifest, Origin("app.yaml", 1))
        for manifest in yaml.safe_load_all(job.text)
        if manifest
    ]
    desired = declare(found, discovery, namespace=job.namespace)
    prepared = make_plan(
        cluster,
        discovery,
        App(job.app),
        revision(job.commit),
        desired,
        is_ancestor=lambda older, newer: older <= newer,
        limits=LIMITS,
    )
    if prepared.plan.problems:
        raise AssertionError(prepared.plan.problems)
    return apply_plan(cluster, discovery, prepared, timeout=60).ok


def dies(job: Job, number: int, moment: str) -> None:
    """Apply, and be killed ``before`` or ``after`` the request of this number; exits by itself."""
    count = itertools.count(1)
    lock = threading.Lock()
    real = Cluster._send  # the one place that every request goes through

    def send(self: Cluster, *words: Any, **options: Any) -> Any:
        with lock:
            mine = next(count) == number
        if mine and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = real(self, *words, **options)
        if mine:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    Cluster._send = send  # type: ignore[method-assign]  # in this process only
    ok = apply(job)
    os._exit(WRITTEN if ok else NOT_OK)
