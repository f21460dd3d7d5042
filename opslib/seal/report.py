"""What is sealed in a repository: for which key, by whom, and what is due.

Who sealed a value is what Git says of the line that it stands on, and only a good signature of
that commit proves it: the certificate is public, so that anybody can seal a value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from opslib.core import clock
from opslib.seal.pins import Pinned
from opslib.seal.privatekeys import PrivateKey
from opslib.seal.sealed import Declared
from opslib.seal.wire import Malformed, decode, label_hash
from opslib.source.keyring import ring
from opslib.source.local import Blamed, WorkTree, work_tree_of
from opslib.source.signatures import BATCH, Signature, of_commits
from opslib.source.trust import Verification

CURRENT, STALE, FOREIGN, UNKNOWN = "current", "stale", "foreign", "unknown"


@dataclass(frozen=True)
class Row:
    """One sealed value. ``state``: current, stale (an older key), foreign, or unknown.

    ``by`` and ``sealed`` are as noted; ``commit`` and ``author`` as Git says; ``signed`` names
    the signer of a good signature, ``problem`` says why there is none ("" both: not verified).
    """

    path: str
    line: int
    namespace: str
    name: str
    key: str
    cluster: str
    fingerprint: str
    state: str
    sealed: str
    by: str
    rotate: str
    due: bool
    commit: str = ""
    author: str = ""
    signed: str = ""
    problem: str = ""

    def as_dict(self) -> dict[str, str | int | bool]:
        return dict(vars(self))


@dataclass(frozen=True)
class Sight:
    """How rows are made: pins, private keys that tell the key of a value, keys that sign."""

    clusters: Callable[[Declared], Sequence[Pinned]] = lambda _: ()
    keys: Mapping[str, PrivateKey] = field(default_factory=dict)
    trust: Verification | None = None
    today: date = field(default_factory=lambda: clock.now().date())


def rows(objects: Sequence[Declared], sight: Sight) -> list[Row]:
    """Return a row for each sealed value, in the order of the files."""
    trees: dict[Path, WorkTree | None] = {}
    blamed: dict[str, list[Blamed]] = {}
    for one in objects:
        folder = Path(one.path).resolve().parent
        if folder not in trees:
            trees[folder] = work_tree_of(folder)
        if one.path not in blamed:
            tree = trees[folder]
            blamed[one.path] = tree.blame(Path(one.path)) if tree else []
    made = [
        _row(one, str(key), text, sight, blamed[one.path])
        for one in objects
        for key, text in one.data.items()
    ]
    found = next((tree for tree in trees.values() if tree), None)
    return _signed(made, found, sight) if found else made


def _row(one: Declared, key: str, text: object, sight: Sight, blamed: list[Blamed]) -> Row:
    note = one.read_notes()[0].get(key)
    shown = _opener(one, text, sight.keys) or (note.key if note else "")
    clusters = sight.clusters(one)
    mine = next((cluster for cluster in clusters if shown in cluster.keys), None)
    if not shown or not clusters:
        state = UNKNOWN
    elif mine is None:
        state = FOREIGN
    else:
        state = CURRENT if mine.keys[0] == shown else STALE
    written = next((b for b in blamed if isinstance(text, str) and text[:64] in b.text), None)
    rotate = note.rotate if note else None
    place, _, line = one.place_of(key).rpartition(":")
    return Row(
        path=place,
        line=int(line),
        namespace=one.namespace,
        name=one.name,
        key=key,
        cluster=mine.name if mine else ",".join(cluster.name for cluster in clusters),
        fingerprint=shown,
        state=state,
        sealed=note.sealed.isoformat() if note else "",
        by=note.by if note else "",
        rotate=rotate.isoformat() if rotate else "",
        due=bool(rotate and rotate <= sight.today),
        commit=written.commit if written else "",
        author=written.author if written else "",
    )


def _opener(one: Declared, text: object, keys: Mapping[str, PrivateKey]) -> str:
    """Return which private key a value was sealed for, by its session key alone."""
    if not keys or not isinstance(text, str):
        return ""
    try:
        data = decode(text)
    except Malformed:
        return ""
    noted = {note.key for note in one.read_notes()[0].values()}
    for name, private in sorted(keys.items(), key=lambda pair: pair[0] not in noted):
        if label_hash(private.key, data) is not None:
            return name
    return ""


def _signed(made: list[Row], tree: WorkTree, sight: Sight) -> list[Row]:
    if sight.trust is None or not sight.trust.on:
        return made
    commits = sorted({row.commit for row in made if row.commit})
    judged: dict[str, Signature] = {}
    with ring(sight.trust.load()) as keys:
        for start in range(0, len(commits), BATCH):
            batch = commits[start : start + BATCH]
            judged |= {one.commit: one for one in of_commits(tree.git, keys, batch)}
    out = []
    for row in made:
        one = judged.get(row.commit)
        signed, problem = (one.by, "") if one and one.good else ("", _problem(one))
        out.append(Row(**{**vars(row), "signed": signed, "problem": problem}))
    return out


def _problem(one: Signature | None) -> str:
    return one.problem if one else "it is not committed"
