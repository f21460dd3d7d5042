"""Plan and apply beside kubectl, on the same objects and server: outputs/bench/reconcile.json.

``python -m tests.bench.reconcile [OBJECTS ...]`` measures each number of objects (default: 1000).
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from opslib.kube.client import connect
from opslib.sandbox import cluster
from opslib.sandbox.binaries import kubectl

from . import load
from .measure import Took, alternating, ratio, run, table, write

ROUNDS = 5
FIRST_ROUNDS = 3
DRIFTED = 10
NAME = "bench"
OPSLIB = [sys.executable, "-m", "opslib"]


class Work:
    """One repository of many objects, and what is timed with it."""

    def __init__(self, place: Path, objects: int) -> None:
        self.objects = objects
        self.repo = place / f"load-{objects}"
        self.folder = load.make(self.repo, objects)
        self.env = {**os.environ, **cluster.environment(NAME)}
        self.kubectl = [str(kubectl())]
        self.where = ["--repo", str(self.repo), "--path", "app", "--app", f"load-{objects}"]

    def empty(self) -> None:
        """Delete the namespace of the load with all that is in it and the inventory; make it anew.

        What follows is a first apply.
        """
        words = [*self.kubectl, "delete", "--ignore-not-found", "--wait=true"]
        run([*words, "namespace", load.NAMESPACE], self.env)
        inventory = f"inventory-load-{self.objects}"
        run([*words, "configmap", "-n", "opslib-system", inventory], self.env)
        cluster.make_namespace(NAME, load.NAMESPACE)

    def plan(self) -> Took:
        return run([*OPSLIB, "plan", *self.where], self.env)

    def diff(self) -> Took:
        words = ["diff", "--server-side", "--force-conflicts", "-f", str(self.folder)]
        return run([*self.kubectl, *words, "--field-manager=peer"], self.env, (0, 1))

    def peer_apply(self) -> Took:
        words = ["apply", "--server-side", "--force-conflicts", "-f", str(self.folder)]
        return run([*self.kubectl, *words, "--field-manager=peer"], self.env)

    def get(self) -> Took:
        words = ["get", "configmaps,services,deployments", "-n", load.NAMESPACE, "-o", "json"]
        return run([*self.kubectl, *words], self.env)

    def apply(self) -> Took:
        return run([*OPSLIB, "apply", *self.where, "--yes", "--timeout", "10m"], self.env)

    def drift(self) -> None:
        """Change ten objects as somebody would by hand."""
        api = connect(self.env["KUBECONFIG"])
        for number in range(0, DRIFTED * 3, 3):
            api.request(
                "PATCH",
                f"/api/v1/namespaces/{load.NAMESPACE}/configmaps/o{number}",
                query={"fieldManager": "kubectl-edit"},
                body={"data": {"key": uuid.uuid4().hex}},
                content_type="application/merge-patch+json",
            )
        api.close()


def first_apply(work: Work) -> dict[str, dict[str, Any]]:
    """Time the first apply, each time into a new namespace."""

    def anew(one: Callable[[], Took]) -> Callable[[], Took]:
        def again() -> Took:
            work.empty()
            return one()

        return again

    sides = {"opslib apply": anew(work.apply), "kubectl apply --server-side": anew(work.peer_apply)}
    return alternating(sides, FIRST_ROUNDS)


def measure(place: Path, objects: int) -> dict[str, Any]:
    """Measure one size; the machine should have nothing else to do."""
    work = Work(place, objects)
    print(f"== {objects} objects", flush=True)
    first = first_apply(work)
    print(table(first), flush=True)
    work.apply()
    work.peer_apply()
    steady = alternating(
        {
            "opslib plan": work.plan,
            "kubectl diff --server-side": work.diff,
            "kubectl apply --server-side": work.peer_apply,
            "kubectl get -o json": work.get,
        },
        ROUNDS,
    )
    print(table(steady), flush=True)
    work.drift()
    drifted = alternating({f"opslib plan, {DRIFTED} drifted": work.plan}, ROUNDS)
    print(table(drifted), flush=True)
    work.empty()
    return {
        "objects": objects,
        "first": first,
        "steady": steady,
        "drifted": drifted,
        "ratios": {
            "plan to diff": ratio(steady, "kubectl diff --server-side", "opslib plan"),
            "plan to apply": ratio(steady, "kubectl apply --server-side", "opslib plan"),
            "first apply": ratio(first, "kubectl apply --server-side", "opslib apply"),
        },
    }


def main(sizes: list[int]) -> None:
    """Measure all sizes on one control plane, and write the results."""
    cluster.up(NAME)
    try:
        with tempfile.TemporaryDirectory() as place:
            sections = [measure(Path(place), size) for size in sizes]
    finally:
        cluster.down(NAME)
    for section in sections:
        print(section["objects"], json.dumps(section["ratios"]))
    print(f"written: {write('reconcile', {'rounds': ROUNDS, 'sizes': sections})}")


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [1000])
