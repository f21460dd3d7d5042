"""Adopt: what is live becomes the smallest edit of Git, and the rendering is what is live."""

from __future__ import annotations

import copy
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from opslib.core.model import Manifest, Resource, ResourceKey
from opslib.drift.edit import adopted, set_at, take_out
from opslib.drift.ground import Ground
from opslib.drift.model import Difference, Drift, Plane
from opslib.drift.propose import Proposal, propose
from opslib.reconcile.diff import declared_fields, show
from opslib.reconcile.fieldpath import Place, put
from opslib.source.example import create_example
from opslib.source.trees import Disk, Overlay, Tree
from opslib.source.yamledit import same

from .memory import Files, drifts_of, whole
from .overlaymaker import HANDS, by_hand, overlay
from .yamlmaker import Maker


def rendered(tree: Tree, folder: str, changes: Any = None) -> dict[ResourceKey, Manifest]:
    """Return what a folder declares, after changes of files."""
    ground = Ground.of(Overlay(tree, changes or {}), folder, "default")
    return {one.key: one.manifest for one in ground.resources}


def check(tree: Tree, folder: str, live: Manifest, proposal: Proposal, key: ResourceKey) -> None:
    """After the edit the object is rendered as it is live, and all others as they were."""
    before, after = rendered(tree, folder), rendered(tree, folder, proposal.files)
    assert same(after.pop(key), live)
    del before[key]
    assert before == after


def touched(proposal: Proposal) -> tuple[int, int]:
    """Return how many lines the diff removes and adds."""
    lines = [one for one in proposal.diff.splitlines() if not one.startswith(("---", "+++"))]
    return sum(one[:1] == "-" for one in lines), sum(one[:1] == "+" for one in lines)


# -- the example repository


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Disk:
    """Return the payment platform's files, as they are upgraded."""
    folder = tmp_path_factory.mktemp("adopt") / "platform"
    create_example(folder)
    return Disk(folder)


_IDENTITY = {("metadata", "name"), ("metadata", "namespace")}


def _cases(resource: Resource) -> Iterator[tuple[list[Drift], Manifest]]:
    """Yield all fields of an object changed, some removed, and one more beside each."""
    found: dict[Difference, dict[str, Drift]] = {kind: {} for kind in Difference}
    for number, one in enumerate(declared_fields(resource)):
        place, last = one.place, one.place[-1]
        if place in _IDENTITY or (isinstance(place[-2], tuple) and last in dict(place[-2])):
            continue
        new: Any = one.after + 1 if isinstance(one.after, int) else f"{one.after}x"
        beside = (*place[:-1], "example.com/x")
        cases = [_drift(resource, Difference.CHANGED, place, one.after, new)]
        if number % 2:
            cases.append(_drift(resource, Difference.REMOVED, place, one.after, None))
        else:
            cases.append(_drift(resource, Difference.ADDED, beside, None, "yes"))
        for drift in cases:
            found[drift.difference][drift.path] = drift
    for drifts in found.values():
        if drifts:
            yield list(drifts.values()), _edited(resource, drifts.values())


def _drift(resource: Resource, kind: Difference, place: Place, declared: Any, value: Any) -> Drift:
    args = (Plane.OBJECTS, kind, resource.key, show(place), declared, value)
    return Drift(*args, place=place)


def _edited(resource: Resource, drifts: Iterable[Drift]) -> Manifest:
    live = copy.deepcopy(resource.manifest)
    for drift in drifts:
        if drift.difference is Difference.CHANGED:
            put(live, drift.place, drift.live)
        elif drift.difference is Difference.REMOVED:
            take_out(live, drift.place)
        else:
            set_at(live, drift.place, drift.live, None)
    return live


@pytest.mark.parametrize("folder", ["production", "staging"])
def test_every_field_of_the_example(example: Disk, folder: str) -> None:
    """Each field of each object, changed, removed or with one beside it, round trips.

    In production it is the file that declares it; in staging, which builds on production, a
    file of staging's own: production is what it was.
    """
    ground = Ground.of(Overlay(example), folder, "default")
    count: Counter[str] = Counter()
    for resource in ground.resources:
        for drifts, live in _cases(resource):
            kind, key = drifts[0].difference, resource.key
            proposal = propose(example, folder, drifts, {key: live})
            assert len(proposal.done) == len(drifts), proposal.refused
            check(example, folder, live, proposal, key)
            assert all(path.startswith(f"{folder}/") for path in proposal.files)
            count[str(kind)] += len(drifts)
            if folder == "production":
                lines = touched(proposal)
                assert len(proposal.files) == 1
                assert kind is not Difference.CHANGED or lines == (len(drifts), len(drifts))
                assert kind is not Difference.ADDED or lines == (0, len(drifts))
    print(folder, dict(count))
    assert sum(count.values()) > 60


def test_whole_objects_of_the_example(example: Disk) -> None:
    """What is missing goes from Git, with its line in the kustomization; what is extra comes."""
    for folder in ("production", "staging"):
        for key in rendered(example, folder):
            missing = whole(Difference.MISSING, key)
            proposal = propose(example, folder, [missing], {})
            assert proposal.done, (key, proposal.refused)
            left = rendered(example, folder, proposal.files)
            assert left.keys() == rendered(example, folder).keys() - {key}
            assert all(path.startswith(f"{folder}/") for path in proposal.files)
    key = ResourceKey("", "ConfigMap", "staging", "by-hand")
    live = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "by-hand",
            "namespace": "staging",
            "uid": "u",
            "resourceVersion": "7",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "managedFields": [],
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
        },
        "data": {"a": "yes", "text": "one\ntwo\n"},
    }
    proposal = propose(example, "staging", [whole(Difference.EXTRA, key)], {key: live})
    assert sorted(proposal.files) == [
        "staging/configmap-by-hand.yaml",
        "staging/kustomization.yaml",
    ]
    after = rendered(example, "staging", proposal.files)[key]
    assert after == {**live, "metadata": {"name": "by-hand", "namespace": "staging"}}


def test_who_builds_on_a_folder_is_named(example: Disk) -> None:
    """An edit of production changes staging too where that does not say otherwise."""
    key = ResourceKey("apps", "Deployment", "production", "payment-processor")
    live = copy.deepcopy(rendered(example, "production")[key])
    live["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.coolvds.com/payment:v9"
    drifts = drifts_of(rendered(example, "production")[key], live)
    proposal = propose(example, "production", drifts, {key: live})
    assert any("staging builds on this folder" in text for text in proposal.warnings)
    assert touched(proposal) == (1, 1)
    assert "  # never :latest, see the outage of March" in proposal.diff


def test_what_the_policy_says_of_it_is_told(example: Disk) -> None:
    """A limit that somebody removed is adopted, and the finding that this makes is named."""
    key = ResourceKey("apps", "Deployment", "production", "payment-processor")
    live = copy.deepcopy(rendered(example, "production")[key])
    del live["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"]
    proposal = propose(
        example, "production", drifts_of(rendered(example, "production")[key], live), {key: live}
    )
    assert proposal.done
    assert any("[limits]" in text for text in proposal.warnings)


# -- generated


def _comments(text: str) -> Counter[str]:
    return Counter(re.findall(r"# c\d+: it's \"so\"", text))


def test_generated_manifests_round_trip() -> None:
    """Two hundred files and more: comments, quotes, blocks, flow, lists, odd keys, CRLF."""
    count: Counter[str] = Counter()
    for seed in range(240):
        maker = Maker(seed)
        manifests, text = maker.file()
        files = Files({"app/some.yaml": text})
        if list(rendered(files, "app").values()) != manifests:
            count["odd"] += 1
            continue
        one = maker.dice.choice(manifests)
        live = maker.change(one)
        drifts = drifts_of(one, live)
        if not drifts:
            count["same"] += 1
            continue
        proposal = propose(files, "app", drifts, {drifts[0].key: live})
        if proposal.refused:
            count["refused"] += 1
            continue
        check(files, "app", live, proposal, drifts[0].key)
        new = (proposal.files["app/some.yaml"] or b"").decode()
        lost = _comments(text) - _comments(new)
        if all(_alone(drift) for drift in drifts):
            assert not lost, (seed, lost)
        _lines_stay(text, new, drifts)
        count["round trip"] += 1
    print(dict(count))
    assert count["round trip"] >= 200
    assert count["refused"] <= 2


def _alone(drift: Drift) -> bool:
    """Whether no line can go with it but those of its own value."""
    plain = not isinstance(drift.declared, dict | list) and "\n" not in str(drift.declared)
    return drift.difference is Difference.ADDED or (
        drift.difference is Difference.CHANGED and plain and drift.declared is not None
    )


def _lines_stay(old: str, new: str, drifts: list[Drift]) -> None:
    """A changed scalar is one line; an addition removes none that is not written anew."""
    gone = Counter(old.splitlines()) - Counter(new.splitlines())
    if all(_alone(drift) for drift in drifts):
        assert sum(gone.values()) <= len(drifts), gone


def test_generated_overlays_round_trip() -> None:
    """Patches of every form, images, replicas, labels, prefixes and generators, on one base."""
    count: Counter[str] = Counter()
    used: Counter[str] = Counter()
    for seed in range(26):
        dice = random.Random(seed)  # noqa: S311  # dice of a test
        contents, names = overlay(dice)
        files = Files(contents)
        objects = list(rendered(files, "prod").values())
        (name,) = dice.sample(sorted(HANDS), 1)
        found = by_hand(objects, name)
        drifts = drifts_of(*found) if found else []
        if not found or not drifts:
            continue
        key, live = drifts[0].key, found[1]
        proposal = propose(files, "prod", drifts, {key: live})
        if proposal.refused:
            # By the hash of its content it would be another object; ``replicas`` always sets some.
            assert "hashed" in names or name == "no replicas", (names, name, proposal.refused)
            count["refused"] += 1
            continue
        check(files, "prod", live, proposal, key)
        assert not any(path.startswith("base/") for path in proposal.files)
        used.update(names)
        count["round trip"] += 1
    print(dict(count), dict(used))
    assert count["round trip"] >= 15


# -- where it is refused

_PLAIN = """# head
apiVersion: v1
kind: ConfigMap
metadata:
  name: a
  labels: &labels
    app: one  # shared
data:
  x: "1"
---
apiVersion: example.com/v1
kind: Thing
metadata: {name: b}
spec: {labels: 1}
"""
_SHARED = """apiVersion: example.com/v1
kind: Thing
metadata: {name: b}
spec:
  one: &it {a: 1}
  two: *it
"""
_MERGED = """apiVersion: example.com/v1
kind: Thing
metadata: {name: b}
spec:
  one: &it {a: 1, b: 2}  # first
  two:
    <<: *it
    c: 3
"""


def _thing(text: str, edit: Callable[[dict[str, Any]], None]) -> Proposal:
    files = Files({"app/a.yaml": text})
    key = ResourceKey("example.com", "Thing", "", "b")
    old = rendered(files, "app")[key]
    live = copy.deepcopy(old)
    edit(live["spec"])
    return propose(files, "app", drifts_of(old, live), {key: live})


def test_an_anchor_that_others_use_is_not_edited() -> None:
    """Two places have one text: the reason names the anchor and its line, and Git is as it was."""
    proposal = _thing(_SHARED, lambda spec: spec["one"].update(a=2))
    assert not proposal.files
    assert "anchor &it" in proposal.refused[0].why
    assert "line 5" in proposal.refused[0].why
    proposal = _thing(_SHARED, lambda spec: spec["two"].update(a=2))
    assert "*it stands for this" in proposal.refused[0].why


def test_an_alias_is_replaced_and_a_merged_key_gets_its_own() -> None:
    """What stands at the place itself can be edited: the alias's own word, a key beside <<."""
    proposal = _thing(_SHARED, lambda spec: spec.update(two=5))
    assert proposal.done
    assert touched(proposal) == (1, 1)
    proposal = _thing(_MERGED, lambda spec: spec["two"].update(d=9))
    assert proposal.done
    assert touched(proposal) == (0, 1)
    proposal = _thing(_MERGED, lambda spec: spec["two"].update(a=9))
    assert proposal.done
    assert touched(proposal) == (0, 1)
    proposal = _thing(_MERGED, lambda spec: spec["two"].pop("a"))
    assert "merge key" in proposal.refused[0].why


def test_a_secret_is_never_written() -> None:
    """Neither a value, nor a whole Secret, nor a token of one; its labels are adopted."""
    text = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {k: planted-value}\n"
    files = Files({"app/a.yaml": text})
    key = ResourceKey("", "Secret", "", "s")
    old = rendered(files, "app")[key]
    live = {**old, "metadata": {"name": "s", "labels": {"a": "b"}}, "data": {"k": "x", "n": "y"}}
    args = (Plane.OBJECTS, Difference.ADDED, key)
    drifts = [
        Drift(*args, "data.n", None, "<masked 1>", place=("data", "n")),
        Drift(*args, "metadata.labels", None, {"a": "b"}, place=("metadata", "labels")),
        whole(Difference.EXTRA, ResourceKey("", "Secret", "", "other"), {"data": {}}),
    ]
    proposal = propose(files, "app", drifts, {key: live})
    assert [drift.path for drift in proposal.done] == ["metadata.labels"]
    assert len(proposal.refused) == 2
    assert "planted" not in proposal.diff
    missing = propose(files, "app", [whole(Difference.MISSING, key)], {})
    assert "planted" not in missing.diff


def test_the_last_object_of_a_folder_stays() -> None:
    """An empty folder is never taken for the wish to delete everything."""
    files = Files({"app/a.yaml": _SHARED})
    key = ResourceKey("example.com", "Thing", "", "b")
    proposal = propose(files, "app", [whole(Difference.MISSING, key)], {})
    assert not proposal.files
    assert "would declare nothing" in proposal.refused[0].why


def test_one_of_many_documents_goes() -> None:
    """Its own lines go, the others and their comments stay byte for byte; a List loses an item."""
    files = Files({"app/a.yaml": _PLAIN})
    key = ResourceKey("", "ConfigMap", "", "a")
    proposal = propose(files, "app", [whole(Difference.MISSING, key)], {})
    left = (proposal.files["app/a.yaml"] or b"").decode()
    assert left == _PLAIN[_PLAIN.index("---") :]
    items = "apiVersion: v1\nkind: List\nitems:\n" + "".join(
        f"- apiVersion: v1\n  kind: ConfigMap\n  metadata: {{name: {n}}}  # {n}\n" for n in "abc"
    )
    files = Files({"app/a.yaml": items})
    key = ResourceKey("", "ConfigMap", "", "b")
    proposal = propose(files, "app", [whole(Difference.MISSING, key)], {})
    assert touched(proposal) == (3, 0)
    assert len(rendered(files, "app", proposal.files)) == 2


def test_json_stays_json() -> None:
    """Keys and items are added in the layout of the file; tabs and CRLF stay."""
    text = '{\n\t"apiVersion": "v1",\r\n\t"kind": "ConfigMap",\n\t"metadata": {"name": "a"},\n'
    text += '\t"data": {\n\t\t"x": "1",\n\t\t"w": "2"\n\t}\n}\n'
    files = Files({"app/a.json": text})
    key = ResourceKey("", "ConfigMap", "", "a")
    old = rendered(files, "app")[key]
    live = {**old, "data": {"x": "9", "w": "2", "new": "a\nb"}}
    proposal = propose(files, "app", drifts_of(old, live), {key: live})
    check(files, "app", live, proposal, key)
    assert b'\t\t"new": "a\\nb"\n\t}' in (proposal.files["app/a.json"] or b"")
    assert b'"apiVersion": "v1",\r\n' in (proposal.files["app/a.json"] or b"")


def test_a_path_of_a_review_that_was_saved_is_enough(tmp_path: Path) -> None:
    """Without the steps, which JSON does not keep, the field is found by its path."""
    old = {"spec": {"c": [{"name": "x", "v": 1}, {"name": "z", "v": 1}]}, "data": {"a.b/c": "1"}}
    live = copy.deepcopy(old)
    live["spec"]["c"][1]["v"] = 2  # type: ignore[index]  # a list of mappings
    key = ResourceKey("", "Thing", "", "t")
    drift = Drift(Plane.OBJECTS, Difference.CHANGED, key, "spec.c[name=z].v", 1, 2)
    assert adopted(old, drift, live) == live
