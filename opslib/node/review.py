"""One review of nodes: this machine, snapshots that were carried home, or those in Git."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from opslib.core.errors import InputError
from opslib.core.model import Revision
from opslib.node.check import check_node
from opslib.node.inherit import Effective, fitting, resolve
from opslib.node.model import PLANES, NodeCheck, Snapshot
from opslib.node.planes import Pool
from opslib.node.repo import Declared, attributed, declared_in, shipped
from opslib.node.snapshots import read_snapshot, this_machine
from opslib.source.mirror import Mirror, Source

FORMAT = "opslib.dev/node-check/v1"
"""Schema: opslib/node/schemas/check.json."""


@dataclass(frozen=True)
class Asked:
    """What is to be looked at. ``repo`` "" is none: the kit's own baselines, no history.

    ``nodes`` names snapshots in Git ("*" for all); ``files`` are snapshots outside of it. With
    neither it is this machine, or the image below ``root``. ``against`` is an earlier snapshot
    of the node to compare with, instead of the one in Git.
    """

    repo: str = "."
    path: str = ""
    revision: str = ""
    baselines: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    against: Path | None = None
    root: str = "/"
    name: str = ""
    pool: str = ""


def asked_of(given: Any) -> Asked:
    """Return what the parameters of the runbook ask for: texts, lists with commas."""
    return Asked(
        repo=given.repo,
        path=given.path,
        revision=given.revision,
        baselines=several(given.baseline),
        nodes=several(given.nodes),
        files=tuple(Path(name) for name in several(given.snapshots)),
        root=given.root or "/",
        pool=given.pool,
    )


def several(text: str) -> tuple[str, ...]:
    """Return the words of a list with commas."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


@dataclass(frozen=True)
class NodeReview:
    """What was found on one or more nodes."""

    checks: tuple[NodeCheck, ...]
    revision: Revision | None
    warnings: tuple[str, ...]

    @property
    def differences(self) -> int:
        return sum(len(one.differences) for one in self.checks)

    @property
    def verdict(self) -> str:
        """Return drift, clean, or clean but for what could not be read."""
        return min((one.verdict for one in self.checks), key=_WORST.index, default="clean")

    @property
    def headline(self) -> str:
        """Return the first line: what a person should take from it."""
        nodes = _many(len(self.checks), "node")
        unknown = sum(len(one.unknown) for one in self.checks)
        unread = f", {_many(unknown, 'setting')} could not be read" if unknown else ""
        if not self.differences:
            return f"{nodes} as declared{unread}"
        wrong = sum(bool(one.differences) for one in self.checks)
        grave = sum(d.severity == "error" for one in self.checks for d in one.differences)
        errors = f", {_many(grave, 'error')}" if grave else ""
        return f"{_many(self.differences, 'difference')} on {wrong} of {nodes}{errors}{unread}"

    def planes(self) -> list[dict[str, Any]]:
        """Return a row per node: how many differences show in each plane, and by severity."""
        return [
            {
                "node": one.name,
                "pool": one.pool,
                "verdict": one.verdict,
                **{p: sum(p in d.planes for d in one.differences) for p in PLANES},
                **{s: sum(d.severity == s for d in one.differences) for s in ("error", "warning")},
                "unknown": len(one.unknown),
            }
            for one in self.checks
        ]

    def as_dict(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "verdict": self.verdict,
            "headline": self.headline,
            "commit": self.revision.commit if self.revision else None,
            "repository": self.revision.url if self.revision else None,
            "warnings": list(self.warnings),
            "nodes": [one.as_dict() for one in self.checks],
        }


_WORST = ["drift", "clean but for what could not be read", "clean"]


def review(asked: Asked) -> NodeReview:
    """Read Git and the machines, and compare. Raises InputError and Problems as they are found."""
    mirror, declared = _declared(asked)
    looked = _looked_at(asked, declared)
    known = {**declared.snapshots, **{one.name: one for one in looked}}
    against = _read(asked.against) if asked.against else None
    pools = {
        name: Pool([other for other in known.values() if other.pool == name])
        for name in {one.pool for one in looked}
    }
    checks = []
    for one in looked:
        before = against or declared.snapshots.get(one.name)
        same = before is one
        checks.append(
            check_node(
                one,
                rules_for(one, asked, declared),
                pools[one.pool],
                None if same else before,
            )
        )
    done = attributed(mirror, declared, checks) if mirror else tuple(checks)
    return NodeReview(done, declared.revision, _warnings(mirror, declared))


def _warnings(mirror: Mirror | None, declared: Declared) -> tuple[str, ...]:
    """Say where the rules are not from Git."""
    if mirror is None:
        return ("there is no repository here: the kit's own baselines, and nobody's commits",)
    if declared.own:
        return mirror.warnings
    return (*mirror.warnings, "Git has no NodeBaseline here: the kit's own hold")


def _declared(asked: Asked) -> tuple[Mirror | None, Declared]:
    if not asked.repo:
        return None, Declared(shipped())
    try:
        mirror = Mirror.open(Source(asked.repo, asked.revision, asked.path))
    except InputError:
        if asked.repo == "." and not asked.path and not asked.revision:
            return None, Declared(shipped())
        raise
    revision = mirror.fetch()
    return mirror, declared_in(mirror, revision, asked.path)


def _looked_at(asked: Asked, declared: Declared) -> list[Snapshot]:
    """Return the snapshots that are checked."""
    found = [_read(path) for path in asked.files]
    for name in asked.nodes:
        if name == "*":
            found += declared.snapshots.values()
        elif name in declared.snapshots:
            found.append(declared.snapshots[name])
        else:
            raise InputError(
                f"there is no snapshot of the node {name!r} in Git",
                where=asked.path or asked.repo,
                expected="one of " + (", ".join(sorted(declared.snapshots)) or "none yet"),
                hint="opslib node facts --out FILE on the node, then commit FILE",
            )
    if asked.nodes and not found:
        raise InputError(
            "there are no snapshots in Git",
            where=asked.path or asked.repo,
            hint="opslib node facts --out FILE on the node, then commit FILE",
        )
    if not found:
        found = [_here(asked)]
    names = [one.name for one in found]
    twins = sorted({name for name in names if names.count(name) > 1})
    if twins:
        raise InputError(f"two snapshots are of the node {twins[0]!r}", hint="give one of them")
    return [_pooled(one, asked.pool, declared) for one in found]


def _pooled(one: Snapshot, pool: str, declared: Declared) -> Snapshot:
    """Return a snapshot in the pool that is asked for, else its own, else the one Git has."""
    before = declared.snapshots.get(one.name)
    wanted = pool or one.pool or (before.pool if before else "")
    return one if wanted == one.pool else replace(one, pool=wanted)


def _here(asked: Asked) -> Snapshot:
    if not Path(asked.root).is_dir():
        raise InputError("the root is no folder", where=asked.root, expected="a folder, or /")
    return this_machine(asked.root, asked.name, asked.pool)


def _read(path: Path) -> Snapshot:
    try:
        text = path.read_text("utf-8", "replace")
    except OSError as error:
        raise InputError(
            f"the snapshot cannot be read: {error.strerror}", where=str(path)
        ) from None
    return read_snapshot(text, str(path))


def rules_for(one: Snapshot, asked: Asked, declared: Declared) -> Effective:
    """Return the rules of a node: of the named baselines, of those that select it, or the kit's.

    Raises InputError where Git has baselines and none is for the node.
    """
    names = list(asked.baselines) or fitting(declared.baselines, one.name, one.pool)
    if not names and declared.own:
        raise InputError(
            f"no baseline is for the node {one.name!r} of the pool {one.pool!r}",
            where=asked.path or asked.repo,
            expected="a baseline that selects it, of " + ", ".join(declared.own),
            hint="name one with --baseline",
        )
    return resolve(names or _usual(one), declared.baselines)


def _usual(one: Snapshot) -> list[str]:
    """Return the kit's own baselines for a machine: with Kubernetes' where there is a kubelet."""
    kubelet = any(
        key.startswith(("kubelet/", "kubelet-flag/", "pkg/kubelet")) for key in one.running
    )
    return ["opslib/kubeadm", "opslib/host"] if kubelet else ["opslib/host"]


def _many(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
