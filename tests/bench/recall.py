"""How much of what is edited by hand is found, and how much else is reported.

``python -m tests.bench.recall`` writes outputs/bench/drift-recall.json. One app of many objects is
applied while controllers, autoscalers and a mutating webhook are at work; then six kinds of
writers under five identities edit it, each in eight ways. What a drift review finds is compared
with what was done, place by place, and so is what ``kubectl diff --server-side`` shows.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opslib.drift.review import taken
from opslib.kube.client import Cluster, connect
from opslib.policy import RULES
from opslib.reconcile.session import Session, open_session
from opslib.sandbox import cluster
from opslib.sandbox.binaries import own_kubectl
from opslib.source.mirror import Source

from . import load, recall_edits
from .hands import Hands, Person
from .measure import machine, write
from .recall_edits import CLASSES, DELETED, FOREIGN, VALUE, edits_of
from .recall_objects import Manifest, config, deployment, service, untouched
from .webhook import webhook

NAME = "bench"
UNTOUCHED = 1000
OWNER = "recall-owner"
EDITED = 2
"""Objects of each kind that each writer edits under each identity."""
DELETES = 5
WAIT = 60.0

PEOPLE = (
    Person("alice@example.com", "sre"),
    Person("bob@example.com", "developers"),
    Person("system:serviceaccount:ci:deployer", "system:serviceaccounts"),
    Person("on-call", "on-call"),
    Person("kubernetes-admin", "platform"),
)
WRITERS = (
    "kubectl edit",
    "kubectl apply",
    "kubectl patch",
    "kubectl scale",
    "kube-controller-manager",
    "our own manager",
)
EDIT, APPLY, PATCH, SCALE, CONTROLLER, OWN = WRITERS
DIFF = "kubectl diff"
_SHORT = dict(zip(WRITERS, ("edit", "apply", "patch", "scale", "kcm", "own"), strict=True))
_PLURALS = {"ConfigMap": "configmaps", "Service": "services", "Deployment": "deployments"}

Place = tuple[str, str, str]
"""Kind and name of an object, the difference, and its path."""


@dataclass(frozen=True)
class Done:
    """One edit: what kind it was, by whom, and where it has to be found."""

    what: str
    writer: str
    person: str
    place: Place


@dataclass
class Result:
    """What was done, what was found of it, and what else was reported."""

    objects: int = 0
    untouched: int = 0
    done: list[Done] = field(default_factory=list)
    found: set[Place] = field(default_factory=set)
    before: list[Place] = field(default_factory=list)
    shown: set[Place] = field(default_factory=set)
    explained: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def missed(self) -> list[Done]:
        return [one for one in self.done if one.place not in self.found]

    @property
    def more(self) -> list[Place]:
        """Return what was reported and nobody had done."""
        return sorted(self.found - {one.place for one in self.done})

    def counts(self, shown: bool = False) -> dict[str, dict[str, list[int]]]:
        """Return [found, done] by class and writer; ``shown``: by kubectl diff."""
        places = self.shown if shown else self.found
        done = Counter((one.what, one.writer) for one in self.done)
        hits = Counter((one.what, one.writer) for one in self.done if one.place in places)
        return {
            what: {writer: [hits[what, writer], done[what, writer]] for writer in WRITERS}
            for what in CLASSES
        }

    def table(self) -> str:
        """Return the counts as lines of text, those of kubectl diff at the end of each line."""
        ours, theirs = self.counts(), self.counts(shown=True)
        lines = [f"{'':20}" + "".join(f"{w:>25}" for w in (*WRITERS, "all", DIFF))]
        for what in CLASSES:
            cells = [ours[what][writer] for writer in WRITERS]
            peer = [theirs[what][writer] for writer in WRITERS]
            texts = [f"{a}/{b}" if b else "-" for a, b in (*cells, _sum(cells), _sum(peer))]
            lines.append(f"{what:20}" + "".join(f"{text:>25}" for text in texts))
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        return {
            **machine(),
            "objects": self.objects,
            "untouched": self.untouched,
            "reported before any edit": len(self.before),
            "edits": len(self.done),
            "identities": len({one.person for one in self.done}),
            "found": len(self.done) - len(self.missed),
            "reported beside": len(self.more),
            "by class and writer": self.counts(),
            "kubectl diff --server-side": {
                what: _sum(list(row.values())) for what, row in self.counts(shown=True).items()
            },
            "seconds": self.seconds,
        }


def _sum(cells: Sequence[Sequence[int]]) -> list[int]:
    return [sum(pair[side] for pair in cells) for side in (0, 1)]


@dataclass(frozen=True)
class Part:
    """What one writer does under one identity."""

    writer: str
    person: Person
    edited: tuple[Manifest, ...] = ()
    deleted: tuple[Manifest, ...] = ()
    foreign: tuple[Manifest, ...] = ()


def parts() -> Iterator[Part]:
    """Yield who edits what."""
    for writer in WRITERS:
        for number, person in enumerate(PEOPLE):
            name = f"{_SHORT[writer]}-{number}"
            if writer == SCALE:
                scaled = [deployment(f"{name}-{n}") for n in range(DELETES)]
                yield Part(writer, person, tuple(scaled))
                continue
            kinds = (config, service, deployment)
            edited = [make(f"{name}-{n}") for n in range(EDITED) for make in kinds]
            gone = [config(f"{name}-gone-{n}") for n in range(DELETES)]
            made = [make(f"{name}-made-{n}") for n in (0, 1) for make in kinds][:DELETES]
            yield Part(writer, person, tuple(edited), tuple(gone), tuple(made))


class Measurement:
    """One run in one namespace."""

    def __init__(self, server: Cluster, kubeconfig: Path, namespace: str, place: Path) -> None:
        self.server = server
        self.namespace = namespace
        self.place = place
        self.env = {**os.environ, "KUBECONFIG": str(kubeconfig)}
        self.kubectl = str(own_kubectl())
        self.hands = Hands(kubeconfig, place)
        self.app = f"r{uuid.uuid4().hex[:8]}"
        self.parts = list(parts())
        self.result = Result()
        self.owner = ""

    def run(self) -> Result:
        """Apply, review, edit, review, and let kubectl show what it sees."""
        one = self._timed("repository", self._repository)
        with webhook(self.server, self.place / "hook", f"hook-{self.namespace}", self.namespace):
            self._timed("apply", lambda: self._apply(one))
            self._timed("wait for the autoscalers", self._scaled)
            before = self._timed("review of untouched objects", lambda: taken(one))
            self.result.before = [_place(drift) for drift in before.review.drifts]
            self._timed("edits", self._edit_all)
            after = self._timed("review", lambda: taken(one))
            self.result.found = {_place(drift) for drift in after.review.drifts}
            self.result.explained = after.review.explained
            self._timed("kubectl diff", self._diff)
            self._timed("tidy", self._tidy)
        self.hands.close()
        return self.result

    def _timed(self, name: str, work: Any) -> Any:
        started = time.perf_counter()
        answer = work()
        self.result.seconds[name] = round(time.perf_counter() - started, 2)
        print(f"   {name}: {self.result.seconds[name]:.1f} s", flush=True)
        return answer

    def _repository(self) -> Session:
        quiet = untouched(UNTOUCHED)
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": OWNER}}
        touched = [one for part in self.parts for one in (*part.edited, *part.deleted)]
        folder = self.place / "repo"
        for name, manifests in (("quiet", [*quiet, account]), ("touched", touched)):
            (folder / "app" / name).mkdir(parents=True)
            for number, one in enumerate(manifests):
                file = folder / "app" / name / f"{number:05}.json"
                file.write_text(json.dumps(self._placed(one), indent=1))
        rules = "".join(f"  {rule}: off\n" for rule in RULES)
        head = "apiVersion: opslib.dev/v1alpha1\nkind: Policy\n"
        (folder / "policy.yaml").write_text(f"{head}rules:\n{rules}")
        load.git(folder, "init", "-q", "-b", "main")
        load.git(folder, "add", "-A")
        load.git(folder, "commit", "-q", "-m", "all")
        self.result.untouched = len(quiet) + 1
        self.result.objects = self.result.untouched + len(touched)
        source = Source(str(folder), "", "app")
        return open_session(self.server, source, app=self.app, namespace=self.namespace)

    def _placed(self, one: Manifest) -> Manifest:
        return {**one, "metadata": {**one["metadata"], "namespace": self.namespace}}

    def _apply(self, session: Session) -> None:
        planned = session.plan(session.fetch())
        with session.holding() as held:
            applied = session.apply(planned, wait=False, go_on=held)
        if not applied.ok:
            raise SystemExit(f"not applied: {applied.failures[:3]}")
        accounts = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/{OWNER}"
        self.owner = str(self.server.get(accounts)["metadata"]["uid"])

    def _scaled(self) -> None:
        """Wait until the autoscalers have set the replicas of what they scale."""
        path = f"/apis/apps/v1/namespaces/{self.namespace}/deployments"
        until = time.monotonic() + WAIT
        while time.monotonic() < until:
            items, _ = self.server.list(path)
            ours = [one for one in items if one["metadata"]["name"].startswith("scaled-")]
            if ours and all(one["spec"]["replicas"] == 2 for one in ours):
                return
            time.sleep(0.3)
        raise SystemExit("the autoscalers do not scale")

    # -- who edits, and how

    def _edit_all(self) -> None:
        with ThreadPoolExecutor(2) as pool:
            for _ in pool.map(self._edit, self.parts):
                pass

    def _edit(self, part: Part) -> None:
        ways = {
            EDIT: self._by_edit,
            APPLY: self._by_apply,
            PATCH: self._by_patch,
            SCALE: self._by_scale,
            CONTROLLER: self._by_controller,
            OWN: self._by_own_manager,
        }
        ways[part.writer](part)
        note = self._note
        for one in part.edited:
            name = f"{one['kind']}/{one['metadata']['name']}"
            if part.writer == SCALE:
                note(part, VALUE, (name, "changed", "spec.replicas"))
                continue
            for what, difference, path in edits_of(one):
                note(part, what, (name, difference, path.format(owner=self.owner)))
        for one in part.deleted:
            note(part, DELETED, (f"{one['kind']}/{one['metadata']['name']}", "missing", ""))
        for one in part.foreign:
            note(part, FOREIGN, (f"{one['kind']}/{one['metadata']['name']}", "extra", ""))

    def _note(self, part: Part, what: str, place: Place) -> None:
        self.result.done.append(Done(what, part.writer, part.person.user, place))

    def _ctl(
        self, part: Part, *words: str, codes: Sequence[int] = (0,), **env: str
    ) -> subprocess.CompletedProcess[str]:
        who = ["--as", part.person.user, "--as-group", part.person.group]
        who += ["--as-group", "system:masters", "-n", self.namespace]
        done = subprocess.run(
            [self.kubectl, words[0], *who, *words[1:]],
            env={**self.env, **env},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in codes:
            raise SystemExit(f"kubectl {words} ended with {done.returncode}: {done.stderr[-500:]}")
        return done

    def _list(self, part: Part, name: str, manifests: Sequence[Manifest]) -> str:
        file = self.place / f"{_SHORT[part.writer]}-{part.person.user[:5]}-{name}.json"
        items = [self._placed(one) for one in manifests]
        file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
        return str(file)

    def _edited(self, manifests: Sequence[Manifest]) -> list[Manifest]:
        edited = copy.deepcopy(list(manifests))
        for one in edited:
            recall_edits.edit(one, self.owner)
        return edited

    def _names(self, manifests: Sequence[Manifest]) -> list[str]:
        return [f"{one['kind']}/{one['metadata']['name']}" for one in manifests]

    def _by_edit(self, part: Part) -> None:
        program = f"{sys.executable} -I -S {recall_edits.__file__} {self.owner}"
        self._ctl(part, "edit", "-o", "json", *self._names(part.edited), KUBE_EDITOR=program)
        self._delete_and_make(part)

    def _by_apply(self, part: Part) -> None:
        """Apply what is declared, then what was edited: kubectl compares with what it sent last."""
        self._ctl(part, "apply", "-f", self._list(part, "declared", part.edited))
        edited = [*self._edited(part.edited), *part.foreign]
        self._ctl(part, "apply", "-f", self._list(part, "edited", edited))
        self._ctl(part, "delete", "--wait=false", *self._names(part.deleted))

    def _by_patch(self, part: Part) -> None:
        for one in part.edited:
            change = json.dumps(recall_edits.patch(one, self.owner))
            self._ctl(part, "patch", *self._names([one]), "-p", change)
        self._delete_and_make(part)

    def _by_scale(self, part: Part) -> None:
        self._ctl(part, "scale", "--replicas=1", *self._names(part.edited))

    def _delete_and_make(self, part: Part) -> None:
        self._ctl(part, "create", "-f", self._list(part, "made", part.foreign))
        self._ctl(part, "delete", "--wait=false", *self._names(part.deleted))

    def _by_controller(self, part: Part) -> None:
        """Write whole objects, as controllers do."""
        agent = f"kube-controller-manager/v1.37.2 (linux/amd64) kubernetes/0 {part.person.user}"
        self._by_client(part, "kube-controller-manager", agent, whole=True)

    def _by_own_manager(self, part: Part) -> None:
        self._by_client(part, f"opslib-{self.app}", "python-requests/2.32", whole=False)

    def _by_client(self, part: Part, manager: str, agent: str, *, whole: bool) -> None:
        def send(method: str, path: str, body: Any = None, **options: str) -> Any:
            return self.hands.send(
                method, path, body, part.person, manager=manager, agent=agent, **options
            )

        for one in part.edited:
            path = self._path(one)
            if whole:
                live = send("GET", path)
                recall_edits.edit(live, self.owner)
                send("PUT", path, live)
            else:
                change = recall_edits.patch(one, self.owner)
                send("PATCH", path, change, kind="application/strategic-merge-patch+json")
        for one in part.deleted:
            send("DELETE", self._path(one))
        for one in part.foreign:
            send("POST", self._path(one).rpartition("/")[0], self._placed(one))

    def _path(self, one: Manifest) -> str:
        version = one["apiVersion"]
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        name = one["metadata"]["name"]
        return f"{root}/namespaces/{self.namespace}/{_PLURALS[one['kind']]}/{name}"

    # -- what kubectl shows

    def _diff(self) -> None:
        """Let kubectl compare what was edited, as the same manager, and look for each edit."""
        folder = self.place / "repo" / "app" / "touched"
        words = ["diff", "--server-side", "--force-conflicts", f"--field-manager=opslib-{self.app}"]
        who = Part(EDIT, PEOPLE[-1])
        done = self._ctl(who, *words, "--concurrency=4", "-f", str(folder), codes=(0, 1))
        texts = _by_object(done.stdout)
        for one in self.result.done:
            lines = texts.get(one.place[0], "")
            if _seen(one, lines):
                self.result.shown.add(one.place)

    def _tidy(self) -> None:
        """Take off what would hold the namespace's objects when it is deleted."""
        for part in self.parts:
            for one in part.edited if part.writer != SCALE else ():
                person = part.person
                self.hands.send(
                    "PATCH",
                    self._path(one),
                    {"metadata": {"finalizers": None}},
                    person,
                    manager="tidy",
                    agent="tidy",
                    kind="application/merge-patch+json",
                )


def _place(drift: Any) -> Place:
    return f"{drift.key.kind}/{drift.key.name}", str(drift.difference), drift.path


def _by_object(text: str) -> dict[str, str]:
    """Return the lines of a diff by kind and name, from its file names VERSION.KIND.NS.NAME."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("diff "):
            parts = line.split("/")[-1].split(".")
            lines = found.setdefault(f"{parts[-3]}/{parts[-1]}", [])
        lines.append(line)
    return {name: "\n".join(rows) for name, rows in found.items()}


_MARKS = {
    "spec.replicas": "replicas:",
    "data.b": "also ",
    "env[name=B]": "name: B",
    "env[name=NEW]": "name: NEW",
    "containers[name=debug]": "name: debug",
    "ports[port=81,protocol=TCP]": "port: 81",
    "data.a": "  a: ",
    "new.key": "new.key",
    ".image": "image: ",
    "selector.app": "app: ",
    "selector.tier": "tier: ",
    "labels.tier": "tier: ",
    "labels.team": "team: ",
    "nodeSelector": "disk: ",
    "example.com/by": "example.com/by",
    "finalizers": "example.com/edited",
    "ownerReferences": "recall-owner",
}


def _seen(one: Done, lines: str) -> bool:
    """Tell whether a diff has a changed line for an edit."""
    if not lines:
        return False
    if one.what == DELETED:
        return True
    mark = next((text for part, text in _MARKS.items() if part in one.place[2]), None)
    changed = [row for row in lines.splitlines() if row[:1] in {"+", "-"}]
    return mark is not None and any(mark in row for row in changed)


def main() -> None:
    """Measure on a control plane of its own."""
    cluster.down(NAME)
    cluster.up(NAME)
    namespace = f"recall-{uuid.uuid4().hex[:6]}"
    try:
        cluster.make_namespace(NAME, namespace)
        kubeconfig = Path(cluster.environment(NAME)["KUBECONFIG"])
        with tempfile.TemporaryDirectory() as place:
            server = connect(kubeconfig)
            result = Measurement(server, kubeconfig, namespace, Path(place)).run()
            server.close()
    finally:
        cluster.down(NAME)
    print(result.table())
    print(f"missed: {result.missed[:5]}; beside: {result.more[:5]}; before: {result.before[:5]}")
    print(f"written: {write('drift-recall', result.as_dict())}")


def summary(row: Mapping[str, Any]) -> str:
    """Return one line about results that were written."""
    return f"{row['found']} of {row['edits']} edits found, {row['reported beside']} beside"


if __name__ == "__main__":
    main()
