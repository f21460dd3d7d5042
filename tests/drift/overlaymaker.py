"""Kustomizations that are built in different ways on one base, and edits by hand in a cluster."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

BASE = {
    "base/kustomization.yaml": "resources:\n- web.yaml\n- rest.yaml\n",
    "base/web.yaml": """# the web shop
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: {app: web}  # who
spec:
  replicas: 2  # two are enough
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      containers:
      # the shop itself
      - name: web
        image: example.com/web:v1
        args: ["--port=80", "--quiet"]
        env:
        - name: MODE
          value: fast  # not slow
        - {name: LEVEL, value: info}
        resources:
          limits: {cpu: 500m, memory: 128Mi}
      - name: proxy
        image: example.com/proxy:v3
""",
    "base/rest.yaml": """apiVersion: v1
kind: ConfigMap
metadata:
  name: settings
data:
  # how much is told
  LOG_LEVEL: info
  motd: |
    hello
    world
---
apiVersion: example.com/v1
kind: Thing
metadata:
  name: thing
spec:
  steps:
  - name: one
    run: a
  - name: two
    run: b
  size: 3
""",
}

_KUSTOMIZATION = """# production
resources:
- ../base
- own.yaml  # only here
"""
_OWN = """apiVersion: v1
kind: ConfigMap
metadata:
  name: own
data:
  a: "1"  # first
  b: "2"
"""
_PATCH = """# more of them
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 5  # the evening peak
  template:
    spec:
      containers:
      - name: web
        env:
        - name: LEVEL
          value: debug
"""
_JSON = """- op: replace
  path: /spec/size
  value: 4  # larger
"""

OPTIONS: dict[str, tuple[str, dict[str, str]]] = {
    "patch": ("patches:\n- path: more.yaml\n", {"more.yaml": _PATCH}),
    "inline": (
        "patches:\n- patch: |-\n" + "".join(f"    {line}\n" for line in _PATCH.splitlines()),
        {},
    ),
    "merge": ("patchesStrategicMerge:\n- more.yaml\n", {"more.yaml": _PATCH}),
    "json": (
        "patches:\n- path: size.yaml\n  target: {kind: Thing, name: thing}\n",
        {"size.yaml": _JSON},
    ),
    "images": ("images:\n- name: example.com/web\n  newTag: v2  # the fix\n", {}),
    "digest": (
        (
            "images:\n- name: example.com/web\n  newName: mirror.example.com/web\n"
            f"  digest: sha256:{'a' * 64}\n"
        ),
        {},
    ),
    "replicas": ("replicas:\n- name: web\n  count: 7\n", {}),
    "prefix": ("namePrefix: prod-\n", {}),
    "suffix": ("nameSuffix: -eu\n", {}),
    "labels": ("labels:\n- pairs: {tier: front}\n  includeSelectors: false\n", {}),
    "common": ("commonLabels:\n  team: shop\n", {}),
    "annotations": ("commonAnnotations:\n  owner: shop\n", {}),
    "namespace": ("namespace: production\n", {}),
    "generator": (
        (
            "configMapGenerator:\n- name: made\n  literals:\n  - A=1  # one\n  - B=2\n"
            "  files: [text=text.txt]\n  envs: [more.env]\n"
            "generatorOptions: {disableNameSuffixHash: true}\n"
        ),
        {"text.txt": "line 1\nline 2\n", "more.env": "# more\nC=3\nD=4\n"},
    ),
    "hashed": ("configMapGenerator:\n- name: made\n  literals: [A=1]\n", {}),
}
_APART = [{"patch", "inline", "merge", "json"}, {"images", "digest"}, {"generator", "hashed"}]


def overlay(dice: random.Random) -> tuple[dict[str, str], list[str]]:
    """Return the files of an overlay, and what it is made of."""
    names = dice.sample(sorted(OPTIONS), dice.randint(1, 4))
    for group in _APART:
        same = [name for name in names if name in group]
        names = [name for name in names if name not in same[1:]]
    files = {"prod/own.yaml": _OWN, **BASE}
    text = _KUSTOMIZATION
    for name in names:
        more, extra = OPTIONS[name]
        text += more
        files |= {f"prod/{path}": content for path, content in extra.items()}
    return {**files, "prod/kustomization.yaml": text}, names


Hand = Callable[[dict[str, Any]], None]


def _container(one: dict[str, Any], number: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = one["spec"]["template"]["spec"]["containers"][number]
    return found


HANDS: dict[str, tuple[str, str, Hand]] = {
    "replicas": ("Deployment", "web", lambda o: o["spec"].update(replicas=9)),
    "no replicas": ("Deployment", "web", lambda o: o["spec"].pop("replicas")),
    "tag": ("Deployment", "web", lambda o: _container(o).update(image="example.com/web:v9")),
    "registry": ("Deployment", "web", lambda o: _container(o).update(image="other.com/web:v9")),
    "digest": (
        "Deployment",
        "web",
        lambda o: _container(o).update(image=f"example.com/web@sha256:{'b' * 64}"),
    ),
    "proxy": ("Deployment", "web", lambda o: _container(o, 1).update(image="example.com/proxy:v4")),
    "env": ("Deployment", "web", lambda o: _container(o)["env"][1].update(value="trace")),
    "new env": (
        "Deployment",
        "web",
        lambda o: _container(o)["env"].append({"name": "DEBUG", "value": "1"}),
    ),
    "no env": ("Deployment", "web", lambda o: _container(o)["env"].pop(0)),
    "argument": ("Deployment", "web", lambda o: _container(o)["args"].append("--trace")),
    "no argument": ("Deployment", "web", lambda o: _container(o)["args"].pop()),
    "no limit": ("Deployment", "web", lambda o: _container(o)["resources"]["limits"].pop("cpu")),
    "sidecar": (
        "Deployment",
        "web",
        lambda o: o["spec"]["template"]["spec"]["containers"].append(
            {"name": "spy", "image": "example.com/spy:v1"}
        ),
    ),
    "label": ("Deployment", "web", lambda o: o["metadata"]["labels"].update({"a.b/c": "yes"})),
    "annotation": (
        "Deployment",
        "web",
        lambda o: o["metadata"].setdefault("annotations", {}).update({"a.b/c": "yes"}),
    ),
    "pause": ("Deployment", "web", lambda o: o["spec"].update(paused=True)),
    "level": ("ConfigMap", "settings", lambda o: o["data"].update(LOG_LEVEL="debug")),
    "motd": ("ConfigMap", "settings", lambda o: o["data"].update(motd="hello\nall\n")),
    "no level": ("ConfigMap", "settings", lambda o: o["data"].pop("LOG_LEVEL")),
    "own": ("ConfigMap", "own", lambda o: o["data"].update(a="3")),
    "own more": ("ConfigMap", "own", lambda o: o["data"].update(c="yes")),
    "no own": ("ConfigMap", "own", lambda o: o["data"].pop("b")),
    "made": ("ConfigMap", "made", lambda o: o["data"].update(A="5")),
    "made more": ("ConfigMap", "made", lambda o: o["data"].update(E="5")),
    "no made": ("ConfigMap", "made", lambda o: o["data"].pop("B")),
    "made text": ("ConfigMap", "made", lambda o: o["data"].update(text="line 1\nline 3\n")),
    "made env": ("ConfigMap", "made", lambda o: o["data"].update(C="9")),
    "size": ("Thing", "thing", lambda o: o["spec"].update(size=8)),
    "no size": ("Thing", "thing", lambda o: o["spec"].pop("size")),
    "step": ("Thing", "thing", lambda o: o["spec"]["steps"][1].update(run="c")),
    "new step": ("Thing", "thing", lambda o: o["spec"]["steps"].insert(1, {"name": "x"})),
    "no step": ("Thing", "thing", lambda o: o["spec"]["steps"].pop(0)),
    "order": ("Thing", "thing", lambda o: o["spec"]["steps"].reverse()),
}
"""What somebody does to an object of a kind whose name has a word in it."""


def by_hand(
    objects: list[dict[str, Any]], name: str
) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return the object and what a hand made of it; None where there is no such object."""
    kind, word, hand = HANDS[name]
    for one in objects:
        if one["kind"] == kind and word in one["metadata"]["name"]:
            live = copy.deepcopy(one)
            try:
                hand(live)
            except (KeyError, IndexError):
                return None
            return one, live
    return None
