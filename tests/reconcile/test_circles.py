"""Apps that wait for one another: the circle is named, wherever it can be known."""

from __future__ import annotations

import itertools
import json
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opslib.core.errors import InputError
from opslib.kube.client import Cluster
from opslib.reconcile.app import App, app_of
from opslib.reconcile.circles import circle
from opslib.reconcile.loop import LoopOptions
from opslib.reconcile.session import Session, open_session
from opslib.reconcile.status import find_status
from opslib.source.mirror import Source

from .conftest import config_map
from .loops import Repository, Running, wait

HEAD = "apiVersion: opslib.dev/v1alpha1\nkind: App\n"


def depends(*names: str) -> str:
    """Return an app's file."""
    return f"{HEAD}dependsOn: [{', '.join(names)}]\n"


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdefgh"), max_size=3))
)
def test_a_circle_is_found_where_there_is_one(edges: dict[str, list[str]]) -> None:
    """Found exactly where the app can be reached from itself; each step is one that was said."""
    asked: list[str] = []

    def says(name: str) -> list[str]:
        asked.append(name)
        return edges.get(name, [])

    reached, ahead = set(edges.get("a", [])), edges.get("a", [])
    while ahead:
        ahead = [two for one in ahead for two in edges.get(one, []) if two not in reached]
        reached |= set(ahead)
    way = circle("a", says)
    assert bool(way) == ("a" in reached)
    assert len(asked) == len(set(asked))
    if way:
        assert way[0] == way[-1] == "a"
        assert all(b in edges[a] for a, b in itertools.pairwise(way))
        assert len(set(way)) == len(way) - 1


@pytest.fixture
def mark() -> str:
    """Return a word that makes the names of a test's apps its own."""
    return f"c{uuid.uuid4().hex[:8]}"


def session_of(server: Cluster, repo: Repository, path: str, space: str, app: str = "") -> Session:
    """Open the session of one folder."""
    return open_session(server, Source(str(repo.folder), "", path), app=app, namespace=space)


def test_a_circle_in_one_commit_is_an_error(
    server: Cluster, namespace: str, tmp_path: Path, mark: str
) -> None:
    """Of three folders of a commit: all are named with file and line, before anything is asked.

    A fourth app that only leads into the circle is no part of it: it waits.
    """
    repo = Repository(tmp_path / mark)
    url = str(repo.folder)
    names = {folder: app_of(url, folder).name for folder in ("a", "b", "c", "d")}
    files: dict[str, str | None] = {f"{f}/map.yaml": config_map(f, a="1") for f in names}
    repo.commit(
        {
            **files,
            "a/opslib.yaml": depends(names["b"]),
            "b/opslib.yaml": depends("elsewhere", names["c"]),
            "c/opslib.yaml": depends(names["a"]),
            "d/opslib.yaml": depends(names["a"]),
            "e/opslib.yaml": "no: file of an app\n",
        }
    )
    session = session_of(server, repo, "b", namespace)
    with pytest.raises(InputError) as error:
        session.plan(session.fetch())
    told = str(error.value)
    print(told)
    assert " -> ".join(names[f] for f in ("b", "c", "a", "b")) in told
    assert error.value.where == "b/opslib.yaml:3, c/opslib.yaml:3, a/opslib.yaml:3"
    assert error.value.exit_code == 2
    other = session_of(server, repo, "d", namespace)
    (reason,) = other.plan(other.fetch()).waits
    assert " -> ".join(names[f] for f in ("a", "b", "c", "a")) in reason
    repo.commit({"c/opslib.yaml": None})
    first = session_of(server, repo, "c", namespace)
    assert first.plan(first.fetch()).waits == ()
    planned = session.plan(session.fetch())
    assert [w for w in planned.waits if " -> " in w] == []


def test_an_app_that_depends_on_itself_is_an_error(
    server: Cluster, namespace: str, tmp_path: Path, mark: str
) -> None:
    """Also under a name given by hand; with file and line."""
    repo = Repository(tmp_path / mark)
    repo.commit({"a/map.yaml": config_map("m", a="1"), "a/opslib.yaml": depends(mark)})
    session = session_of(server, repo, "a", namespace, mark)
    with pytest.raises(InputError, match="depends on itself") as error:
        session.plan(session.fetch())
    assert error.value.where == "a/opslib.yaml:3"


def test_a_circle_is_told_from_the_inventory(
    server: Cluster, namespace: str, tmp_path: Path, mark: str
) -> None:
    """Apps with names given by hand: the inventory says which folder each was applied from.

    While both are whole nothing is in the way; what is asked of one that is not names the circle.
    """
    repo = Repository(tmp_path / mark)
    base, shop = f"base-{mark}", f"shop-{mark}"
    repo.commit({"b/map.yaml": config_map("base", a="1"), "s/map.yaml": config_map("shop", a="1")})
    sessions = {
        name: session_of(server, repo, path, namespace, name)
        for name, path in ((base, "b"), (shop, "s"))
    }
    for session in sessions.values():
        with session.holding():
            assert session.apply(session.plan(session.fetch())).ok
    repo.commit(
        {
            "b/opslib.yaml": depends(shop),
            "s/opslib.yaml": depends(base),
            "s/map.yaml": config_map("shop", a="2"),
        }
    )
    session = sessions[shop]
    assert session.plan(session.fetch()).waits == ()
    server.request("DELETE", f"/api/v1/namespaces/{namespace}/configmaps/base")
    (reason,) = session.plan(session.fetch()).waits
    print(reason)
    assert f"{shop} -> {base} -> {shop}" in reason
    assert "ConfigMap" in reason


def test_a_circle_through_two_repositories_is_told_by_their_loops(
    server: Cluster, namespace: str, tmp_path: Path, mark: str
) -> None:
    """Neither was ever applied: each loop waits, and names the circle once both have reported."""
    names = [f"one-{mark}", f"two-{mark}"]
    loops = []
    try:
        for own, other in (names, names[::-1]):
            repo = Repository(tmp_path / own)
            repo.commit({"app/map.yaml": config_map(own, a="1"), "app/opslib.yaml": depends(other)})
            session = session_of(server, repo, "app", namespace, own)
            loops.append(Running(session, LoopOptions(interval=0.5)))
        for loop, (own, other) in zip(loops, (names, names[::-1]), strict=True):
            line = loop.heard(f"{own} -> {other} -> {own}")
            assert f"waiting: app {other} was never applied whole" in line

            def waits(own: str = own) -> bool:
                status = find_status(server, App(own))
                return bool(status and status.phase == "waiting" and " -> " in status.message)

            wait(waits)
    finally:
        for loop in loops:
            loop.end()


def test_a_spoiled_status_of_another_app_is_not_in_the_way(
    server: Cluster, namespace: str, tmp_path: Path, mark: str
) -> None:
    """What cannot be read says nothing; the app waits for the plain reason."""
    repo = Repository(tmp_path / mark)
    repo.commit({"a/map.yaml": config_map("m", a="1"), "a/opslib.yaml": depends(f"other-{mark}")})
    session = session_of(server, repo, "a", namespace, mark)
    with session.holding():  # makes the namespace of the records
        pass
    labels = {"opslib.dev/test": mark}
    path = "/api/v1/namespaces/opslib-system/configmaps"
    for text in ("no json", json.dumps({"app": "x", "depends_on": 3})):
        place = {"name": App(f"other-{mark}").status, "labels": labels}
        server.request("POST", path, body={"metadata": place, "data": {"status": text}})
        (reason,) = session.plan(session.fetch()).waits
        assert reason == f"app other-{mark} was never applied whole"
        server.request("DELETE", f"{path}/{place['name']}")
