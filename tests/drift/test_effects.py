"""What a write may have done to a field, held against what a real API server made of it."""

from __future__ import annotations

import copy
import json
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from auditlog import lines

from opslib.core.model import Manifest
from opslib.drift.effects import effect_of
from opslib.drift.patches import lookup
from opslib.drift.request import request_of
from opslib.drift.wants import LEAVE, SET, UNSET, Want, joined
from opslib.reconcile.diff import Step
from opslib.sandbox.cluster import Status

from .editors import APPLY, JSON, MERGE, STRATEGIC, Editor

RICH: Manifest = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {
        "name": "rich",
        "labels": {"a": "1"},
        "annotations": {"n": "1"},
        "finalizers": ["x.example.com/a"],
    },
    "spec": {
        "replicas": 0,
        "selector": {"matchLabels": {"app": "x"}},
        "template": {
            "metadata": {"labels": {"app": "x"}},
            "spec": {
                "nodeSelector": {"there": "none"},
                "tolerations": [{"key": "k", "operator": "Exists"}],
                "volumes": [{"name": "v", "emptyDir": {}}, {"name": "w", "emptyDir": {}}],
                "containers": [
                    {
                        "name": "app",
                        "image": "i:1",
                        "args": ["a", "b"],
                        "ports": [{"containerPort": 80, "name": "http"}, {"containerPort": 81}],
                        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                        "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                        "resources": {"limits": {"cpu": "1"}},
                    },
                    {"name": "side", "image": "i:1"},
                ],
            },
        },
    },
}
_POD: tuple[Step, ...] = ("spec", "template", "spec")
_APP: tuple[Step, ...] = (*_POD, "containers", (("name", "app"),))
_SIDE: tuple[Step, ...] = (*_POD, "containers", (("name", "side"),))


def _port(number: int, protocol: str) -> Step:
    return (("containerPort", number), ("protocol", protocol))


PLACES: list[tuple[Step, ...]] = [
    ("metadata", "labels"), ("metadata", "labels", "a"), ("metadata", "annotations", "n"),
    ("metadata", "finalizers", 0), ("metadata", "finalizers", 1),
    ("spec", "replicas"), ("spec", "minReadySeconds"), ("spec", "strategy", "type"),
    (*_POD, "tolerations"), (*_POD, "tolerations", 0, "key"), (*_POD, "tolerations", 1, "key"),
    (*_POD, "nodeSelector", "there"), (*_POD, "nodeSelector", "x"),
    (*_POD, "volumes", (("name", "w"),)), (*_POD, "volumes", (("name", "z"),), "emptyDir"),
    (*_POD, "terminationGracePeriodSeconds"),
    (*_APP, "image"), (*_SIDE, "image"), (*_APP, "imagePullPolicy"),
    (*_APP, "args"), (*_APP, "args", 0), (*_APP, "args", 1),
    (*_APP, "ports"), (*_APP, "ports", _port(80, "TCP"), "name"),
    (*_APP, "ports", _port(81, "TCP")), (*_APP, "ports", _port(81, "UDP")),
    (*_APP, "env"), (*_APP, "env", (("name", "A"),)), (*_APP, "env", (("name", "A"),), "value"),
    (*_APP, "env", (("name", "C"),), "value"), (*_SIDE, "env", (("name", "A"),), "value"),
    (*_APP, "volumeMounts", (("mountPath", "/v"),), "name"),
    (*_APP, "resources", "limits", "cpu"), (*_APP, "resources", "requests", "cpu"),
]  # fmt: skip


class Maker:
    """Makes writes of all sorts by chance: what they hold may be refused."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance

    def _maybe(self, odds: float) -> bool:
        return self.chance.random() < odds

    def body(self) -> dict[str, Any]:
        """Return a patch that is an object."""
        c = self.chance.choice
        found: dict[str, Any] = {"metadata": {}, "spec": {}}
        spec = self._pod()
        if spec:
            found["spec"]["template"] = {"spec": spec}
        if self._maybe(0.2):
            found["spec"]["minReadySeconds"] = c([0, 5])
        if self._maybe(0.1):
            found["spec"]["strategy"] = c([{"type": "Recreate", "rollingUpdate": None}, {}])
        if self._maybe(0.3):
            found["metadata"]["labels"] = {c("ab"): c(["1", "2", None])}
        if self._maybe(0.3):
            found["metadata"]["annotations"] = {c("nm"): c(["1", "2", None])}
        if self._maybe(0.15):
            names = ["x.example.com/a", "x.example.com/b"]
            found["metadata"]["finalizers"] = self.chance.sample(names, c([0, 1, 2]))
        return {key: part for key, part in found.items() if part}

    def _pod(self) -> dict[str, Any]:
        c, spec = self.chance.choice, dict[str, Any]()
        if self._maybe(0.6):
            spec["containers"] = [self._container()]
            if spec["containers"][0]["name"] == "app" and self._maybe(0.3):
                spec["containers"].append({"name": "side", "image": f"i:{c('123')}"})
        exists = [{"key": key, "operator": "Exists"} for key in "kq"]
        if self._maybe(0.2):
            spec["tolerations"] = c([exists, exists[1:], []])
        if self._maybe(0.2):
            spec["volumes"] = [{"name": n, "emptyDir": {}} for n in self.chance.sample("vwz", 2)]
        if self._maybe(0.15):
            spec["nodeSelector"] = c([{"x": "y", "there": "none"}, {"there": "never"}])
        if self._maybe(0.1):
            spec["terminationGracePeriodSeconds"] = c([30, 10])
        return spec

    def _container(self) -> dict[str, Any]:
        c = self.chance.choice
        ports = [{"containerPort": 81, "protocol": c(["TCP", "UDP"])}, {"containerPort": 80}]
        parts: dict[str, Any] = {
            "image": f"i:{c('123')}",
            "args": c([["a"], ["b", "a"], ["a", "b", "c"]]),
            "env": [{"name": n, "value": c("123")} for n in self.chance.sample("ABC", c([1, 2]))],
            "ports": c([ports, ports[:1], [{"containerPort": 81}]]),
            "resources": {c(["limits", "requests"]): {"cpu": c(["1000m", "1", "500m"])}},
            "imagePullPolicy": c(["Always", "IfNotPresent"]),
            "volumeMounts": [{"name": "v", "mountPath": c(["/v", "/u"])}],
        }
        kept = {name: part for name, part in parts.items() if self._maybe(0.3)}
        return {"name": c(["app", "side"]), **kept}

    def directed(self) -> dict[str, Any]:
        """Return a strategic merge patch with a directive."""
        found = self.body()
        found.setdefault("metadata", {})
        spec = found.setdefault("spec", {}).setdefault("template", {}).setdefault("spec", {})
        order = self.chance.sample([{"name": "app"}, {"name": "side"}], 2)
        ways: list[Callable[[], Any]] = [
            lambda: spec.update(containers=[{"name": "side", "$patch": "delete"}]),
            lambda: spec.update(
                containers=[
                    {"name": "app", "env": [{"$patch": "replace"}, {"name": "B", "value": "9"}]}
                ]
            ),
            lambda: spec.update({"$setElementOrder/containers": order}),
            lambda: spec.update(
                containers=[{"name": "app", "ports": [{"containerPort": 81, "$patch": "delete"}]}]
            ),
            lambda: spec.update(
                containers=[{"name": "app", "resources": {"$patch": "replace", "limits": {}}}]
            ),
        ]
        self.chance.choice(ways)()
        return found

    def steps(self) -> list[Any]:
        """Return a JSON patch."""
        c, items = self.chance.choice, "/spec/template/spec/containers"
        choices: list[Any] = [
            {"op": "replace", "path": f"{items}/{c('01')}/image", "value": f"i:{c('123')}"},
            {"op": "add", "path": f"{items}/0/args", "value": c([["a"], ["a", "b"]])},
            {"op": "add", "path": f"{items}/0/args/0", "value": c("abc")},
            {"op": "remove", "path": f"{items}/0/args/0"},
            {"op": "add", "path": f"{items}/0/env", "value": [{"name": "A", "value": c("12")}]},
            {"op": "add", "path": f"{items}/0/env/-", "value": {"name": "C", "value": c("12")}},
            {"op": "remove", "path": f"{items}/0/env/0"},
            {"op": "add", "path": "/metadata/labels/a", "value": c("12")},
            {"op": "remove", "path": "/metadata/labels/a"},
            {"op": "replace", "path": "/spec/template/spec/tolerations/0/key", "value": c("kq")},
            {"op": "remove", "path": "/spec/template/spec/volumes/1"},
            {"op": "add", "path": f"{items}/0", "value": {"name": "side", "image": "i:1"}},
            {"op": "remove", "path": f"{items}/1"},
            {"op": "move", "from": f"{items}/0", "path": f"{items}/1"},
            {"op": "copy", "from": "/metadata/labels/a", "path": "/metadata/annotations/n"},
            {"op": "test", "path": f"{items}/0/name", "value": "app"},
            {"op": "add", "path": "/metadata/finalizers/-", "value": "x.example.com/b"},
            {"op": "remove", "path": "/metadata/finalizers/0"},
        ]
        return self.chance.sample(choices, c([1, 1, 2]))


def _write(who: Editor, url: str, number: int, live: Manifest, make: Maker) -> str:
    """Send a write of some sort; its number is in its address."""
    how = make.chance.choice(["merge", "strategic", "directed", "json", "apply", "put"])
    query = f"{url}?fieldManager={make.chance.choice(['m1', 'm2'])}&number={number}"
    if how == "put":
        body = _merged(copy.deepcopy(live), make.body())
        del body["metadata"]["resourceVersion"]
        who.send("PUT", query, body)
    elif how == "apply":
        body = _merged({}, make.body())
        body |= {"apiVersion": "apps/v1", "kind": "Deployment"}
        body["metadata"] = {**body.get("metadata", {}), "name": "rich"}
        who.send("PATCH", f"{query}&force=true", body, kind=APPLY)
    else:
        bodies = {"merge": make.body, "strategic": make.body, "directed": make.directed}
        types = {"merge": MERGE, "json": JSON}
        body = bodies[how]() if how in bodies else make.steps()
        who.send("PATCH", query, body, kind=types.get(how, STRATEGIC))
    return how


def _merged(base: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    found = dict(base) if isinstance(base, dict) else {}
    for key, part in patch.items():
        if part is None:
            found.pop(key, None)
        else:
            found[key] = _merged(found.get(key), part)
    return found


def _wants(place: tuple[Step, ...], *lives: Manifest) -> list[Want]:
    """Return wants of the field's values, and of its being away."""
    member = place[:2] == ("metadata", "finalizers")
    values: list[Any] = [None]
    for live in lives:
        value = lookup(live, place)[1]
        if value not in values and not (isinstance(value, dict) and value):
            values.append(value)
    short = place[:2] if member else place
    return [
        Want(short, value is not None, value, member=member, api_version="apps/v1")
        for value in values
        if not (member and value is None) and not isinstance(value, list)
    ]


def _has(live: Manifest, want: Want) -> bool:
    value = lookup(live, want.place)[1]
    return want.value in (value or []) if want.member else bool(value == want.value)


def test_what_writes_do(sandbox: Status, namespace: str) -> None:
    """Of patches of all types, and whole objects, nothing is done that was held impossible."""
    chance = random.Random(4)  # noqa: S311  # to be had again
    who, make = Editor(sandbox.name, "alice", namespace), Maker(chance)
    url = f"/apis/apps/v1/namespaces/{namespace}/deployments/rich"
    assert who.send("PATCH", f"{url}?fieldManager=app&force=true", RICH, kind=APPLY)[0] == 201
    lives = [who.send("GET", url)[1]]
    sorts: Counter[str] = Counter()
    for number in range(160):
        sorts[_write(who, url, number, lives[-1], make)] += 1
        lives.append(who.send("GET", url)[1])
    who.send("PATCH", url, {"metadata": {"finalizers": None}}, kind=MERGE)
    who.close()
    counts: Counter[str] = Counter()
    for number, event in _events(sandbox, f"{namespace}/deployments/rich").items():
        request = request_of(event)
        if request is None:
            counts["refused"] += 1
            continue
        before, after = lives[number], lives[number + 1]
        for place in PLACES:
            for want in _wants(place, before, after):
                effect = effect_of(request, want)
                if request.may_be_apply and effect in {LEAVE, want.touch}:
                    effect = joined(effect, want.reset)
                mask = effect.plain | (effect.default if want.may_default else 0)
                done = 1 << (2 * _has(before, want) + _has(after, want))
                assert mask & done, (want, event["requestObject"], lookup(before, place))
                counts["exact" if effect in {LEAVE, SET, UNSET} else "wider"] += 1
    print(f"\n{dict(sorts)}: {dict(counts)}")
    assert counts["exact"] > 0.4 * counts.total()


def _events(sandbox: Status, words: str) -> dict[int, Any]:
    """Return the numbered writes of the log by their numbers."""
    found: dict[int, Any] = {}
    for line in lines(sandbox.audit_log):
        if words.encode() in line and b"number=" in line:  # Go writes & as \u0026
            event = json.loads(line)
            found[int(event["requestURI"].split("&number=")[1].split("&")[0])] = event
    return found
