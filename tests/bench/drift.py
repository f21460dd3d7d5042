"""What a drift review costs beside a plan that finds nothing: outputs/bench/drift.json.

``python -m tests.bench.drift [OBJECTS]`` applies so many objects (default: 5000), and in turn plans
them as they are declared, and reviews them after 50 of them were changed by hand: values, keys,
labels, list items, deleted and foreign objects. Whole processes, alternating, medians.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from opslib.kube.client import MERGE, Cluster, connect
from opslib.kube.errors import ApiError
from opslib.sandbox import cluster

from . import load
from .driftreport import MOST
from .measure import Took, alternating, machine, ratio, run, table, write
from .work import NAME, OPSLIB, Work

OBJECTS = 5000
ROUNDS = 5
TENTH = 10
"""So many objects are changed in each of five ways."""
DRIFTS = 5 * TENTH
PLAN, REVIEW = "plan, nothing to do", f"review, {DRIFTS} drifts"
BOOK = f"the runbook with kernel, record and audit log, {DRIFTS} drifts"
STRATEGIC = "application/strategic-merge-patch+json"

_CORE = f"/api/v1/namespaces/{load.NAMESPACE}"
_APPS = f"/apis/apps/v1/namespaces/{load.NAMESPACE}"


class Drifted:
    """The objects of ``load``, changed by hand and put right again."""

    def __init__(self, place: Path, objects: int) -> None:
        self.work = Work(place, objects)
        self.look = [sys.executable, "-m", "tests.bench.look"]
        self.of = [str(self.work.repo), self.work.app]

    def plan(self) -> Took:
        """Plan what is as it is declared; to put it right is not timed."""
        with self._api() as api:
            _undo(api)
        self.work.apply()
        return run([*self.look, "plan", *self.of, "0"], self.work.env)

    def review(self) -> Took:
        """Review after fifty changes, which are not timed."""
        with self._api() as api:
            _change(api)
        return self.again()

    def again(self) -> Took:
        """Review what was changed before."""
        return run([*self.look, "review", *self.of, str(DRIFTS)], self.work.env)

    def book(self) -> Took:
        """Run the runbook headless, kernel and record included, over what was changed already."""
        words = [*OPSLIB, "run", "drift-review", "-p", "repo", self.of[0], "-p", "path", "app"]
        words += ["-p", "app", self.of[1], "-p", "decide", "all=escalate"]
        return run([*words, "--out", str(self.work.repo.parent / "out")], self.work.env)

    @contextlib.contextmanager
    def _api(self) -> Iterator[Cluster]:
        api = connect(self.work.env["KUBECONFIG"])
        yield api
        api.close()


def _numbers(kind: int, batch: int) -> list[int]:
    """Return the numbers of ten objects: 0 ConfigMaps, 1 Services, 2 Deployments."""
    return [3 * (batch * TENTH + number) + kind for number in range(TENTH)]


def _patch(api: Cluster, path: str, body: Any, kind: str = MERGE) -> None:
    query = {"fieldManager": "kubectl-edit"}
    api.request("PATCH", path, query=query, body=body, content_type=kind)


def _env(api: Cluster, number: int, variable: dict[str, str]) -> None:
    pod = {"containers": [{"name": "app", "env": [variable]}]}
    body = {"spec": {"template": {"spec": pod}}}
    _patch(api, f"{_APPS}/deployments/o{number}", body, STRATEGIC)


def _change(api: Cluster) -> None:
    for number in _numbers(0, 0):
        _patch(api, f"{_CORE}/configmaps/o{number}", {"data": {"key": uuid.uuid4().hex}})
    for number in _numbers(0, 1):
        api.request("DELETE", f"{_CORE}/configmaps/o{number}")
    for number in _numbers(1, 0):
        _patch(api, f"{_CORE}/services/o{number}", {"metadata": {"labels": {"by": "hand"}}})
    for number in _numbers(2, 0):
        _env(api, number, {"name": "X", "value": "y"})
    for number in range(TENTH):
        shell = {"apiVersion": "v1", "kind": "ConfigMap"}
        body = {**shell, "metadata": {"name": f"foreign-{number}"}}
        api.request("POST", f"{_CORE}/configmaps", body=body)


def _undo(api: Cluster) -> None:
    for number in _numbers(1, 0):
        _patch(api, f"{_CORE}/services/o{number}", {"metadata": {"labels": {"by": None}}})
    for number in _numbers(2, 0):
        _env(api, number, {"name": "X", "$patch": "delete"})
    for number in range(TENTH):
        with contextlib.suppress(ApiError):
            api.request("DELETE", f"{_CORE}/configmaps/foreign-{number}")


def measure(place: Path, objects: int, rounds: int = ROUNDS) -> dict[str, Any]:
    """Measure on the control plane NAME, which runs."""
    drifted = Drifted(place, objects)
    drifted.work.apply_only()
    work = {PLAN: drifted.plan, REVIEW: drifted.review, BOOK: drifted.book}
    rows = alternating(work, rounds, only={BOOK: 3})
    times = ratio(rows, REVIEW, PLAN)
    requests = drifted.work.count(drifted.again)
    print(f"{table(rows)}\n   the review takes {times} times the plan (at most {MOST})", flush=True)
    return {
        "objects": objects,
        **machine(),
        "rows": rows,
        "review to plan": times,
        "requests of a review": requests,
    }


def main(objects: int) -> None:
    """Measure on a control plane of its own, and write the results."""
    cluster.down(NAME)
    cluster.up(NAME)
    try:
        cluster.make_namespace(NAME, load.NAMESPACE)
        with tempfile.TemporaryDirectory() as place:
            print(f"written: {write('drift', measure(Path(place), objects))}")
    finally:
        cluster.down(NAME)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else OBJECTS)
