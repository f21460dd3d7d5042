"""An apply that is held against its own words while a fault strikes."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from opslib.core.errors import OpslibError
from opslib.kube.client import connect
from opslib.reconcile.app import App
from opslib.reconcile.apply import Applied
from opslib.reconcile.judge import Prepared
from opslib.sandbox import cluster as sandboxes
from opslib.sandbox.cluster import Status

from .field import Field, config, names, service
from .parts import Asked, Bench, wait_for

KEPT = [f"c{i}" for i in range(10)]
OLD = "---\n".join((config(*KEPT), config("gone1", "gone2", "gone3"), service("s", "t")))
NEW = "---\n".join((config(*KEPT, "new", value="2"), service("s", "t", "u")))
OUTCOMES: Counter[str] = Counter()


def bench_of(field: Field, kubeconfig: str | Path = "") -> Bench:
    return Bench(connect(kubeconfig or field.kubeconfig), field.namespace, App(field.app))


def ready(own: Status) -> bool:
    with contextlib.suppress(OSError), sandboxes.api(own.name) as api:
        return api.send("GET", "/readyz")[0] == 200
    return False


def once(due: Callable[[Asked], bool], strike: Callable[[], None]) -> Callable[[Asked], None]:
    """Return a listener that strikes at the first request for which it is due."""
    lock, struck = threading.Lock(), threading.Event()

    def meet(asked: Asked) -> None:
        with lock:
            if struck.is_set() or not due(asked):
                return
            struck.set()
        strike()

    return meet


def fifth(number: int = 5) -> Callable[[Asked], bool]:
    count = iter(range(1, 10**6))
    return lambda asked: asked.writes and asked.method == "PATCH" and next(count) == number


def is_inventory(asked: Asked) -> bool:
    return asked.writes and "/opslib-system/" in asked.path and "inventory" in str(asked.body)


def settling(asked: Asked) -> bool:
    return is_inventory(asked) and "gone1" not in str(asked.body)


MOMENTS: dict[str, Callable[[], Callable[[Asked], bool]]] = {
    "the inventory is written ahead": lambda: is_inventory,
    "half of the objects are written": fifth,
    "the first object is deleted": lambda: lambda asked: asked.method == "DELETE",
    "the inventory is settled": lambda: settling,
}


def hold(field: Field, bench: Bench, prepared: Prepared, fault: str, **options: Any) -> str:
    """Apply while a fault strikes; all that is said of it must be true. Return the outcome."""
    before, began = field.objects(), time.monotonic()
    outcome, told, applied = "raised before a write", "", Applied()
    try:
        applied = bench.write(prepared, **options)
        outcome = "converged" if applied.ok else "ended with errors"
        told = "; ".join(applied.summary()["failures"] + applied.summary()["unhealthy"])
    except OpslibError as error:
        told = str(error)
    took = time.monotonic() - began
    print(f"{fault}: {outcome} after {took:.1f} s {' '.join(told.split())[:200]}")
    OUTCOMES[outcome] += 1
    wait_for(lambda: answers(field), seconds=90, why="the server does not come back")
    middle = field.objects()
    assert middle["configmaps/bystander"] == before["configmaps/bystander"]
    for name in names(NEW) & before.keys():
        assert middle[name][0] == before[name][0], f"{name} was made anew"
    assert set(middle) - {"configmaps/bystander"} <= field.inventory(), "an object is untracked"
    is_true(applied, prepared, before, middle)
    if not applied.ok or outcome == "raised before a write":
        assert told
    return outcome


def answers(field: Field) -> bool:
    with contextlib.suppress(OpslibError):
        field.objects()
        return True
    return False


def is_true(
    applied: Applied, prepared: Prepared, before: dict[str, Any], middle: dict[str, Any]
) -> None:
    """What it says to be written and deleted is; what is not done it says not to be done."""
    failed = {failure.key for failure in applied.failures}
    pruned = False
    for change in prepared.plan.writes:
        name = f"{change.key.kind.lower()}s/{change.key.name}"
        if change.action == "delete":
            assert (name in middle) == (change.key not in applied.deleted) or change.key in failed
            pruned |= name not in middle
        elif change.key in applied.written:
            assert middle[name] != before.get(name) or name.startswith("services/")
        else:
            assert change.key in failed or middle.get(name) == before.get(name), name
    assert not pruned or not (
        failed - {c.key for c in prepared.plan.writes if c.action == "delete"}
    )


def converges(field: Field) -> None:
    """The next apply makes it whole."""
    before = field.objects()
    assert field.apply(NEW, "b")
    after = field.objects()
    assert set(after) == {*names(NEW), "configmaps/bystander"}
    assert field.inventory() == names(NEW)
    assert after["configmaps/bystander"] == before["configmaps/bystander"]
    assert all(after[f"configmaps/{name}"][1] == {"k": "2"} for name in KEPT)
