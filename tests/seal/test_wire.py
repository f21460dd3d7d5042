"""The format: what goes in comes out, and nothing else opens it."""

from __future__ import annotations

import base64
import copy
import hashlib
import os
import pickle
import sys
import threading

import pytest
from _pytest._io.saferepr import saferepr
from hypothesis import given, settings
from hypothesis import strategies as st
from IPython.lib.pretty import pretty

from opslib.core import secrecy
from opslib.seal import bulk, wire
from opslib.seal.secretbytes import SecretBytes
from opslib.seal.wire import Scope

from .parts import Pair

VALUE = b"correct horse battery staple"


def _sealed(pair: Pair, value: bytes = VALUE, label: bytes = b"shop/db") -> bytes:
    return wire.encrypt(pair.key.public_key(), SecretBytes(value, "db/password"), label)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=5000), st.binary(max_size=300))
def test_round_trip_of_any_value_and_label(one: Pair, value: bytes, label: bytes) -> None:
    """Empty, binary and long values come back under the same label."""
    data = _sealed(one, value, label)
    assert len(data) == 2 + 256 + len(value) + 16
    assert wire.decrypt([one.key], data, label).reveal() == value
    assert wire.label_hash(one.key, data) == hashlib.sha256(label).digest()


def test_each_sealing_is_another(one: Pair) -> None:
    """Equal values have no equal ciphertexts, so that nobody sees that they are equal."""
    assert len({_sealed(one) for _ in range(20)}) == 20


@pytest.mark.parametrize("label", [b"", b"shop", b"shop/other", b"other/db", b"shop/db "])
def test_another_label_does_not_open(one: Pair, label: bytes) -> None:
    """Wrong name, namespace and scope are refused."""
    with pytest.raises(wire.CannotUnseal):
        wire.decrypt([one.key], _sealed(one), label)


def test_another_key_does_not_open_and_keys_are_tried_in_turn(one: Pair, two: Pair) -> None:
    """A wrong key is refused; among several the right one is found."""
    data = _sealed(one)
    with pytest.raises(wire.CannotUnseal):
        wire.decrypt([two.key], data, b"shop/db")
    assert wire.label_hash(two.key, data) is None
    assert wire.decrypt([two.key, one.key], data, b"shop/db").reveal() == VALUE


def test_every_truncation_is_refused(one: Pair) -> None:
    """Cut off at any byte, nothing comes out."""
    data = _sealed(one, b"x")
    for length in range(len(data)):
        with pytest.raises((wire.Malformed, wire.CannotUnseal)):
            wire.decrypt([one.key], data[:length], b"shop/db")


def test_flipped_bits_are_refused(one: Pair) -> None:
    """One bit anywhere: refused. Every byte of the head and body, and a part of the RSA block."""
    data = _sealed(one, b"four")
    places = [*range(10), *range(10, 258, 9), *range(258, len(data))]
    for number, place in enumerate(places):
        bad = bytearray(data)
        bad[place] ^= 1 << number % 8
        with pytest.raises((wire.Malformed, wire.CannotUnseal)):
            wire.decrypt([one.key], bytes(bad), b"shop/db")
    print(f"{len(places)} places of {len(data)}")


def test_base64_is_read_as_go_reads_it() -> None:
    """Line breaks are ignored; spaces, other letters and missing padding are not."""
    text = base64.b64encode(b"0123456789").decode()
    assert wire.decode(f"{text[:4]}\r\n{text[4:]}\n") == b"0123456789"
    for bad, why in (
        (f" {text}", "character 1"),
        (text.replace("M", "-"), "none of its alphabet"),
        (text[:-1], "cut off"),
        (f"{text}{text}", "padding"),
    ):
        with pytest.raises(wire.Malformed, match=why):
            wire.decode(bad)


@pytest.mark.parametrize(
    ("annotations", "scope"),
    [
        ({}, Scope.STRICT),
        ({Scope.NAMESPACE.annotation: "true"}, Scope.NAMESPACE),
        ({Scope.CLUSTER.annotation: "true"}, Scope.CLUSTER),
        ({Scope.CLUSTER.annotation: "true", Scope.NAMESPACE.annotation: "true"}, Scope.CLUSTER),
        ({Scope.CLUSTER.annotation: "True"}, Scope.STRICT),
        ({Scope.CLUSTER.annotation: True}, Scope.STRICT),
        (None, Scope.STRICT),
    ],
)
def test_scope_of_annotations(annotations: dict[str, object] | None, scope: Scope) -> None:
    """Only the text "true" counts, and the wider scope wins."""
    assert wire.scope_of(annotations) is scope


def test_labels() -> None:
    """The label is the place that a scope binds to."""
    assert wire.label_of(Scope.STRICT, "a", "b") == b"a/b"
    assert wire.label_of(Scope.NAMESPACE, "a", "b") == b"a"
    assert wire.label_of(Scope.CLUSTER, "a", "b") == b""


def test_the_value_refuses_to_be_shown_or_copied() -> None:
    """repr, str, format, pickle, copy and their kin raise; only reveal hands the value out."""
    value = SecretBytes("tr0ub4dor&3-longer", "db/password")
    for work in (
        repr,
        str,
        bytes,
        list,
        hash,
        copy.copy,
        copy.deepcopy,
        pickle.dumps,
        lambda one: f"{one}",
        lambda one: "%s" % one,  # noqa: UP031  # the old way must refuse too
        lambda one: f"{one!r:>20}",
        lambda one: one[0],
        vars,
    ):
        with pytest.raises(TypeError):
            work(value)
    assert value == SecretBytes(b"tr0ub4dor&3-longer", "other")
    assert value != SecretBytes(b"another", "other")
    assert value.reveal() == b"tr0ub4dor&3-longer"
    assert len(value) == 18


@pytest.mark.parametrize("way", ["forked", "a child that fails", "threads"])
def test_many_values_are_sealed_on_two_cores(
    one: Pair, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Each value under its own label, in order; also where the fork fails or is not safe."""
    jobs = [
        (f"shop/{n}".encode(), {f"k{m}": SecretBytes(f"{n}-{m}", "v") for m in range(5)})
        for n in range(100)
    ]
    forks = []
    fork = os.fork

    def counted() -> int:
        forks.append(1)
        if way == "a child that fails":
            pid = fork()
            if pid == 0:
                os._exit(3)
            return pid
        return fork()

    monkeypatch.setattr(os, "fork", counted)
    monkeypatch.setattr(threading, "active_count", lambda: 2 if way == "threads" else 1)
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    made = bulk.seal_all(one.key.public_key(), jobs)
    assert len(forks) == (0 if way == "threads" or len(os.sched_getaffinity(0)) < 2 else 1)
    for (label, values), found in zip(jobs, made, strict=True):
        assert list(found) == list(values)
        for name in ("k0", "k4"):
            clear = wire.decrypt([one.key], wire.decode(found[name]), label)
            assert clear == values[name]


def test_no_traceback_shows_the_value() -> None:
    """Neither pytest's nor IPython's way to show variables gets it, and the masks know it."""
    value = SecretBytes("s3cret-of-the-house", "db/password")
    assert "s3cret" not in saferepr(value)
    assert "s3cret" not in pretty_or_refused(value)
    assert value.reveal()
    assert "s3cret-of-the-house" in {known.value for known in secrecy.REGISTRY.known()}


def pretty_or_refused(value: object) -> str:
    """Show a value as IPython does, which asks repr."""
    try:
        return str(pretty(value))
    except TypeError as error:
        return str(error)
