"""What remains of an approved plan: covered part by part, and by nothing that is new."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from opslib.core.model import Origin, Resource, ResourceKey, Revision
from opslib.kube.discovery import Kind
from opslib.reconcile.app import App
from opslib.reconcile.desired import Desired, Target
from opslib.reconcile.diff import FieldChange
from opslib.reconcile.inventory import Inventory
from opslib.reconcile.judge import Prepared, creation
from opslib.reconcile.plan import Action, Change, Plan
from opslib.reconcile.remains import parts_of

REVISION = Revision("file:///repo", "main", "a" * 40, path="app")
PLAN = Plan("one", REVISION, "https://server", "uid-1", ())
KEPT = {Action.KEEP, Action.UNCHANGED}


def prepared(*changes: Change, targets: tuple[Target, ...] = (), **other: Any) -> Prepared:
    """Return a plan of these changes."""
    plan = replace(PLAN, changes=changes, **other)
    return Prepared(plan, App("one"), Desired(targets), {}, Inventory(), {})


def change(name: str, action: Action = Action.UPDATE, **other: Any) -> Change:
    """Return a change of a ConfigMap."""
    fields = (FieldChange("data.k", "1", "2", 7),)
    key = ResourceKey("", "ConfigMap", "space", name)
    return replace(Change(action, key, "v1", None, fields, "uid", "41"), **other)


CHANGES = st.builds(
    change,
    st.sampled_from("ab"),
    st.sampled_from(Action),
    uid=st.sampled_from(["u", "w"]),
    fields=st.sampled_from([(), (FieldChange("data.k", "1", "2"),), (FieldChange("x", 1, 2),)]),
    takeovers=st.sampled_from([(), ("kubectl",), ("kubectl", "helm")]),
    left_out=st.sampled_from([(), ("spec.replicas",)]),
    reason=st.sampled_from(["", "because"]),
    resource_version=st.sampled_from(["1", "2"]),
)
PLANS = st.lists(CHANGES, max_size=3, unique_by=lambda one: one.key)


@settings(max_examples=200, deadline=None)
@given(PLANS, PLANS)
def test_parts_say_what_same_as_says(approved: list[Change], fresh: list[Change]) -> None:
    """A plan is covered exactly when each change that writes is the same as an approved one."""
    covered = parts_of(prepared(*fresh)) <= parts_of(prepared(*approved))
    written = [one for one in fresh if one.action not in KEPT]
    assert covered == all(any(old.same_as(one) for old in approved) for one in written)


def test_what_is_covered() -> None:
    """Less, a moved resourceVersion, a takeover that is done; nothing more, nothing else."""
    approved = [change("a"), change("b", takeovers=("kubectl",)), change("c", Action.DELETE)]
    parts = parts_of(prepared(*approved))
    less: tuple[list[Change], ...] = (
        [],
        approved,
        approved[1:],
        [change("a", resource_version="99"), change("b")],
        [change("a", Action.UNCHANGED), change("c", Action.KEEP, reason="it is being deleted")],
    )
    other: tuple[list[Change], ...] = (
        [change("d")],
        [change("a", fields=(FieldChange("data.k", "1", "3"),))],
        [change("a", fields=(FieldChange("data.k", "0", "2"),))],
        [change("a", uid="made anew")],
        [change("a", Action.DELETE)],
        [change("a", Action.REPLACE)],
        [change("a", takeovers=("helm",))],
        [change("a", left_out=("data",))],
        [change("a", api_version="v2")],
        [*approved, change("d", Action.DELETE)],
    )
    assert all(parts_of(prepared(*one)) <= parts for one in less)
    assert not any(parts_of(prepared(*one)) <= parts for one in other)
    elsewhere = (
        {"revision": replace(REVISION, commit="b" * 40)},
        {"revision": replace(REVISION, path="other")},
        {"cluster_uid": "uid-2"},
        {"app": "two"},
    )
    for ground in elsewhere:
        assert not parts_of(prepared(**ground)) <= parts, "not even where nothing is left to do"
    print(f"{len(less)} remainders covered; {len(other)} changes, {len(elsewhere)} grounds are not")


def test_half_a_replacement_is_what_remains_of_it() -> None:
    """Cut off between its delete and its create, the create is left; of an update it is not."""
    manifest = {"kind": "ConfigMap", "metadata": {"name": "a", "namespace": "space"}, "data": {}}
    resource = Resource({"apiVersion": "v1", **manifest}, Origin("a.yaml", 1))
    target = Target(resource, Kind("v1", "ConfigMap", "configmaps", True, frozenset()))  # noqa: FBT003  # a place in a row
    whole = prepared(change("a", Action.REPLACE), targets=(target,))
    half = creation(whole, target)
    assert half.action is Action.CREATE
    assert parts_of(prepared(half)) <= parts_of(whole)
    assert not parts_of(prepared(change("a", Action.REPLACE))) <= parts_of(prepared(half))
    assert not parts_of(prepared(half)) <= parts_of(prepared(change("a"), targets=(target,)))
