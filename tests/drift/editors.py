"""People and controllers that edit objects of a real API server, each under a name of their own."""

from __future__ import annotations

import copy
import http.client
import json
import os
import random
import ssl
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opslib.core.clock import stamp
from opslib.core.model import Manifest, ResourceKey, key_of
from opslib.reconcile.diff import Step
from opslib.reconcile.fieldpath import value_at
from opslib.sandbox import cluster, state
from opslib.sandbox.binaries import kubectl

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"
APP = "opslib-shop"


class Editor:
    """One identity: what it asks of the API server is asked as this user."""

    def __init__(self, sandbox: str, user: str, namespace: str) -> None:
        self.user, self.namespace = user, namespace
        self._env = {**os.environ, **cluster.environment(sandbox)}
        place = state.place(sandbox)
        known = state.read(place)
        assert known
        context = ssl.create_default_context(cafile=str(place.pki / "ca.crt"))
        context.load_cert_chain(str(place.pki / "admin.crt"), str(place.pki / "admin.key"))
        self._line = http.client.HTTPSConnection("127.0.0.1", known.api_port, context=context)

    def send(
        self, method: str, path: str, body: Any = None, *, kind: str = "application/json"
    ) -> tuple[int, Any]:
        """Send one request as this user; return its status and answer."""
        headers = {"Content-Type": kind, "User-Agent": "tool/1.0 (test)"}
        if self.user:
            headers["Impersonate-User"] = self.user
            headers["Impersonate-Group"] = "system:masters"
        payload = None if body is None else json.dumps(body).encode()
        self._line.request(method, path, payload, headers)
        answer = self._line.getresponse()
        return answer.status, json.loads(answer.read() or b"{}")

    def kubectl(self, *words: str, **env: str) -> None:
        """Run kubectl as this user."""
        code, said = self.try_kubectl(*words, **env)
        assert code == 0, said

    def try_kubectl(self, *words: str, **env: str) -> tuple[int, str]:
        """Run kubectl as this user; return its exit code, and what it said on stderr."""
        base = [str(kubectl()), "--namespace", self.namespace]
        if self.user:
            base += ["--as", self.user, "--as-group", "system:masters"]
        done = subprocess.run(
            [*base, *words],
            env={**self._env, **env},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stderr

    def close(self) -> None:
        self._line.close()


@dataclass
class Watched:
    """One object under edit: its tracked fields, and who gave each the value that it has.

    ``truth`` has the user, and the times between which it was done.
    """

    path: str
    manifest: Manifest
    places: list[tuple[Step, ...]]
    live: Manifest = field(default_factory=dict)
    truth: dict[tuple[Step, ...], tuple[str, str, str]] = field(default_factory=dict)

    @property
    def key(self) -> ResourceKey:
        return key_of(self.manifest)

    @property
    def url(self) -> str:
        return f"{self.path}/{self.manifest['metadata']['name']}"

    def look(self, reader: Editor, user: str, begun: str) -> None:
        """Read the object: what has another value than before, ``user`` set since ``begun``."""
        ended = stamp()
        status, found = reader.send("GET", self.url)
        assert status == 200, found
        for place in self.places:
            if value_at(self.live, place) != value_at(found, place):
                self.truth[place] = (user, begun, ended)
        self.live = found


Edit = Callable[[Editor, Watched, random.Random], None]


def _word(chance: random.Random) -> str:
    return chance.choice(["red", "green", "blue", "amber"])


def _url(one: Watched, manager: str, more: str = "") -> str:
    return f"{one.url}?fieldManager={manager}{more}"


def _patch(  # noqa: PLR0917  # in the order of a request
    who: Editor, one: Watched, manager: str, body: Any, kind: str, more: str = ""
) -> None:
    status, answer = who.send("PATCH", _url(one, manager, more), body, kind=kind)
    assert status < 300, answer


def merge_label(who: Editor, one: Watched, chance: random.Random) -> None:
    body = {"metadata": {"labels": {"team": _word(chance)}}}
    _patch(who, one, "kubectl-label", body, MERGE)


def drop_label(who: Editor, one: Watched, chance: random.Random) -> None:
    _patch(who, one, "kubectl-label", {"metadata": {"labels": {"team": None}}}, MERGE)


def annotate(who: Editor, one: Watched, chance: random.Random) -> None:
    body = {"metadata": {"annotations": {"note": _word(chance)}}}
    _patch(who, one, "kubectl-annotate", body, STRATEGIC)


def unrelated(who: Editor, one: Watched, chance: random.Random) -> None:
    """Edit something else through a manager that others use, too."""
    body = {"metadata": {"annotations": {"other": str(chance.random())}}}
    manager = chance.choice(["kubectl-label", "kubectl-edit", "kubectl-patch", "tool"])
    _patch(who, one, manager, body, MERGE)


def put_whole(who: Editor, one: Watched, chance: random.Random) -> None:
    """Read, change one thing, write the whole object back."""
    _, whole = who.send("GET", one.url)
    del whole["metadata"]["resourceVersion"]  # a controller may write between
    whole["metadata"].setdefault("labels", {})["team"] = _word(chance)
    if "data" in whole:
        whole["data"] = {**whole["data"], "mode": _word(chance)}
    status, answer = who.send("PUT", _url(one, "tool"), whole)
    assert status == 200, answer


def put_without(who: Editor, one: Watched, chance: random.Random) -> None:
    """Write the whole object back without one field, and without managedFields."""
    _, whole = who.send("GET", one.url)
    del whole["metadata"]["resourceVersion"]
    whole["metadata"].pop("managedFields", None)
    (whole["metadata"].get("annotations") or {}).pop("note", None)
    status, answer = who.send("PUT", _url(one, "tool"), whole)
    assert status == 200, answer


def json_label(who: Editor, one: Watched, chance: random.Random) -> None:
    labels = (one.live["metadata"].get("labels") or {}) if one.live else {}
    body: list[Any] = [] if labels else [{"op": "add", "path": "/metadata/labels", "value": {}}]
    body.append({"op": "add", "path": "/metadata/labels/team", "value": _word(chance)})
    _patch(who, one, "kubectl-patch", body, JSON)


def spoof_own(who: Editor, one: Watched, chance: random.Random) -> None:
    """Write under the name of the app."""
    _patch(who, one, APP, {"metadata": {"labels": {"team": _word(chance)}}}, MERGE)


def spoof_apply(who: Editor, one: Watched, chance: random.Random) -> None:
    """Apply under the name of the app, with another value."""
    body = copy.deepcopy(one.manifest)
    body["metadata"].setdefault("labels", {})["team"] = _word(chance)
    _patch(who, one, APP, body, APPLY, "&force=true")


def apply_some(who: Editor, one: Watched, chance: random.Random) -> None:
    """Apply a label, or no longer apply it, as a tool with a manager of its own."""
    body = {k: one.manifest[k] for k in ("apiVersion", "kind")}
    metadata: dict[str, Any] = {"name": one.manifest["metadata"]["name"]}
    if chance.random() < 0.7:
        metadata["labels"] = {"team": _word(chance)}
    _patch(who, one, "platform", {**body, "metadata": metadata}, APPLY, "&force=true")


def wipe(who: Editor, one: Watched, chance: random.Random) -> None:
    _patch(who, one, "tool", {"metadata": {"managedFields": [{}]}}, MERGE)


def dry_run(who: Editor, one: Watched, chance: random.Random) -> None:
    body = {"metadata": {"labels": {"team": _word(chance)}}}
    _patch(who, one, "kubectl-label", body, MERGE, "&dryRun=All")


def refused(who: Editor, one: Watched, chance: random.Random) -> None:
    """Send what the API server refuses, with a value that somebody else may set."""
    body = {"metadata": {"labels": {"team": _word(chance), "bad": "no spaces allowed"}}}
    status, _ = who.send("PATCH", _url(one, "kubectl-label"), body, kind=MERGE)
    assert status == 422


def revert(who: Editor, one: Watched, chance: random.Random) -> None:
    """Apply what is declared, as the app does."""
    body = {**one.manifest, "metadata": {**one.manifest["metadata"]}}
    _patch(who, one, APP, body, APPLY, "&force=true")


EVERYWHERE: list[Edit] = [
    merge_label, merge_label, drop_label, annotate, annotate, unrelated, unrelated, put_whole,
    put_without, json_label, spoof_own, spoof_apply, apply_some, dry_run, refused, wipe,
]  # fmt: skip


def _containers(one: Watched) -> Any:
    return one.live["spec"]["template"]["spec"]["containers"]


def _image(chance: random.Random) -> str:
    return f"registry.example.com/app:{chance.choice('1234')}"


def strategic_image(who: Editor, one: Watched, chance: random.Random) -> None:
    item = {"name": chance.choice(["app", "proxy"]), "image": _image(chance)}
    body = {"spec": {"template": {"spec": {"containers": [item]}}}}
    _patch(who, one, "kubectl-patch", body, STRATEGIC)


def json_image(who: Editor, one: Watched, chance: random.Random) -> None:
    path = f"/spec/template/spec/containers/{chance.choice('01')}/image"
    _patch(
        who, one, "kubectl-patch", [{"op": "replace", "path": path, "value": _image(chance)}], JSON
    )


def env(who: Editor, one: Watched, chance: random.Random) -> None:
    entry: dict[str, Any] = {"name": "MODE", "value": _word(chance)}
    if chance.random() < 0.3:
        entry = {"name": "MODE", "$patch": "delete"}
    body = {"spec": {"template": {"spec": {"containers": [{"name": "app", "env": [entry]}]}}}}
    _patch(who, one, "kubectl-edit", body, STRATEGIC)


def merge_containers(who: Editor, one: Watched, chance: random.Random) -> None:
    """Replace the list as merge patches do, with all of its items."""
    items = copy.deepcopy(_containers(one))
    items[0]["image"] = _image(chance)
    body = {"spec": {"template": {"spec": {"containers": items}}}}
    _patch(who, one, "tool", body, MERGE)


def scale(who: Editor, one: Watched, chance: random.Random) -> None:
    body = {"spec": {"replicas": chance.randrange(1, 4)}}
    url = f"{one.url}/scale?fieldManager=tool"
    status, answer = who.send("PATCH", url, body, kind=MERGE)
    assert status == 200, answer


def put_scale(who: Editor, one: Watched, chance: random.Random) -> None:
    _, whole = who.send("GET", f"{one.url}/scale")
    whole["spec"]["replicas"] = chance.randrange(0, 4)
    del whole["metadata"]["resourceVersion"]
    status, answer = who.send("PUT", f"{one.url}/scale", whole)
    assert status == 200, answer


def replicas(who: Editor, one: Watched, chance: random.Random) -> None:
    body = {"spec": {"replicas": chance.randrange(1, 4)}}
    _patch(who, one, "kubectl-edit", body, STRATEGIC)


def resources(who: Editor, one: Watched, chance: random.Random) -> None:
    """Write a quantity in another form than the server keeps."""
    amount = chance.choice(["1000m", "1", "0.5", "2048Mi"])
    item = {"name": "app", "resources": {"limits": {"cpu": amount}}}
    body = {"spec": {"template": {"spec": {"containers": [item]}}}}
    _patch(who, one, "kubectl-patch", body, STRATEGIC)


WORKLOADS: list[Edit] = [
    strategic_image, strategic_image, json_image, json_image, env, env, merge_containers,
    scale, put_scale, replicas, resources,
]  # fmt: skip


def data(who: Editor, one: Watched, chance: random.Random) -> None:
    _patch(who, one, "kubectl-patch", {"data": {"mode": _word(chance)}}, MERGE)


def drop_data(who: Editor, one: Watched, chance: random.Random) -> None:
    _patch(who, one, "kubectl-edit", {"data": {"mode": None}}, STRATEGIC)


def json_data(who: Editor, one: Watched, chance: random.Random) -> None:
    body: list[Any] = [] if one.live.get("data") else [{"op": "add", "path": "/data", "value": {}}]
    body.append({"op": "add", "path": "/data/extra", "value": _word(chance)})
    _patch(who, one, "tool", body, JSON)


MAPS: list[Edit] = [data, data, drop_data, json_data]


def k_label(who: Editor, one: Watched, chance: random.Random) -> None:
    who.kubectl("label", "--overwrite", _target(one), f"team={_word(chance)}")


def k_annotate(who: Editor, one: Watched, chance: random.Random) -> None:
    who.kubectl("annotate", "--overwrite", _target(one), f"note={_word(chance)}")


def k_image(who: Editor, one: Watched, chance: random.Random) -> None:
    who.kubectl("set", "image", _target(one), f"app={_image(chance)}")


def k_scale(who: Editor, one: Watched, chance: random.Random) -> None:
    who.kubectl("scale", _target(one), f"--replicas={chance.randrange(1, 4)}")


def k_edit(who: Editor, one: Watched, chance: random.Random) -> None:
    script = f"sed -i s#registry.example.com/app:[1-4]#{_image(chance)}#"
    who.kubectl("edit", _target(one), KUBE_EDITOR=script)


def k_patch(who: Editor, one: Watched, chance: random.Random) -> None:
    how = chance.choice(["merge", "strategic", "json"])
    body: Any = {"metadata": {"annotations": {"note": _word(chance)}}}
    if how == "json":
        body = [{"op": "test", "path": "/kind", "value": one.manifest["kind"]}]
        body += [{"op": "replace", "path": "/spec/template/spec/containers/0/image"}]
        body[1]["value"] = _image(chance)
    who.kubectl("patch", _target(one), "--type", how, "-p", json.dumps(body))


def k_apply(who: Editor, one: Watched, chance: random.Random, folder: Path) -> None:
    body = copy.deepcopy(one.manifest)
    body["metadata"].setdefault("labels", {})["team"] = _word(chance)
    file = folder / "apply.json"
    file.write_text(json.dumps(body))
    words = ["apply", "-f", str(file)]
    if chance.random() < 0.5:
        words += ["--server-side", "--force-conflicts"]
    who.kubectl(*words)


def k_replace(who: Editor, one: Watched, chance: random.Random, folder: Path) -> None:
    """Read, change, replace; again where a controller wrote in between, as a person does.

    kubectl itself reads the object first and puts that resourceVersion into what it sends.
    """
    note, file = _word(chance), folder / "replace.json"
    for _ in range(20):
        _, whole = who.send("GET", one.url)
        del whole["metadata"]["resourceVersion"]
        whole["metadata"].setdefault("annotations", {})["note"] = note
        file.write_text(json.dumps(whole))
        code, said = who.try_kubectl("replace", "-f", str(file))
        if "(Conflict)" not in said:
            break
    assert code == 0, said


KUBECTL: list[Edit] = [k_label, k_annotate, k_image, k_scale, k_edit, k_patch]


def _target(one: Watched) -> str:
    return f"{one.manifest['kind'].lower()}/{one.manifest['metadata']['name']}"
