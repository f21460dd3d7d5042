"""One repository of many objects, and all that is timed with it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from opslib.kube.client import Cluster, connect
from opslib.kube.errors import ApiError
from opslib.sandbox import cluster
from opslib.sandbox.binaries import own_kubectl
from opslib.source.mirror import Mirror, Source

from . import audit, load
from .measure import Took, run

NAME = "bench"
DRIFTED = 10
OPSLIB = [sys.executable, "-m", "opslib"]
EMPTY_SECONDS = 600.0
_KINDS = (
    "/api/v1/namespaces/load/configmaps",
    "/api/v1/namespaces/load/services",
    "/apis/apps/v1/namespaces/load/deployments",
    "/apis/apps/v1/namespaces/load/replicasets",
)


class Work:
    """What opslib, kubectl and bare PATCHes do with the same objects."""

    def __init__(self, place: Path, objects: int) -> None:
        self.objects = objects
        self.repo = place / f"load-{objects}"
        self.folder = load.make(self.repo, objects)
        self.env = {**os.environ, **cluster.environment(NAME)}
        self.kubectl = [str(own_kubectl())]
        self.app = f"load-{objects}"
        self.where = ["--repo", str(self.repo), "--path", "app", "--app", self.app]
        self.requests = place / f"requests-{objects}"
        lines = load.requests(objects, load.NAMESPACE)
        self.requests.write_text("".join(f"{path}\t{body}\n" for path, body in lines))
        self._passes: subprocess.Popen[str] | None = None

    def empty(self) -> None:
        """Delete all objects and the inventory; what follows is a first apply.

        Nothing is kept of an earlier parsing, either. The collections one by one: the
        namespace's own deletion waits for its controller's clock.
        """
        shutil.rmtree(Mirror.open(Source(str(self.repo))).aside, ignore_errors=True)
        with _connected(self.env) as api:
            for path in _KINDS:
                _delete_all(api, path)
            own = "/api/v1/namespaces/opslib-system/configmaps"
            _delete_all(api, own, {"labelSelector": f"opslib.dev/app={self.app}"})

    def plan(self) -> Took:
        return run([*OPSLIB, "plan", *self.where], self.env)

    def apply(self) -> Took:
        return run([*OPSLIB, "apply", *self.where, "--yes", "--timeout", "20m"], self.env)

    def apply_only(self) -> Took:
        """Apply without looking at health afterwards, as kubectl does."""
        return run([*OPSLIB, "apply", *self.where, "--yes", "--no-wait"], self.env)

    def diff(self) -> Took:
        words = ["diff", "--server-side", "--force-conflicts", "-f", str(self.folder)]
        return run([*self.kubectl, *words, "--field-manager=peer"], self.env, (0, 1))

    def peer_apply(self) -> Took:
        words = ["apply", "--server-side", "--force-conflicts", "-f", str(self.folder)]
        return run([*self.kubectl, *words, "--field-manager=peer"], self.env)

    def get(self) -> Took:
        words = ["get", "configmaps,services,deployments", "-n", load.NAMESPACE, "-o", "json"]
        return run([*self.kubectl, *words], self.env)

    def bare(self, workers: int) -> Callable[[], Took]:
        words = [sys.executable, "-m", "tests.bench.bare", self.env["KUBECONFIG"]]
        words += [str(self.requests), str(workers)]
        return lambda: run(words, self.env)

    def anew(self, one: Callable[[], Took]) -> Callable[[], Took]:
        """Do it on an empty namespace."""

        def again() -> Took:
            self.empty()
            return one()

        return again

    def second_pass(self) -> Took:
        """Plan in a process where it was planned before: a pass of a loop after its fetch."""
        if self._passes is None:
            words = [sys.executable, "-m", "tests.bench.passes", str(self.repo), self.app]
            self._passes = subprocess.Popen(
                words, env=self.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        stdin, stdout = self._passes.stdin, self._passes.stdout
        if stdin is None or stdout is None:
            raise SystemExit("the process of the passes has no pipes")
        stdin.write("\n")
        stdin.flush()
        line = stdout.readline()
        if not line:
            raise SystemExit("the process of the passes ended")
        seconds, peak = map(float, line.split())
        return Took(seconds, peak)

    def end(self) -> None:
        """End the process of the passes."""
        if self._passes:
            self._passes.communicate()
        self._passes = None

    def drift(self) -> None:
        """Change ten objects as somebody would by hand."""
        with _connected(self.env) as api:
            for number in range(0, DRIFTED * 3, 3):
                api.request(
                    "PATCH",
                    f"/api/v1/namespaces/{load.NAMESPACE}/configmaps/o{number}",
                    query={"fieldManager": "kubectl-edit"},
                    body={"data": {"key": uuid.uuid4().hex}},
                    content_type="application/merge-patch+json",
                )

    def restored(self) -> Took:
        """Plan after what was changed by hand was put right, which is not timed."""
        self.apply()
        return self.plan()

    def drifted(self) -> Took:
        """Plan after ten objects were changed by hand."""
        self.drift()
        return self.plan()

    def count(self, one: Callable[[], Took]) -> dict[str, int]:
        """Do it once more, and count its requests on the server's audit log."""
        return audit.requests(Path(self.env["OPSLIB_AUDIT_LOG"]), "opslib", one)


@contextlib.contextmanager
def _connected(env: dict[str, str]) -> Iterator[Cluster]:
    api = connect(env["KUBECONFIG"], timeout=EMPTY_SECONDS)
    yield api
    api.close()


def _delete_all(api: Cluster, path: str, query: dict[str, Any] | None = None) -> None:
    """Delete a collection and wait until it is empty."""
    options = {**(query or {}), "propagationPolicy": "Background"}
    until = time.monotonic() + EMPTY_SECONDS
    while True:
        items = api.request("GET", path, query={**(query or {}), "limit": 10})["items"]
        if path.endswith("load/configmaps"):
            items = [item for item in items if item["metadata"]["name"] != "kube-root-ca.crt"]
        if not items:
            return
        if time.monotonic() > until:
            raise SystemExit(f"{path} does not become empty")
        try:
            api.request("DELETE", path, query=options)
        except ApiError as error:
            if error.code != 504:  # a minute was not enough for all of them: the rest is next
                raise
