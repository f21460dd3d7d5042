"""Why a value would not unseal: faults of twelve classes, and the cause that is named."""

from __future__ import annotations

import base64
import random
from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from opslib.seal import diagnose, recovery, wire
from opslib.seal.diagnose import Knowledge
from opslib.seal.emit import render
from opslib.seal.findings import Cause
from opslib.seal.pins import Pinned
from opslib.seal.sealed import read_sealed
from opslib.seal.sealing import Noting, Options, seal
from opslib.seal.secret import read_secrets
from opslib.seal.secretbytes import SecretBytes
from opslib.seal.wire import Scope

from . import parts
from .conftest import Verb
from .parts import Pair, dumped, secret

VALUES = {"alpha": "value of alpha", "beta": "b", "gamma": "x" * 900}
NS, CLUSTER = Scope.NAMESPACE.annotation, Scope.CLUSTER.annotation


def _text(
    pair: Pair, name: str = "db", namespace: str = "shop", *, marks: dict[str, str] | None = None
) -> str:
    document = secret(VALUES, name, namespace, metadata={"annotations": marks or {}})
    made = seal(
        read_secrets(dumped(document), "in"),
        pair.certificate,
        Options(noting=Noting(date(2026, 11, 30), "ada@example.com")),
    )
    return render([made[0].manifest], "yaml")


def _ciphertext(text: str, key: str = "alpha") -> str:
    return str(read_sealed(text.encode(), "f")[0].data[key])


Fault = Callable[[Pair, Pair, random.Random], tuple[str, Cause]]


def _renamed(one: Pair, _: Pair, rng: random.Random) -> tuple[str, Cause]:
    name = rng.choice(["db2", "d", "database", "db-old"])
    return _text(one).replace("  name: db\n", f"  name: {name}\n"), Cause.NAME


def _moved(one: Pair, _: Pair, rng: random.Random) -> tuple[str, Cause]:
    place = rng.choice(["shop2", "default", "kube-system"])
    return _text(one).replace("namespace: shop\n", f"namespace: {place}\n"), Cause.NAMESPACE


def _widened(one: Pair, _: Pair, rng: random.Random) -> tuple[str, Cause]:
    line = f'  annotations:\n    {rng.choice([NS, CLUSTER])}: "true"\n'
    return _text(one).replace("  annotations:\n", line, 1), Cause.SCOPE


def _narrowed(one: Pair, _: Pair, rng: random.Random) -> tuple[str, Cause]:
    scope = rng.choice([NS, CLUSTER])
    text = _text(one, marks={scope: "true"})
    row = f'    {scope}: "true"\n'
    bad = rng.choice(["", row.replace('"true"', '"True"'), row.replace('"true"', '"yes"')])
    return text.replace(row, bad, 1), Cause.SCOPE


def _foreign(one: Pair, two: Pair, rng: random.Random) -> tuple[str, Cause]:
    del one, rng
    return _text(two), Cause.KEY


def _cut(one: Pair, _: Pair, rng: random.Random) -> tuple[str, Cause]:
    text = _text(one)
    whole = _ciphertext(text)
    length = rng.randrange(1, len(whole)) // 4 * 4 if rng.random() < 0.5 else rng.randrange(5, 350)
    return text.replace(whole, whole[: max(length, 4)]), Cause.TRUNCATED


def _letter(one: Pair, _: Pair, rng: random.Random) -> tuple[str, Cause]:
    text = _text(one)
    whole = _ciphertext(text)
    place = rng.randrange(len(whole) - 3)
    other = rng.choice([c for c in "ABCabc019" if c != whole[place]])
    return text.replace(whole, whole[:place] + other + whole[place + 1 :]), Cause.EDITED


def _odd_letter(one: Pair, _: Pair, rng: random.Random) -> tuple[str, Cause]:
    text = _text(one)
    whole = _ciphertext(text)
    place = rng.randrange(1, len(whole) - 3)
    odd = rng.choice(["-", "_", ".", "~"])
    return text.replace(whole, whole[:place] + odd + whole[place + 1 :]), Cause.NOT_BASE64


def _plain(one: Pair, _: Pair, rng: random.Random) -> tuple[str, Cause]:
    text = _text(one)
    value = rng.choice(["hunter2!", "c2VjcmV0LXZhbHVl", "x" * 600, "p4ss-w0rd"])
    coded = base64.b64encode(value.encode() * 30).decode()
    return text.replace(_ciphertext(text), rng.choice([value, coded])), Cause.PLAINTEXT


def _swapped(one: Pair, _: Pair, rng: random.Random) -> tuple[str, Cause]:
    del rng
    text = _text(one)
    first, second = _ciphertext(text, "alpha"), _ciphertext(text, "beta")
    text = text.replace(first, "@").replace(second, first).replace("@", second)
    return text, Cause.SWAPPED


def _copied(one: Pair, _: Pair, rng: random.Random) -> tuple[str, Cause]:
    """Copy a whole line, check sum included, from another SealedSecret."""
    del rng
    text, other = _text(one), _text(one, "other")
    row, wrong = (
        next(line for line in t.splitlines() if line.startswith("    alpha: A"))
        for t in (text, other)
    )
    return text.replace(row, wrong) + other, Cause.COPIED


def _other_size(one: Pair, _: Pair, rng: random.Random) -> tuple[str, Cause]:
    """Put in what was sealed for a key of another size, by another tool."""
    del rng
    text = _text(one)
    small = parts.pair(1024).key.public_key()
    other = wire.encode(wire.encrypt(small, SecretBytes(b"v", "v"), b"shop/db"))
    rows = [
        line if not line.startswith("    alpha: A") else f"    alpha: {other}"
        for line in text.splitlines()
        if not line.startswith("      alpha:")
    ]
    return "\n".join(rows) + "\n", Cause.KEY


FAULTS: list[Fault] = [
    _renamed, _moved, _widened, _narrowed, _foreign, _cut, _letter, _odd_letter, _plain, _swapped,
    _copied, _other_size,
]  # fmt: skip
EACH = 20


def _known(one: Pair, two: Pair, *, keys: bool) -> Knowledge:
    pinned = Pinned("production", (one.fingerprint,)), Pinned("staging", (two.fingerprint,))
    return Knowledge(
        keys=one.private if keys else {},
        certificate=one.certificate,
        clusters=lambda _: pinned[:1],
        everywhere=pinned,
        today=date(2026, 12, 1),
    )


@pytest.mark.parametrize("keys", [False, True], ids=["offline", "with the keys"])
def test_the_right_cause_of_twelve(one: Pair, two: Pair, keys: bool) -> None:
    """At least 95 of 100 faults are named by their cause; none is taken for right."""
    rng = random.Random(11)  # noqa: S311  # faults, the same each time
    right: Counter[str] = Counter()
    missed = []
    each = EACH // 4 if keys else EACH
    for fault in FAULTS:
        for _ in range(each):
            text, cause = fault(one, two, rng)
            found = diagnose.check(read_sealed(text.encode(), "f"), _known(one, two, keys=keys))
            errors = [f.cause for f in found if f.severity == "error" and f.key in {"alpha", ""}]
            assert errors, (fault.__name__, text)
            right[fault.__name__] += cause in errors
            if cause not in errors:
                missed.append((fault.__name__, errors))
    total = each * len(FAULTS)
    print(f"{sum(right.values())} of {total} causes are right: {dict(right)} {missed[:9]}")
    assert sum(right.values()) >= 0.95 * total


@pytest.mark.parametrize("keys", [False, True])
def test_what_is_right_gets_no_finding(one: Pair, two: Pair, keys: bool) -> None:
    """No false alarm for any scope, and it unseals indeed."""
    for marks in ({}, {NS: "true"}, {CLUSTER: "true"}):
        text = _text(one, marks=marks)
        objects = read_sealed(text.encode(), "f")
        assert diagnose.check(objects, _known(one, two, keys=keys)) == []
        assert recovery.values(objects[0], one.private)["gamma"].reveal() == b"x" * 900


def test_the_key_tells_a_place_without_notes(one: Pair, two: Pair) -> None:
    """Sealed by another tool under a name that stands elsewhere in the files: it is found."""
    noting = Options()
    (made,) = seal(
        read_secrets(dumped(secret(VALUES, "web", "shop")), "in"), one.certificate, noting
    )
    text = render([made.manifest], "yaml").replace("  name: web\n", "  name: db\n")
    other = _text(one, "web", "other")
    objects = read_sealed((text + other).encode(), "f")
    found = diagnose.check(objects, Knowledge(keys=one.private))
    errors = [one for one in found if one.severity == "error"]
    assert {one.cause for one in errors} == {Cause.NAME}
    assert "sealed for the name web (as its key shows)" in errors[0].what
    alone = diagnose.check(read_sealed(text.encode(), "f"), Knowledge(keys=one.private))
    assert {one.cause for one in alone if one.severity == "error"} == {Cause.PLACE}
    none = diagnose.check(objects[:1], Knowledge(keys=two.private))
    assert {one.cause for one in none if one.severity == "error"} == {Cause.KEY}


def test_old_keys_and_dates_are_warnings(one: Pair, two: Pair) -> None:
    """A value of the older key, and one that is due, still unseal: told, and no error."""
    document = secret({"a": "b"})
    noting = Noting(date(2026, 1, 1), "ada", date(2026, 3, 1))
    (made,) = seal(read_secrets(dumped(document), "in"), two.certificate, Options(noting=noting))
    objects = read_sealed(render([made.manifest], "yaml").encode(), "f")
    pinned = (Pinned("production", (one.fingerprint, two.fingerprint)),)
    known = Knowledge(clusters=lambda _: pinned, today=date(2026, 3, 1))
    found = diagnose.check(objects, known)
    assert [(one.cause, one.severity) for one in found] == [
        (Cause.STALE, "warning"),
        (Cause.DUE, "warning"),
    ]


def test_check_as_a_verb(seal: Verb, one: Pair, tmp_path: Path) -> None:
    """Exit 0 and a count; exit 1 and file, line, cause and what to do; JSON with the same."""
    path = tmp_path / "db.yaml"
    path.write_text(_text(one))
    done = seal("check", tmp_path)
    assert (done.code, done.out.strip()) == (0, "1 SealedSecrets, 3 values: 0 errors, 0 warnings")
    path.write_text(_text(one).replace("  name: db\n", "  name: web\n", 1))
    done = seal("check", tmp_path)
    assert done.code == 1
    line = path.read_text().splitlines().index("  encryptedData:") + 2
    assert f"{path}:{line}: error: name: SealedSecret shop/web alpha: it was sealed for" in done.out
    assert "    to do: call it db again" in done.out
    assert '"cause": "name"' in seal("check", tmp_path, "--json").out


def test_a_plain_value_is_never_shown(seal: Verb, one: Pair, tmp_path: Path) -> None:
    """Somebody forgot to seal: the finding names the place, not the value."""
    text = _text(one)
    (tmp_path / "db.yaml").write_text(text.replace(_ciphertext(text), "tr0ub4dor-and-three"))
    done = seal("check", tmp_path, "--json")
    assert done.code == 1
    assert "plaintext" in done.out
    assert "tr0ub4dor" not in done.out + done.err
