"""A second pass of one process: what did not move is neither parsed nor proven again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from opslib.kube.client import Cluster
from opslib.reconcile import judge, proof
from opslib.reconcile.session import Session, open_session
from opslib.source.mirror import Source

from .conftest import Workbench, config_map, deployment
from .loops import Repository


@pytest.fixture
def seen() -> Iterator[Counter[str]]:
    """Count proofs and requests."""
    counts: Counter[str] = Counter()
    prove, send = proof.unchanged, Cluster._send

    def proving(*words: Any) -> bool:
        counts["proofs"] += 1
        return prove(*words)

    def sending(self: Cluster, method: str, path: str, **options: Any) -> Any:
        counts["requests"] += 1
        counts[f"{method} {path.rpartition('/')[2]}"] += 1
        return send(self, method, path, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judge, "unchanged", proving)
        patch.setattr(Cluster, "_send", sending)
        yield counts


@pytest.fixture
def session(bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    """Return a session whose app of 30 ConfigMaps and 3 Deployments is applied."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    repository = Repository(tmp_path / "repo")
    files: dict[str, str | None] = {f"app/c{n}.yaml": config_map(f"c{n}", k="v") for n in range(30)}
    files |= {f"app/d{n}.yaml": deployment(f"d{n}", replicas=0) for n in range(3)}
    repository.commit(files)
    one = open_session(
        bench.server,
        Source(str(repository.folder), "main", "app"),
        app=bench.app.name,
        namespace=bench.namespace,
    )
    assert one.apply(one.plan(one.fetch()), timeout=60).ok
    return one


def test_what_did_not_move_is_proven_once(session: Session, seen: Counter[str]) -> None:
    """The second plan makes no proof, asks for no dry run, and lists each kind once."""
    revision = session.fetch()
    first = session.plan(revision)
    assert first.prepared.plan.empty
    proofs = seen["proofs"]
    seen.clear()
    again = session.plan(revision)
    print(f"33 objects: {proofs} proofs, then {seen['proofs']}; {seen['requests']} requests")
    assert again.prepared.plan == first.prepared.plan
    assert (proofs, seen["proofs"]) == (33, 0)
    assert seen["GET configmaps"] == seen["GET deployments"] == 1
    assert seen["requests"] <= 7


def test_what_moved_is_looked_at_again(
    session: Session, bench: Workbench, seen: Counter[str]
) -> None:
    """A drifted object is found by the second plan, and one that only moved is proven anew."""
    revision = session.fetch()
    assert session.plan(revision).prepared.plan.empty
    bench.patch("configmaps", "c3", {"data": {"k": "drift"}})
    bench.patch("configmaps", "c4", {"metadata": {"labels": {"foreign": "yes"}}})
    seen.clear()
    plan = session.plan(revision).prepared.plan
    assert [change.key.name for change in plan.writes] == ["c3"]
    assert seen["PATCH c3"] == 1
    assert seen["PATCH c4"] == 0


def test_full_asks_about_everything(session: Session, seen: Counter[str]) -> None:
    """What was proven before is not believed."""
    revision = session.fetch()
    session.plan(revision)
    seen.clear()
    assert session.plan(revision, full=True).prepared.plan.empty
    assert sum(count for name, count in seen.items() if name.startswith("PATCH")) == 33
