"""Who is behind a difference: against the audit log of a real API server."""

from __future__ import annotations

import copy
import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
from auditlog import lines

from opslib.core.clock import parse_stamp, stamp
from opslib.core.model import Manifest, key_of
from opslib.drift.attribute import attribute
from opslib.drift.model import Confidence, Difference, Drift, Plane
from opslib.kube.client import Cluster
from opslib.kube.discovery import Discovery
from opslib.reconcile.diff import Step, show
from opslib.reconcile.fieldpath import value_at
from opslib.reconcile.mask import masked, token
from opslib.sandbox.cluster import Status

from . import editors
from .editors import APP, Editor, Watched

PEOPLE = ("alice", "bob", "carol", "dave@example.com")
CONTROLLER = "system:serviceaccount:platform:autotuner"
DEPLOYMENT: Manifest = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "", "labels": {"team": "payments"}},
    "spec": {
        "replicas": 0,
        "selector": {"matchLabels": {"app": "x"}},
        "template": {
            "metadata": {"labels": {"app": "x"}},
            "spec": {
                "nodeSelector": {"there": "is-none"},
                "containers": [
                    {"name": "app", "image": "registry.example.com/app:0"},
                    {"name": "proxy", "image": "registry.example.com/app:0"},
                ],
            },
        },
    },
}
CONFIG: Manifest = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "", "labels": {"team": "payments"}},
    "data": {"mode": "plain"},
}
_POD: tuple[Step, ...] = ("spec", "template", "spec")
_APP: tuple[Step, ...] = (*_POD, "containers", (("name", "app"),))
COMMON: list[tuple[Step, ...]] = [
    ("metadata", "labels", "team"),
    ("metadata", "annotations", "note"),
]
OF_DEPLOYMENTS: list[tuple[Step, ...]] = [
    *COMMON,
    ("spec", "replicas"),
    (*_APP, "image"),
    (*_POD, "containers", (("name", "proxy"),), "image"),
    (*_APP, "env", (("name", "MODE"),), "value"),
    (*_APP, "resources", "limits", "cpu"),
]
OF_MAPS: list[tuple[Step, ...]] = [*COMMON, ("data", "mode"), ("data", "extra")]


Case = tuple[Drift, Watched, tuple[Step, ...]]


class Stage:
    """All identities, and the objects that they edit."""

    def __init__(self, sandbox: str, namespace: str, folder: Path) -> None:
        self.namespace, self.folder = namespace, folder
        self.app = Editor(sandbox, "", namespace)
        self.editors = [Editor(sandbox, user, namespace) for user in (*PEOPLE, CONTROLLER)]
        self.chance = random.Random(20261130)  # noqa: S311  # to be had again
        self.watched: list[Watched] = []
        self.edits: Counter[str] = Counter()

    def add(self, template: Manifest, path: str, places: list[tuple[Step, ...]]) -> Watched:
        """Create an object as the app does."""
        manifest = copy.deepcopy(template)
        manifest["metadata"]["name"] = f"{manifest['kind'].lower()}-{len(self.watched)}"
        manifest["metadata"]["namespace"] = self.namespace
        one = Watched(path, manifest, places)
        begun = stamp()
        editors.revert(self.app, one, self.chance)
        one.look(self.app, "kwok-admin", begun)
        self.watched.append(one)
        return one

    def edit(self, one: Watched, edits: list[editors.Edit]) -> None:
        """Let somebody edit an object somehow."""
        who, what = self.chance.choice(self.editors), self.chance.choice(edits)
        begun = stamp()
        what(who, one, self.chance)
        one.look(self.app, who.user, begun)
        name = getattr(what, "__name__", "") or getattr(what, "func", what).__name__
        self.edits[name] += 1

    def drifts(self) -> list[Case]:
        """Return each tracked field that differs from what is declared."""
        found = []
        for one in self.watched:
            for place in one.places:
                there, live = value_at(one.live, place)
                declared = value_at(one.manifest, place)[1]
                if live == declared:
                    continue
                how = Difference.ADDED if declared is None else Difference.CHANGED
                drift = Drift(
                    Plane.OBJECTS,
                    how if there else Difference.REMOVED,
                    one.key,
                    show(place),
                    declared,
                    live,
                    api_version=one.manifest["apiVersion"],
                    place=place,
                )
                found.append((drift, one, place))
        return found

    def close(self) -> None:
        for one in (self.app, *self.editors):
            one.close()


@pytest.fixture
def stage(sandbox: Status, namespace: str, tmp_path: Path) -> Iterator[Stage]:
    """Bring up the identities."""
    one = Stage(sandbox.name, namespace, tmp_path)
    yield one
    one.close()


def judge(told: Drift, user: str, begun: str, ended: str) -> str:
    """Compare an attribution with the truth; a certain one has to be right in all it says.

    ``begun`` and ``ended`` are the times between which the user did it.
    """
    found = told.attribution
    right = found.actor is not None and found.actor.user == user
    if found.confidence is Confidence.CERTAIN:
        assert found.actor
        then = parse_stamp(begun) <= parse_stamp(found.actor.time) <= parse_stamp(ended)
        return "certain" if right and then else "WRONG CERTAIN"
    if found.actor is not None:
        return "likely" if right else "wrong likely"
    return str(found.confidence)


def test_three_hundred_edits(
    stage: Stage, sandbox: Status, server: Cluster, tmp_path: Path
) -> None:
    """At least 99 of 100 are attributed right; nothing certain is wrong, however the log is cut.

    Without a log nothing is certain, and no time is earlier than the edit.
    """
    _edit_much(stage)
    read_at = stamp()
    for watched in stage.watched:
        watched.look(stage.app, "nobody", read_at)
    cases = stage.drifts()
    ask = partial(
        attribute,
        [drift for drift, *_ in cases],
        {watched.key: watched.live for watched in stage.watched},
        app_manager=APP,
        kinds=Discovery(server),
        read_at=read_at,
    )
    told, text = ask(log=sandbox.audit_log)
    verdicts = _judged(told, cases)
    print(f"\n{sum(stage.edits.values())} edits of {len(stage.edits)} sorts, {len(told)} drifts:")
    print(f"with the log: {dict(Counter(verdicts))}; {text}")
    for drift, verdict, (_, case, place) in zip(told, verdicts, cases, strict=True):
        if verdict != "certain":
            print(verdict, drift.key.name, drift.path, drift.difference, case.truth[place])
            print("   ", drift.attribution.sentence(), "|", drift.attribution.why)
    right = sum(verdict in {"certain", "likely"} for verdict in verdicts)
    assert "WRONG CERTAIN" not in verdicts
    assert right >= 0.99 * len(told)
    assert verdicts.count("certain") >= 0.8 * len(told)

    told, _ = ask(log=None)
    verdicts = _judged(told, cases)
    print(f"without one: {dict(Counter(verdicts))}")
    assert not {"certain", "WRONG CERTAIN", "likely", "wrong likely"} & {*verdicts}
    early = [
        (one.path, one.attribution.not_later_than, case.truth[place])
        for one, (_, case, place) in zip(told, cases, strict=True)
        if one.attribution.not_later_than
        and parse_stamp(one.attribution.not_later_than) < parse_stamp(case.truth[place][1])
    ]
    assert not early

    whole = _own_lines(sandbox.audit_log, stage.namespace)
    cut = tmp_path / "cut.log"
    counts: Counter[str] = Counter()
    for _ in range(40):
        cut.write_bytes(_cut(whole, stage.chance))
        counts.update(_judged(ask(log=cut)[0], cases))
    print(f"with the log cut at 40 places: {dict(counts)}")
    assert not counts["WRONG CERTAIN"]


def _own_lines(log: Path, namespace: str) -> bytes:
    """Return what a log has of a namespace: that of the whole session may be large."""
    return b"".join(line for line in lines(log) if namespace.encode() in line)


def _cut(whole: bytes, chance: random.Random) -> bytes:
    """Cut a log at its beginning, its end, both, or take a piece out of its middle.

    Such a piece leaves half a line, as far as the halves do not happen to make a whole one.
    """
    low, high = sorted(chance.randrange(len(whole)) for _ in range(2))
    start, end = whole.rfind(b"\n", 0, low) + 1, whole.find(b"\n", high)
    parts = [whole[low:], whole[:high], whole[low:high]]
    try:
        json.loads(whole[start:low] + whole[high:end])
    except ValueError:
        parts.append(whole[:low] + whole[high:])
    return chance.choice(parts)


def _edit_much(stage: Stage) -> None:
    deployments = f"/apis/apps/v1/namespaces/{stage.namespace}/deployments"
    maps = f"/api/v1/namespaces/{stage.namespace}/configmaps"
    for _ in range(8):
        stage.add(DEPLOYMENT, deployments, OF_DEPLOYMENTS)
        stage.add(CONFIG, maps, OF_MAPS)
    with_files = [partial(editors.k_apply, folder=stage.folder)]
    with_files.append(partial(editors.k_replace, folder=stage.folder))
    for number in range(320):
        one = stage.chance.choice(stage.watched)
        own = editors.WORKLOADS if one.manifest["kind"] == "Deployment" else editors.MAPS
        edits = [*own, *own, *editors.EVERYWHERE]
        if number % 8 == 0:
            one = stage.watched[number // 4 % 16 & ~1]
            edits = [*editors.KUBECTL, *with_files]
        if number % 40 == 39:
            begun = stamp()
            editors.revert(stage.app, one, stage.chance)
            one.look(stage.app, "kwok-admin", begun)
        stage.edit(one, edits)


def _judged(told: Sequence[Drift], cases: Sequence[Case]) -> list[str]:
    return [
        judge(one, *case.truth[place]) for one, (_, case, place) in zip(told, cases, strict=True)
    ]


GONE = ("by name", "kubectl", "collection", "selected", "namespace", "twice", "again", "finalizer")


def _delete(stage: Stage, who: Editor, how: str, one: Watched) -> None:
    """Delete an object in one of several ways."""
    folder = one.path
    if how in {"by name", "twice", "again", "finalizer"}:
        assert who.send("DELETE", one.url)[0] == 200
    elif how == "kubectl":
        who.kubectl("delete", "configmap", one.key.name)
    elif how == "collection":
        assert (
            who.send("DELETE", f"{folder}?fieldSelector=metadata.name%3D{one.key.name}")[0] == 200
        )
    elif how == "selected":
        assert who.send("DELETE", f"{folder}?labelSelector=only%3D{one.key.name}")[0] == 200
    elif how == "namespace":
        assert who.send("DELETE", f"/api/v1/namespaces/{one.key.namespace}")[0] == 200


def _gone(stage: Stage) -> list[tuple[Drift, str, str, str]]:
    """Delete objects in all ways by all identities; return their drifts, who it was and when."""
    found = []
    for number, who in enumerate(stage.editors * 2):
        for how in GONE:
            space = stage.namespace
            if how == "namespace":
                space = f"{stage.namespace}-{number}"
                body: Manifest = {
                    "apiVersion": "v1",
                    "kind": "Namespace",
                    "metadata": {"name": space},
                }
                assert stage.app.send("POST", "/api/v1/namespaces", body)[0] == 201
            name = f"gone-{number}-{how.replace(' ', '-')}"
            metadata: Manifest = {"name": name, "namespace": space, "labels": {"only": name}}
            if how == "finalizer":
                metadata["finalizers"] = ["example.com/hold"]
            manifest: Manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
            one = Watched(f"/api/v1/namespaces/{space}/configmaps", manifest, [])
            editors.revert(stage.app, one, stage.chance)
            stage.chance.choice(stage.editors).send("DELETE", f"{one.url}?dryRun=All")
            if how == "again":  # deleted by one, made again, deleted by another
                _delete(stage, stage.chance.choice(stage.editors), how, one)
                editors.revert(stage.app, one, stage.chance)
            begun = stamp()
            _delete(stage, who, how, one)
            ended = stamp()
            other = stage.chance.choice(stage.editors)
            if how == "twice":
                assert other.send("DELETE", one.url)[0] == 404
            if how == "finalizer":
                assert other.send("DELETE", one.url)[0] == 200
                editors._patch(
                    other, one, "tool", {"metadata": {"finalizers": None}}, editors.MERGE
                )
            drift = Drift(Plane.OBJECTS, Difference.MISSING, one.key)
            found.append((drift, who.user, begun, ended))
    return found


def test_deletions(stage: Stage, sandbox: Status, server: Cluster) -> None:
    """Who deleted what is gone is told: by name, in a collection, with its namespace, twice."""
    cases = _gone(stage)
    ask = partial(attribute, app_manager=APP, kinds=Discovery(server), read_at=stamp())
    for place in {drift.key.namespace for drift, *_ in cases}:
        stage.app.send("GET", f"/api/v1/namespaces/{place}/configmaps")
    told, _ = ask([drift for drift, *_ in cases], {}, log=sandbox.audit_log)
    verdicts = [judge(one, *truth) for one, (_, *truth) in zip(told, cases, strict=True)]
    print(f"\n{len(cases)} deletions: {dict(Counter(verdicts))}")
    for one, verdict, (_, user, *_) in zip(told, verdicts, cases, strict=True):
        if verdict != "certain":
            print(verdict, one.key, user, one.attribution)
    assert verdicts.count("certain") == len(cases)
    assert {one.attribution.person for one in told} == {True, False}
    told, _ = ask([drift for drift, *_ in cases], {}, log=None)
    assert {one.attribution.confidence for one in told} == {Confidence.UNKNOWN}


def test_objects_that_git_does_not_have(stage: Stage, sandbox: Status, server: Cluster) -> None:
    """Who made an extra object is told, also where the API server made its name."""
    cases: list[tuple[str, str, str, Manifest]] = []
    path = f"/api/v1/namespaces/{stage.namespace}/configmaps"
    for number, who in enumerate(stage.editors * 4):
        named = {"generateName": f"extra-{number}-"} if number % 2 else {"name": f"extra-{number}"}
        body: Manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": named}
        body["data"] = {"mode": "extra"}
        begun = stamp()
        status, made = who.send("POST", f"{path}?fieldManager={APP}", body)
        assert status == 201
        ended = stamp()
        made["apiVersion"], made["kind"] = "v1", "ConfigMap"
        cases.append((who.user, begun, ended, made))
        other = Watched(path, made, [])
        editors.unrelated(stage.chance.choice(stage.editors), other, stage.chance)
    live = {key_of(made): made for *_, made in cases}
    drifts = [Drift(Plane.OBJECTS, Difference.EXTRA, key) for key in live]
    ask = partial(attribute, app_manager=APP, kinds=Discovery(server), read_at=stamp())
    stage.app.send("GET", path)
    told, _ = ask(drifts, live, log=sandbox.audit_log)
    verdicts = [judge(one, *truth) for one, (*truth, _) in zip(told, cases, strict=True)]
    print(f"\n{len(cases)} extra objects: {dict(Counter(verdicts))}")
    assert verdicts.count("certain") == len(cases)
    told, _ = ask(drifts, live, log=None)
    assert {one.attribution.confidence for one in told} == {Confidence.UPPER_BOUND}


def test_secrets_have_no_bodies(stage: Stage, sandbox: Status, server: Cluster) -> None:
    """Of a Secret the log has no values: certain is only what no other write can have done."""
    path = f"/api/v1/namespaces/{stage.namespace}/secrets"
    manifest: Manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}}
    manifest["metadata"]["namespace"] = stage.namespace
    manifest["stringData"] = {"password": "first"}
    one = Watched(path, manifest, [])
    editors.revert(stage.app, one, stage.chance)
    alice, bob = stage.editors[:2]
    body = {"stringData": {"password": "second"}}
    editors._patch(alice, one, "kubectl-edit", body, editors.MERGE)
    editors._patch(bob, one, "kubectl-label", {"metadata": {"labels": {"a": "b"}}}, editors.MERGE)
    read_at = stamp()
    live = stage.app.send("GET", one.url)[1]
    place = ("data", "password")
    value = token(live["data"]["password"])
    drift = Drift(
        Plane.OBJECTS, Difference.CHANGED, one.key, show(place), token("x"), value,
        api_version="v1", place=place,
    )  # fmt: skip
    told, _ = attribute(
        [drift],
        {one.key: masked(live)},
        app_manager=APP,
        log=sandbox.audit_log,
        kinds=Discovery(server),
        read_at=read_at,
    )
    found = told[0].attribution
    assert found.confidence is Confidence.LIKELY
    assert found.actor
    assert found.actor.user == alice.user
    assert "second" not in str(told)
