"""Twelve classes of faults in files of each form: opslib's YAML and JSON, kubeseal's in Git.

The faults are made by a seed: OPSLIB_SEAL_SEED takes another one than last time.
"""

from __future__ import annotations

import base64
import json
import os
import random
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from opslib.seal import diagnose, past
from opslib.seal.diagnose import Knowledge
from opslib.seal.emit import render
from opslib.seal.findings import Cause, Finding
from opslib.seal.pins import Pinned
from opslib.seal.sealed import in_paths, read_sealed
from opslib.seal.sealing import Noting, Options, seal
from opslib.seal.secret import read_secrets
from opslib.seal.wire import Scope

from .parts import Pair, dumped, secret

SEED = int(os.environ.get("OPSLIB_SEAL_SEED", "20261130"))
NS, CLUSTER = Scope.NAMESPACE.annotation, Scope.CLUSTER.annotation
EACH = 12


@dataclass
class Case:
    """One file before a fault; ``more`` is what stands in other files."""

    rng: random.Random
    form: str
    pairs: tuple[Pair, Pair]
    noted: bool = True
    marks: str = ""
    foreign: bool = False
    text: str = ""
    key: str = ""
    cipher: str = ""
    more: str = ""

    def make(self, name: str = "db") -> tuple[str, str, str]:
        """Return a file, a key of it and the key's ciphertext."""
        keys = self.rng.sample(
            ["password", "tls.key", "DSN", "a", "token-2"], self.rng.randint(2, 4)
        )
        values = {key: self.rng.randbytes(self.rng.choice([0, 1, 9, 30, 800])) for key in keys}
        marks = {"annotations": {self.marks: "true"}} if self.marks else {}
        noting = Noting(date(2026, 11, 30), "ada") if self.noted else None
        pair = self.pairs[1 if self.foreign else 0]
        made = seal(
            read_secrets(dumped(secret(values, name, metadata=marks)), "in"),
            pair.certificate,
            Options(noting=noting),
        )
        text = render([made[0].manifest], self.form)
        return text, keys[0], made[0].manifest["spec"]["encryptedData"][keys[0]]

    def begin(self, *, marks: str = "", foreign: bool = False) -> None:
        self.marks, self.foreign = marks, foreign
        self.text, self.key, self.cipher = self.make()

    def put(self, text: str) -> None:
        """Write another text in the ciphertext's place, and touch nothing else."""
        assert self.text.count(self.cipher) == 1
        self.text = self.text.replace(self.cipher, text)

    def edit(self, work: Callable[[dict[str, Any]], None]) -> None:
        """Change the object itself; the lines of the ciphertexts stay as they are."""
        whole = json.loads(self.text) if self.form == "json" else yaml.safe_load(self.text)
        work(whole)
        if self.form == "json":
            self.text = json.dumps(whole, indent=2)
            return
        body = self.text[self.text.index("spec:\n") :]
        head = {key: value for key, value in whole.items() if key != "spec"}
        self.text = yaml.safe_dump(head) + body


Fault = Callable[[Case], Cause]


def _name(case: Case) -> Cause:
    case.begin()
    case.edit(lambda one: one["metadata"].update(name=case.rng.choice(["web", "db-2", "d"])))
    return Cause.NAME


def _namespace(case: Case) -> Cause:
    case.begin(marks=case.rng.choice(["", NS]))
    case.edit(lambda one: one["metadata"].update(namespace=case.rng.choice(["prod", "shop2"])))
    return Cause.NAMESPACE


def _mark(one: dict[str, Any], old: str, new: dict[str, str]) -> None:
    annotations = one["metadata"].setdefault("annotations", {})
    annotations.pop(old, None)
    annotations.update(new)
    if not annotations:
        del one["metadata"]["annotations"]


def _widened(case: Case) -> Cause:
    case.begin()
    case.edit(lambda one: _mark(one, "", {case.rng.choice([NS, CLUSTER]): "true"}))
    return Cause.SCOPE


def _narrowed(case: Case) -> Cause:
    scope = case.rng.choice([NS, CLUSTER])
    case.begin(marks=scope)
    new = case.rng.choice([{}, {scope: "yes"}, {NS if scope == CLUSTER else CLUSTER: "true"}])
    case.edit(lambda one: _mark(one, scope, new))
    return Cause.SCOPE


def _foreign(case: Case) -> Cause:
    case.begin(foreign=True)
    return Cause.KEY


def _cut(case: Case) -> Cause:
    case.begin()
    case.put(case.cipher[: case.rng.randrange(8, len(case.cipher))])
    return Cause.TRUNCATED


def _cut_whole(case: Case) -> Cause:
    """Cut it off between two groups of four, so that it is base64 still."""
    case.begin()
    case.put(case.cipher[: case.rng.randrange(60, len(case.cipher) // 4) * 4])
    return Cause.TRUNCATED


def _bit(case: Case) -> Cause:
    case.begin()
    data = bytearray(base64.b64decode(case.cipher))
    data[case.rng.randrange(len(data))] ^= 1 << case.rng.randrange(8)
    case.put(base64.b64encode(data).decode())
    return Cause.EDITED


def _inserted(case: Case) -> Cause:
    case.begin()
    place = case.rng.randrange(4, len(case.cipher) // 4 - 1) * 4
    case.put(case.cipher[:place] + case.rng.choice(["AAAA", "abcd"]) + case.cipher[place:])
    return Cause.EDITED


def _letter(case: Case) -> Cause:
    case.begin()
    place = case.rng.randrange(1, len(case.cipher) - 3)
    case.put(case.cipher[:place] + case.rng.choice("!-_$") + case.cipher[place + 1 :])
    return Cause.NOT_BASE64


def _plain(case: Case) -> Cause:
    case.begin()
    value = f"s3cr3t-{'x' * case.rng.randrange(400)}"
    case.put(case.rng.choice(["hunter2", value, base64.b64encode(value.encode()).decode()]))
    return Cause.PLAINTEXT


def _copied(case: Case) -> Cause:
    case.begin()
    case.more, _, other = case.make("other")
    case.put(other)
    return Cause.COPIED


FAULTS: list[Fault] = [
    _name, _namespace, _widened, _narrowed, _foreign, _cut, _cut_whole, _bit, _inserted, _letter,
    _plain, _copied,
]  # fmt: skip


def _errors(found: list[Finding], key: str, path: str) -> set[Cause]:
    return {
        one.cause
        for one in found
        if one.severity == "error" and one.key in {key, ""} and one.where.startswith(path)
    }


def _known(one: Pair, two: Pair) -> Knowledge:
    pinned = Pinned("production", (one.fingerprint,)), Pinned("staging", (two.fingerprint,))
    return Knowledge(clusters=lambda _: pinned[:1], everywhere=pinned, today=date(2026, 12, 1))


def _counted(right: Counter[str], missed: list[Any], each: int) -> None:
    print(f"{sum(right.values())} of {each * len(FAULTS)} causes are right; missed: {missed[:9]}")
    for fault in FAULTS:
        assert right[fault.__name__] >= 0.95 * each, (fault.__name__, missed)


@pytest.mark.parametrize("form", ["yaml", "json"])
@pytest.mark.parametrize("keys", [False, True], ids=["offline", "with the keys"])
def test_the_cause_in_files_of_opslib(one: Pair, two: Pair, form: str, keys: bool) -> None:
    """Each class by itself: at least 95 of 100 are named by the cause, and by no other one."""
    rng = random.Random(SEED)  # noqa: S311  # faults
    right: Counter[str] = Counter()
    missed = []
    known = Knowledge(keys=one.private) if keys else _known(one, two)
    each = EACH // 3 if keys else EACH
    for fault in FAULTS:
        for _ in range(each):
            case = Case(rng, form, (one, two))
            cause = fault(case)
            objects = read_sealed(case.text.encode(), "mine")
            objects += read_sealed(case.more.encode(), "other") if case.more else []
            told = _errors(diagnose.check(objects, known), case.key, "mine")
            fits = told == {cause}
            right[fault.__name__] += fits
            missed += [] if fits else [(fault.__name__, sorted(told))]
    _counted(right, missed, each)


def test_the_cause_in_files_of_kubeseal(one: Pair, two: Pair, tmp_path: Path) -> None:
    """Without any note: Git's history tells most, and the rest is told with the keys.

    A value of another cluster's key cannot be told without a key, and is no error then.
    """
    rng = random.Random(SEED + 1)  # noqa: S311  # faults
    each = 4
    cases = [
        (Case(rng, "yaml", (one, two), noted=False), fault) for fault in FAULTS for _ in range(each)
    ]
    files = list(_committed(cases, tmp_path))
    objects = in_paths([tmp_path])
    before = past.of_values(objects)
    for known, exempt in (
        (Knowledge(past=before), {"_foreign"}),
        (Knowledge(past=before, keys=one.private), set()),
    ):
        found = diagnose.check(objects, known)
        right: Counter[str] = Counter()
        missed = []
        for (case, fault), (path, cause) in zip(cases, files, strict=True):
            told = _errors(found, case.key, f"{path}:")
            fits = told == {cause} or (not told and fault.__name__ in exempt)
            right[fault.__name__] += fits
            missed += [] if fits else [(fault.__name__, sorted(told))]
        _counted(right, missed, each)


def _committed(cases: list[tuple[Case, Fault]], repo: Path) -> Iterator[tuple[Path, Cause]]:
    """Commit the files as they were sealed, then write the faults; yield paths and causes."""
    made: list[tuple[Path, str, Cause]] = []
    for number, (case, fault) in enumerate(cases):
        folder = repo / f"f{number}"
        folder.mkdir()
        whole: list[str] = []
        begin = case.begin

        def noted(
            *, marks: str = "", foreign: bool = False, of: Any = (begin, case, whole)
        ) -> None:
            of[0](marks=marks, foreign=foreign)
            of[2].append(of[1].text)

        case.begin = noted  # type: ignore[method-assign]
        cause = fault(case)
        (folder / "s.yaml").write_text(whole[0])
        if case.more:
            (folder / "other.yaml").write_text(case.more)
        made.append((folder / "s.yaml", case.text, cause))
    git = ["git", "-C", str(repo), "-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "sealed"]):
        subprocess.run([*git, *words], check=True)
    for path, text, cause in made:
        path.write_text(text)
        yield path, cause
