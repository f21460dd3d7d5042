"""Fields that a kustomization itself sets: images, replicas, labels, annotations, generated data.

Each function yields edits of the kustomization (or of a file that it reads) which may lead to the
wanted value. https://kubectl.docs.kubernetes.io/references/kustomize/kustomization/
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from opslib.drift.ground import Candidates
from opslib.drift.layers import Layer
from opslib.reconcile.fieldpath import Place


@dataclass(frozen=True)
class Goal:
    """One field of one object: as it is rendered now, and as it has to be.

    ``names`` are those that the object may have before its kustomizations are through.
    """

    kind: str
    names: frozenset[str]
    place: Place
    before: Any
    value: Any
    gone: bool = False

    def pair(self, pairs: dict[str, Any]) -> dict[str, Any]:
        """Return pairs with this field's key as it has to be."""
        key = str(self.place[-1])
        if self.gone:
            return {name: value for name, value in pairs.items() if name != key}
        return {**pairs, key: self.value}


def images(layer: Layer, goal: Goal) -> Candidates:
    """``images``: the entry that gave the image its name, tag or digest."""
    if goal.place[-1] != "image" or not isinstance(goal.value, str) or goal.gone:
        return
    name, tag, digest = image_parts(goal.value)
    old = image_parts(str(goal.before))[0]
    entries = layer.entries("images")
    for number in reversed(range(len(entries))):
        entry = dict(entries[number])
        if old not in {entry.get("newName"), entry.get("name")}:
            continue
        for field, value in (("newTag", tag), ("digest", digest)):
            entry.pop(field, None) if not value else entry.update({field: value})
        if name != entry["name"] or "newName" in entry:
            entry["newName"] = name
        changed = copy.deepcopy(entries)
        changed[number] = {key: entry[key] for key in (*entries[number], *entry) if key in entry}
        yield layer.changed(images=changed)


def image_parts(image: str) -> tuple[str, str, str]:
    """Split an image into name, tag and digest: ``registry:5000/a/b:v1@sha256:…``."""
    rest, _, digest = image.partition("@")
    name, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        return rest, "", digest
    return name, tag, digest


def replicas(layer: Layer, goal: Goal) -> Candidates:
    """``replicas``: the count for a name."""
    entries = copy.deepcopy(layer.entries("replicas"))
    if goal.place != ("spec", "replicas") or not isinstance(goal.value, int):
        return
    for entry in entries:
        if entry.get("name") in goal.names:
            entry["count"] = goal.value
            yield layer.changed(replicas=entries)
            return


def labels(layer: Layer, goal: Goal) -> Candidates:
    """``commonLabels``, ``commonAnnotations`` and ``labels``: what every object gets."""
    key = goal.place[-1]
    for name in ("commonLabels", "commonAnnotations"):
        pairs = layer.value.get(name)
        if isinstance(pairs, dict) and key in pairs:
            yield layer.changed(**{name: goal.pair(pairs)})
    entries = layer.entries("labels")
    for number, entry in enumerate(entries):
        pairs = entry.get("pairs") if isinstance(entry, dict) else None
        if isinstance(pairs, dict) and key in pairs:
            changed = copy.deepcopy(entries)
            changed[number]["pairs"] = goal.pair(pairs)
            yield layer.changed(labels=changed)


def generated(layer: Layer, goal: Goal) -> Candidates:
    """``configMapGenerator``: literals, and the files and env files that it reads."""
    if goal.kind != "ConfigMap" or goal.place[0] != "data" or len(goal.place) != 2:
        return
    entries = layer.entries("configMapGenerator")
    for number in reversed(range(len(entries))):
        entry = entries[number]
        if not isinstance(entry, dict) or entry.get("name") not in goal.names:
            continue
        yield from _from_literals(layer, goal, number)
        yield from _from_files(layer, goal, entry)
        yield from _from_envs(layer, goal, entry)


def _from_literals(layer: Layer, goal: Goal, number: int) -> Candidates:
    entries = copy.deepcopy(layer.entries("configMapGenerator"))
    key, value = str(goal.place[1]), str(goal.value)
    texts = list(entries[number].get("literals") or ())
    there = [n for n, text in enumerate(texts) if str(text).partition("=")[0] == key]
    if goal.gone and there:
        del texts[there[-1]]
    elif there:
        texts[there[-1]] = f"{key}={value}"
    elif not goal.gone and "\n" not in value:
        texts.append(f"{key}={value}")
    else:
        return
    entries[number]["literals"] = texts
    if not texts:
        del entries[number]["literals"]
    yield layer.changed(configMapGenerator=entries)


def _from_files(layer: Layer, goal: Goal, entry: dict[str, Any]) -> Candidates:
    for text in entry.get("files") or ():
        name, equals, path = str(text).partition("=")
        file = layer.own(path if equals else name)
        known_as = name if equals else file.rpartition("/")[2]
        if file and str(goal.place[1]) == known_as and not goal.gone:
            yield {file: str(goal.value).encode()}


def _from_envs(layer: Layer, goal: Goal, entry: dict[str, Any]) -> Candidates:
    names = [*(entry.get("envs") or ()), *([entry["env"]] if "env" in entry else ())]
    for file in filter(None, map(layer.own, names)):
        lines = layer.tree.text(file).splitlines(keepends=True)
        for number, line in enumerate(lines):
            head, equals, rest = line.partition("=")
            if not equals or head.strip() != goal.place[1] or "\n" in str(goal.value):
                continue
            end = rest[len(rest.rstrip("\r\n")) :]
            lines[number] = "" if goal.gone else f"{head}={goal.value}{end}"
            yield {file: "".join(lines).encode()}
            break


def without_generator(layer: Layer, names: frozenset[str]) -> Candidates:
    """Take the generator of a ConfigMap out of the kustomization."""
    entries = layer.entries("configMapGenerator")
    left = [e for e in entries if not (isinstance(e, dict) and e.get("name") in names)]
    if len(left) < len(entries):
        yield layer.changed(configMapGenerator=left or None)
