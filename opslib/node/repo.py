"""Baselines and snapshots as one commit of Git has them, and the commits that changed them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from opslib.core.errors import InputError, OpslibError, Problems
from opslib.core.model import Origin, Revision
from opslib.node.baseline import KIND, SHIPPED, Baseline
from opslib.node.documents import read_baselines
from opslib.node.facts.snapshot import SNAPSHOT
from opslib.node.model import Difference, NodeCheck, Snapshot, Told
from opslib.node.snapshots import is_snapshot, read_snapshot
from opslib.source.mirror import Mirror

_SHIPPED = Path(__file__).parent / "shipped"
_SUFFIXES = (".yaml", ".yml", ".json")
_AT_ONCE = 4
MOST_VERSIONS = 60
"""Commits of one snapshot that are looked through for a key that is gone."""

MOST_ASKED = 400
"""Differences whose commits are looked up: git answers each in milliseconds."""


@dataclass(frozen=True)
class Declared:
    """What Git says of nodes at one commit: baselines by name, snapshots by node."""

    baselines: Mapping[str, Baseline]
    snapshots: Mapping[str, Snapshot] = field(default_factory=dict)
    revision: Revision | None = None

    @property
    def own(self) -> list[str]:
        """Return the names of the baselines that are not the kit's own."""
        return sorted(name for name in self.baselines if not name.startswith(SHIPPED))


def shipped() -> dict[str, Baseline]:
    """Return the baselines that come with the kit."""
    return read_baselines(_shipped_files(), shipped=True)


def _shipped_files() -> dict[str, str]:
    return {f"{SHIPPED}{path.name}": path.read_text("utf-8") for path in _SHIPPED.glob("*.yaml")}


def declared_in(mirror: Mirror, revision: Revision, path: str = "") -> Declared:
    """Read the baselines and snapshots below a folder of a commit.

    Raises Problems with every mistake in baselines and snapshots, each with its file.
    """
    names = [name for name in mirror.files(revision.commit, path) if name.endswith(_SUFFIXES)]
    named = {*mirror.mentions(revision.commit, KIND), *mirror.mentions(revision.commit, SNAPSHOT)}
    wanted = [name for name in names if name in named]
    read = mirror.read_many(revision.commit, wanted) if wanted else {}
    texts = {name: content.decode("utf-8", "replace") for name, content in read.items()}
    return replace(from_texts(texts), revision=revision)


def from_texts(texts: Mapping[str, str]) -> Declared:
    """Read baselines and snapshots out of files, by path; others are left out."""
    snapshots: dict[str, Snapshot] = {}
    problems: list[OpslibError] = []
    for path in sorted(texts):
        if path.endswith(".json") and is_snapshot(texts[path]):
            try:
                _add(snapshots, read_snapshot(texts[path], path))
            except InputError as error:
                problems.append(error)
    ours = set(_shipped_files().values())  # a clone of the kit has them in its own Git
    yaml = {p: text for p, text in texts.items() if not is_snapshot(text) and text not in ours}
    found: dict[str, Baseline] = {}
    try:
        found = read_baselines(yaml)
    except Problems as error:
        problems += error.problems
    except InputError as error:
        problems.append(error)
    if problems:
        raise Problems(problems)
    return Declared({**shipped(), **found}, snapshots)


def _add(snapshots: dict[str, Snapshot], one: Snapshot) -> None:
    twin = snapshots.setdefault(one.name, one)
    if twin is not one:
        raise InputError(
            f"two snapshots are of the node {one.name!r}: here and {twin.path}",
            where=one.path,
            hint="keep one file per node: its history is in Git",
        )


def attributed(
    mirror: Mirror, found: Declared, checks: Sequence[NodeCheck]
) -> tuple[NodeCheck, ...]:
    """Return the checks with the commits that last changed each rule and each value."""
    if found.revision is None:
        return tuple(checks)
    history = _History(mirror, found.revision.commit)
    left = MOST_ASKED
    done = []
    for check in checks:
        asked = check.differences[:left]
        left -= len(asked)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            told = list(pool.map(history.of, asked, [found.snapshots.get(check.name)] * len(asked)))
        done.append(replace(check, differences=(*told, *check.differences[len(asked) :])))
    return tuple(done)


class _History:
    """Lines of one commit, each followed back to the commit that brought it."""

    def __init__(self, mirror: Mirror, commit: str) -> None:
        self.mirror, self.commit = mirror, commit
        self._told: dict[tuple[str, int], Told | None] = {}
        self._before: dict[tuple[str, str], Snapshot | None] = {}
        self._logs: dict[str, list[Revision]] = {}

    def of(self, one: Difference, snapshot: Snapshot | None) -> Difference:
        """Return a difference with its commits."""
        declared = None
        if one.rule and not one.rule.startswith(SHIPPED):
            origin = Origin.parse(one.rule)
            declared = self._line(origin.path, one.rule_line, "") if origin else None
        return replace(one, declared=declared, changed=self._changed(one, snapshot))

    def _changed(self, one: Difference, snapshot: Snapshot | None) -> Told | None:
        """Return the commit that brought the node's value of a key into its snapshot.

        Where the node has another value by now, it is the last commit before that.
        """
        if snapshot is None:
            return None
        section = "persisted" if one.planes == ("persisted",) else "running"
        now = one.persisted if section == "persisted" else one.running
        was = _value(snapshot, section, one.key)
        try:
            if now != was:
                newest = self._versions(snapshot.path)[:1]
                return Told.of(newest[0], snapshot.path, was or "", after=True) if newest else None
            line = snapshot.lines.get((section, one.key))
            if line:
                return self._line(snapshot.path, line, one.key, section)
            return self._removed(snapshot.path, section, one.key) if now is None else None
        except OpslibError:
            return None  # a mirror that is damaged says so elsewhere

    def _versions(self, path: str) -> list[Revision]:
        """Return the commits that changed a snapshot, newest first."""
        if path not in self._logs:
            self._logs[path] = self.mirror.log(self.commit, path, limit=MOST_VERSIONS)
        return self._logs[path]

    def _removed(self, path: str, section: str, key: str) -> Told | None:
        """Return the commit after which a key was in the snapshot no more."""
        newer: Revision | None = None
        for revision in self._versions(path):
            earlier = self._read((revision.commit, path))
            value = _value(earlier, section, key) if earlier else None
            if value is not None:
                return Told.of(newer, path, value) if newer else None
            newer = revision
        return None

    def _line(self, path: str, line: int, key: str, section: str = "") -> Told | None:
        place = (path, line)
        if place not in self._told:
            try:
                self._told[place] = self._asked(path, line, key, section)
            except OpslibError:
                self._told[place] = None  # a mirror that is damaged says so elsewhere
        return self._told[place]

    def _asked(self, path: str, line: int, key: str, section: str) -> Told | None:
        found = self.mirror.blamed(self.commit, path, line)
        if found is None:
            return None
        revision, before = found
        value = self._value_at(before, key, section) if before and key else ""
        return Told.of(revision, f"{path}:{line}", value)

    def _value_at(self, place: tuple[str, str], key: str, section: str) -> str:
        earlier = self._read(place)
        return (_value(earlier, section, key) or "") if earlier else ""

    def _read(self, place: tuple[str, str]) -> Snapshot | None:
        """Return the snapshot that a commit has at a path; None where it has none."""
        if place not in self._before:
            try:
                text = self.mirror.read(*place).decode("utf-8", "replace")
                self._before[place] = read_snapshot(text, place[1])
            except OpslibError:
                self._before[place] = None
        return self._before[place]


def _value(snapshot: Snapshot, section: str, key: str) -> str | None:
    if section == "persisted":
        return snapshot.persisted[key].value if key in snapshot.persisted else None
    return snapshot.running.get(key)
