"""Wire-identical: what is sealed here upstream's code unseals, and the other way round."""

from __future__ import annotations

import base64
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from opslib.core.errors import OpslibError
from opslib.seal import wire
from opslib.seal.diagnose import check
from opslib.seal.emit import render
from opslib.seal.recovery import unseal
from opslib.seal.recovery import values as values_of
from opslib.seal.sealed import read_sealed
from opslib.seal.sealing import Noting, Options, seal
from opslib.seal.secret import read_secrets
from opslib.seal.secretbytes import SecretBytes
from opslib.seal.wire import Scope

from . import parts
from .parts import Pair

COUNT = int(os.environ.get("OPSLIB_SEAL_VALUES", "400"))
"""Values for each scope and direction; the benchmark exchanges 10,000."""


def _values(count: int, seed: int) -> Iterator[bytes]:
    random_ = random.Random(seed)  # noqa: S311  # test values, the same each time
    yield from (b"", b"\0", b"\xff" * 300, "päss\nwörd".encode())
    for _ in range(count - 4):
        yield random_.randbytes(random_.randrange(200))


def exchange(pair: Pair, folder: Path, scope: Scope, count: int) -> tuple[int, int]:
    """Seal here and unseal there, then the other way; return (exchanges, mismatches)."""
    key = folder / f"{scope}.pem"
    key.write_bytes(pair.pem)
    label = wire.label_of(scope, "shop", "db")
    sealer = wire.Sealer(pair.key.public_key(), label)
    values = list(_values(count, 7))
    place = {"scope": str(scope), "namespace": "shop", "name": "db"}

    def job(op: str, data: bytes) -> dict[str, str]:
        return {"op": op, "data": base64.b64encode(data).decode(), **place}

    there = [job("open", sealer.seal(SecretBytes(one, "v"))) for one in values]
    back = [base64.b64decode(one["data"]) for one in parts.ask_peer(key, there)]
    theirs = parts.ask_peer(key, [job("seal", one) for one in values])
    here = [wire.decrypt([pair.key], wire.decode(one["data"]), label).reveal() for one in theirs]
    wrong = sum(a != b for got in (back, here) for a, b in zip(values, got, strict=True))
    return 2 * count, wrong


@pytest.mark.timeout(900)
@pytest.mark.parametrize("scope", list(Scope))
def test_values_go_both_ways(one: Pair, tmp_path: Path, scope: Scope) -> None:
    """Random values of all lengths, by upstream's crypto package: no mismatch."""
    done, wrong = exchange(one, tmp_path, scope, COUNT)
    print(f"{scope}: {done} exchanges, {wrong} mismatches")
    assert wrong == 0


def with_kubeseal(
    version: str, pair: Pair, folder: Path, scope: Scope, count: int
) -> tuple[int, int]:
    """Exchange values with a real kubeseal; return (exchanges, mismatches).

    What it sealed is unsealed here, and what is sealed here by its --recovery-unseal.
    """
    key, cert = folder / "key.pem", folder / "cert.pem"
    key.write_bytes(pair.pem)
    cert.write_bytes(pair.cert)
    marks = {"annotations": {scope.annotation: "true"}} if scope.annotation else {}
    values = list(_values(count, 13))
    wrong = 0
    for start in range(0, count, 500):
        piece = {f"k{number}": one for number, one in enumerate(values[start : start + 500])}
        document = parts.dumped(parts.secret(piece, metadata=marks))
        theirs = _kubeseal("--cert", cert, stdin=document, version=version)
        (found,) = read_sealed(theirs, "kubeseal")
        here = {name: one.reveal() for name, one in values_of(found, pair.private).items()}
        (made,) = seal(read_secrets(document, "in"), pair.certificate, Options(noting=Noting()))
        words = ("--recovery-unseal", "--recovery-private-key", key)
        ours = render([made.manifest], "yaml").encode()
        told = orjson.loads(_kubeseal(*words, stdin=ours, version=version))["data"]
        back = {name: base64.b64decode(text or "") for name, text in told.items()}
        wrong += sum(got.get(name) != one for got in (here, back) for name, one in piece.items())
    return 2 * count, wrong


@pytest.mark.timeout(900)
@pytest.mark.parametrize("version", [*parts.OLDER, parts.NEWEST])
def test_values_go_both_ways_with_each_kubeseal(one: Pair, tmp_path: Path, version: str) -> None:
    """Random values under all scopes, with the real kubeseal of three years: no mismatch."""
    for scope in Scope:
        done, wrong = with_kubeseal(version, one, tmp_path, scope, COUNT // 4)
        print(f"kubeseal {version} {scope}: {done} exchanges, {wrong} mismatches")
        assert wrong == 0


@pytest.mark.parametrize("version", [*parts.OLDER, parts.NEWEST])
def test_each_kubeseal_refuses_what_is_refused_here(
    one: Pair, two: Pair, tmp_path: Path, version: str
) -> None:
    """Wrong name, namespace, scope, key, a cut and a flipped bit: neither opens them."""
    (tmp_path / "key.pem").write_bytes(one.pem)
    (made,) = seal(
        read_secrets(parts.dumped(parts.secret({"a": "value"})), "in"), one.certificate, Options()
    )
    good = made.manifest["spec"]["encryptedData"]["a"]
    bits = bytearray(base64.b64decode(good))
    bits[270] ^= 1
    foreign = wire.encrypt(two.key.public_key(), SecretBytes(b"value", "v"), b"shop/db")
    cases: dict[str, tuple[dict[str, Any], str]] = {
        "name": ({"name": "other"}, good),
        "namespace": ({"namespace": "other"}, good),
        "wide": ({"annotations": {Scope.NAMESPACE.annotation: "true"}}, good),
        "wider": ({"annotations": {Scope.CLUSTER.annotation: "true"}}, good),
        "key": ({}, wire.encode(foreign)),
        "cut": ({}, good[:-4]),
        "bit": ({}, wire.encode(bytes(bits))),
    }
    words = ("--recovery-unseal", "--recovery-private-key", tmp_path / "key.pem")
    assert b"dmFsdWU=" in _kubeseal(*words, stdin=parts.dumped(made.manifest), version=version)
    for name, (metadata, text) in cases.items():
        whole = orjson.loads(orjson.dumps(made.manifest))
        whole["metadata"].update(metadata)
        whole["spec"]["encryptedData"]["a"] = text
        refused = _run(*words, stdin=parts.dumped(whole), version=version)
        assert refused.returncode != 0, (name, version)
        (mine,) = read_sealed(parts.dumped(whole), "in")
        with pytest.raises(OpslibError):
            unseal(mine, one.private)


def test_every_truncation_and_every_flipped_bit_is_refused_by_both(tmp_path: Path) -> None:
    """Each bit of a value, each place to cut it off: upstream's code and this one refuse."""
    small = parts.pair(1024)
    key = tmp_path / "key.pem"
    key.write_bytes(small.pem)
    data = wire.encrypt(small.key.public_key(), SecretBytes(b"four", "v"), b"shop/db")
    bad = [data[:length] for length in range(len(data))]
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        bad.append(bytes(flipped))
    place = {"op": "open", "scope": "strict", "namespace": "shop", "name": "db"}
    jobs = [{**place, "data": base64.b64encode(one).decode()} for one in bad]
    (right, *answers) = parts.ask_peer(
        key, [{**place, "data": base64.b64encode(data).decode()}, *jobs]
    )
    assert base64.b64decode(right["data"]) == b"four"
    assert all(answer.get("error") for answer in answers)
    for text in bad:
        with pytest.raises((wire.Malformed, wire.CannotUnseal)):
            wire.decrypt([small.key], text, b"shop/db")
    coded = wire.encode(data)
    for length in range(len(coded)):
        with pytest.raises((wire.Malformed, wire.CannotUnseal)):
            wire.decrypt([small.key], wire.decode(coded[:length]), b"shop/db")
    print(f"{len(data)} cuts and {8 * len(data)} bits: all refused by both")


def test_upstream_refuses_what_is_refused_here(one: Pair, two: Pair, tmp_path: Path) -> None:
    """Wrong name, namespace, scope, key, cut off, one bit flipped: neither side opens it."""
    key = tmp_path / "key.pem"
    key.write_bytes(one.pem)
    value = SecretBytes(b"a value of some length", "v")
    data = wire.encrypt(one.key.public_key(), value, b"shop/db")
    flipped = bytearray(data)
    flipped[280] ^= 4
    cases = [
        ("strict", "shop", "other", data),
        ("strict", "other", "db", data),
        ("namespace-wide", "shop", "db", data),
        ("cluster-wide", "shop", "db", data),
        ("strict", "shop", "db", wire.encrypt(two.key.public_key(), value, b"shop/db")),
        *(("strict", "shop", "db", data[:-cut]) for cut in (1, 16, 40, 200, len(data) - 1)),
        ("strict", "shop", "db", bytes(flipped)),
    ]
    jobs = [
        {
            "op": "open",
            "scope": scope,
            "namespace": namespace,
            "name": name,
            "data": base64.b64encode(text).decode(),
        }
        for scope, namespace, name, text in cases
    ]
    assert all(answer.get("error") for answer in parts.ask_peer(key, jobs))
    for scope, namespace, name, text in cases:
        with pytest.raises((wire.Malformed, wire.CannotUnseal)):
            wire.decrypt([one.key], text, wire.label_of(Scope(scope), namespace, name))


def _run(
    *words: str | Path, stdin: bytes, version: str = parts.NEWEST
) -> subprocess.CompletedProcess[bytes]:
    env = {**os.environ, "KUBECONFIG": os.devnull}
    program = [parts.kubeseal(version), *words]
    return subprocess.run(program, input=stdin, capture_output=True, check=False, env=env)


def _kubeseal(*words: str | Path, stdin: bytes, version: str = parts.NEWEST) -> bytes:
    done = _run(*words, stdin=stdin, version=version)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


SECRETS = parts.dumped(
    parts.secret({"a": b"", "b": os.urandom(3000), "c": "text"}, type="Opaque"),
    parts.secret(
        {".dockerconfigjson": '{"auths": {}}'},
        "registry",
        metadata={"annotations": {Scope.NAMESPACE.annotation: "true", "team": "shop"}},
        type="kubernetes.io/dockerconfigjson",
        immutable=True,
    ),
    parts.secret(
        {"x": "y"},
        "wide",
        "",
        metadata={
            "annotations": {Scope.CLUSTER.annotation: "true"},
            "labels": {"app": "shop"},
            "uid": "1",
            "resourceVersion": "5",
            "creationTimestamp": "2020-01-01T00:00:00Z",
            "finalizers": ["example.com/keep"],
        },
        stringData={"x": "wins"},
    ),
)


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_the_same_objects_as_kubeseal(
    one: Pair, cert: Path, key: Path, form: str, tmp_path: Path
) -> None:
    """But for ciphertexts and notes, the objects are those that kubeseal writes."""
    theirs = read_sealed(_kubeseal("--cert", cert, "--format", form, stdin=SECRETS), "kubeseal")
    sealed = seal(read_secrets(SECRETS, "in"), one.certificate, Options())
    ours = read_sealed(render([s.manifest for s in sealed], form).encode(), "opslib")
    assert len(ours) == len(theirs) == 3
    for mine, other in zip(ours, theirs, strict=True):
        for manifest in (mine.manifest, other.manifest):
            data = manifest["spec"]["encryptedData"]
            manifest["spec"]["encryptedData"] = sorted(data)
        assert mine.manifest == other.manifest


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_kubeseal_and_opslib_unseal_each_other(one: Pair, cert: Path, key: Path, form: str) -> None:
    """Kubeseal recovers what opslib sealed, notes and all; opslib recovers what kubeseal did."""
    noting = Noting(by="ada@example.com")
    for document in SECRETS.splitlines():
        (sealed,) = seal(read_secrets(document, "in"), one.certificate, Options(noting=noting))
        text = render([sealed.manifest], form).encode()
        told = orjson.loads(
            _kubeseal("--recovery-unseal", "--recovery-private-key", key, stdin=text)
        )
        (mine,) = read_sealed(text, "in")
        theirs = {name: text or "" for name, text in told["data"].items()}  # null: empty
        assert unseal(mine, one.private)["data"] == theirs
        (other,) = read_sealed(
            _kubeseal("--cert", cert, "--format", form, stdin=document), "kubeseal"
        )
        again = unseal(other, one.private)
        assert again["data"] == theirs
        assert again["metadata"].get("annotations") == told["metadata"].get("annotations")


@pytest.mark.parametrize("version", [*parts.OLDER, parts.NEWEST])
def test_raw_and_merged_values_are_the_same(
    one: Pair, cert: Path, tmp_path: Path, version: str
) -> None:
    """A value that kubeseal --raw sealed, or merged into a file of ours, is one of ours."""
    words = ("--raw", "--cert", cert, "--namespace", "shop", "--name", "db")
    (tmp_path / "value").write_bytes(b"raw\n")
    more = f"--from-file={tmp_path / 'value'}"
    text = _kubeseal(*words, more, stdin=b"", version=version).decode()
    assert wire.decrypt([one.key], wire.decode(text), b"shop/db").reveal() == b"raw\n"
    document = parts.dumped(parts.secret({"a": "1", "b": "2"}, metadata={"labels": {"x": "y"}}))
    options = Options(noting=Noting(by="ada"))
    (made,) = seal(read_secrets(document, "in"), one.certificate, options)
    path = tmp_path / "sealed.yaml"
    path.write_text(render([made.manifest], "yaml"))
    new = parts.dumped(parts.secret({"b": "3", "c": "4"}))
    _kubeseal("--cert", cert, "--merge-into", path, "-o", "yaml", stdin=new, version=version)
    (merged,) = read_sealed(path.read_bytes(), "merged")
    found = {name: value.reveal() for name, value in values_of(merged, one.private).items()}
    assert found == {"a": b"1", "b": b"3", "c": b"4"}
    assert [f for f in check([merged]) if f.severity == "error"] == []
