"""An object that moves from one app to another stays the object that it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from opslib.core.errors import Problems
from opslib.reconcile.app import App
from opslib.reconcile.inventory import read_inventory
from opslib.reconcile.plan import Action
from opslib.reconcile.session import Session, open_session
from opslib.source.mirror import Source

from .conftest import Workbench, config_map
from .loops import Repository


class Two:
    """Two apps of one repository in one namespace."""

    def __init__(self, bench: Workbench, folder: Path) -> None:
        self.bench = bench
        self.repository = Repository(folder)

    def session(self, path: str) -> Session:
        """Return the session of the app of a folder."""
        name = f"{self.bench.app.name}-{path}"
        source = Source(str(self.repository.folder), "", path)
        server = self.bench.server
        return open_session(server, source, app=name, namespace=self.bench.namespace)

    def run(self, path: str) -> list[str]:
        """Plan and apply one app; return its actions."""
        one = self.session(path)
        planned = one.plan(one.fetch())
        applied = one.apply(planned, timeout=30)
        assert applied.ok, applied.as_dict()
        return [f"{c.action} {c.key.name}" for c in planned.prepared.plan.changes]

    def live(self) -> dict[str, Any]:
        """Return the object that moves."""
        found = self.bench.live("configmaps", "moves")
        assert found
        return found

    def names(self, path: str) -> set[str]:
        """Return what the inventory of an app names."""
        app = App(f"{self.bench.app.name}-{path}")
        return {key.name for key in read_inventory(self.bench.server, app).objects}

    def move(self, *, note: bool) -> None:
        """Commit the move from folder a to folder b, where one key of it is dropped."""
        mark = f"  annotations: {{opslib.dev/moved-from: {self.bench.app.name}-a}}\n"
        there = config_map("moves", kept="1")
        there = there.replace("  name: moves\n", "  name: moves\n" + (mark if note else ""))
        mine = config_map("own", k="v")
        self.repository.commit({"a/moves.yaml": None, "b/one.yaml": there + "---\n" + mine})


@pytest.fixture
def two(bench: Workbench, tmp_path: Path) -> Two:
    """Return two apps; the first has the object."""
    one = Two(bench, tmp_path / "repo")
    files = {
        "a/stays.yaml": config_map("stays", k="v"),
        "a/moves.yaml": config_map("moves", kept="1", dropped="1"),
        "b/one.yaml": config_map("own", k="v"),
    }
    one.repository.commit(dict(files))
    one.run("a")
    one.run("b")
    return one


@pytest.mark.parametrize("order", ["ab", "ba", "aab", "baa"])
def test_it_is_handed_over_in_any_order(two: Two, order: str) -> None:
    """It keeps its uid; what the new app does not declare goes; each inventory is true."""
    before = two.live()
    two.move(note=True)
    told = [f"{path}: {line}" for path in order for line in two.run(path)]
    after = two.live()
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["data"] == {"kept": "1"}
    assert {"a: keep moves", "b: update moves"} <= set(told)
    two.run("a")  # where it ran first, it had not seen yet that the object was taken
    assert two.run("a") == ["unchanged stays"]
    assert set(two.run("b")) == {"unchanged moves", "unchanged own"}
    assert two.names("a") == {"stays"}
    assert two.names("b") == {"moves", "own"}


def test_without_a_word_both_are_told(two: Two) -> None:
    """The new app is refused and says what to write; the old one shows its delete."""
    two.move(note=False)
    b = two.session("b")
    (problem,) = b.plan(b.fetch()).prepared.plan.problems
    assert f"opslib.dev/moved-from: {two.bench.app.name}-a" in problem.hint
    a = two.session("a")
    changes = a.plan(a.fetch()).prepared.plan.changes
    assert [c.key.name for c in changes if c.action is Action.DELETE] == ["moves"]


def test_a_wrong_name_is_named_by_its_line(bench: Workbench) -> None:
    """What cannot be an app is an error at the annotation."""
    text = config_map("one", k="v").replace(
        "  name: one\n", "  name: one\n  annotations: {opslib.dev/moved-from: Not_An_App}\n"
    )
    with pytest.raises(Problems) as error:
        bench.plan(text)
    assert "Not_An_App" in str(error.value)
