"""Edits of sealed files: one key changed is one line changed; comments and order stay."""

from __future__ import annotations

import difflib
import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from opslib.core.errors import InputError
from opslib.seal import notes, recovery
from opslib.seal.edit import SealedFile
from opslib.seal.emit import render, scalar
from opslib.seal.merging import Merge
from opslib.seal.sealed import Declared, read_sealed
from opslib.seal.sealing import Noting, Options, seal
from opslib.seal.secret import read_secrets
from opslib.source.yamlload import load_values

from .conftest import Verb
from .parts import Pair, dumped, secret

TODAY = date(2026, 11, 30)
NOTING = Noting(TODAY, "ada@example.com", date(2027, 2, 28))
TEN = {f"key-{number}": f"value-{number}" for number in range(10)}


def _file(pair: Pair, form: str = "yaml", values: dict[str, str] | None = None) -> str:
    made = seal(
        read_secrets(dumped(secret(values or TEN)), "in"),
        pair.certificate,
        Options(noting=NOTING),
    )
    return render([made[0].manifest], form)


def _changed(before: str, after: str) -> tuple[list[str], list[str]]:
    """Return the lines that are gone and those that are new, as a diff shows them."""
    rows = list(difflib.ndiff(before.splitlines(), after.splitlines()))
    return [r for r in rows if r[:2] == "- "], [r for r in rows if r[:2] == "+ "]


def _merge(pair: Pair, text: str, values: dict[str, str], noting: Noting = NOTING) -> str:
    merge = Merge(pair.certificate, noting)
    made, _ = merge.into(text.encode(), "f.yaml", read_secrets(dumped(secret(values)), "in"))
    return made


def _values(pair: Pair, text: str) -> dict[str, str]:
    (declared,) = read_sealed(text.encode(), "f")
    return {k: v.reveal().decode() for k, v in recovery.values(declared, pair.private).items()}


def test_one_key_of_ten_is_one_line(one: Pair) -> None:
    """A key that is sealed anew changes its ciphertext's line, and no other."""
    before = _file(one)
    after = _merge(one, before, {"key-4": "another"})
    gone, new = _changed(before, after)
    assert len(gone) == len(new) == 1
    assert new[0].startswith("+     key-4: AgA") or new[0].startswith("+     key-4: AQ")
    assert _values(one, after) == {**TEN, "key-4": "another"}


def test_on_another_day_its_note_is_the_second_line(one: Pair) -> None:
    """The day, the sealer and the next rotation are noted anew; the period stays."""
    before = _file(one)
    later = Noting(date(2027, 1, 10), "bob@example.com")
    after = _merge(one, before, {"key-4": "another"}, later)
    gone, new = _changed(before, after)
    assert len(gone) == len(new) == 2
    note = read_sealed(after.encode(), "f")[0].read_notes()[0]["key-4"]
    assert (note.sealed, note.by) == (later.today, "bob@example.com")
    assert note.rotate is not None
    assert note.rotate - note.sealed == date(2027, 2, 28) - TODAY


def test_equal_values_keep_their_ciphertext(seal: Verb, cert: Path, key: Path) -> None:
    """All ten keys given, one changed: by the private key the others are known to be equal."""
    path = cert.parent / "sealed.yaml"
    assert seal("--cert", cert, "-w", path, stdin=dumped(secret(TEN))).code == 0
    before = path.read_text()
    new = dumped(secret({**TEN, "key-7": "another"}))
    words = ("--cert", cert, "--merge-into", path, "--recovery-private-key", key)
    done = seal(*words, stdin=new)
    assert done.code == 0, done.err
    gone, added = _changed(before, path.read_text())
    assert len(gone) == len(added) == 1
    assert "sealed anew: key-7; unchanged: key-0" in done.err
    assert seal(*words, stdin=new).code == 0
    assert path.read_text().count("\n") == before.count("\n")


COMMENTED = """\
# The database of the shop; ask Ada.
apiVersion: bitnami.com/v1alpha1
kind: SealedSecret
metadata:
  name: db   # do not rename
  namespace: shop
spec:
  encryptedData:
    # rotated by the DBA
    zeta: %s   # old style
    "alpha": '%s'
    folded: >-
      %s
  template:
    # templates stay
    data:
      url: "postgres://{{ .zeta }}@db"
      gone: null
    metadata: {labels: {app: shop}}
"""


def test_comments_quotes_and_order_stay(one: Pair) -> None:
    """A file written by hand: only the ciphertexts that are set change, in their own style."""
    sealed = read_sealed(_file(one, values={"a": "1", "b": "2", "c": "3"}).encode(), "f")[0]
    before = COMMENTED % tuple(sealed.data.values())
    file = SealedFile(before.encode(), "f.yaml")
    fresh = {"zeta": sealed.data["b"], "alpha": sealed.data["c"], "folded": sealed.data["a"]}
    file.noting = False
    file.set(fresh)
    after = file.result()
    assert read_sealed(after.encode(), "f")[0].data == fresh
    for text in (
        "# The database of the shop; ask Ada.\n",
        "name: db   # do not rename\n",
        "    # rotated by the DBA\n",
        "   # old style\n",
        "    # templates stay\n",
        "metadata: {labels: {app: shop}}\n",
        f"    \"alpha\": '{fresh['alpha']}'\n",
    ):
        assert text in after
    gone, new = _changed(before, after)
    assert len(gone) == 4  # the folded one stands on two lines
    assert len(new) == 3


def test_new_keys_go_where_the_alphabet_has_them(one: Pair) -> None:
    """A new key is a new line among sorted ones, with its note."""
    before = _file(one, values={"a": "1", "c": "3"})
    after = _merge(one, before, {"b": "2"})
    assert list(read_sealed(after.encode(), "f")[0].data) == ["a", "b", "c"]
    gone, new = _changed(before, after)
    assert (len(gone), len(new)) == (0, 2)


def test_json_stays_json(one: Pair) -> None:
    """In JSON the check sums are in the notes; all else stays as it was."""
    before = _file(one, "json")
    after = _merge(one, before, {"key-4": "another", "new.key": "x"})
    whole, old = json.loads(after), json.loads(before)
    assert set(whole["spec"]["encryptedData"]) == {*TEN, "new.key"}
    assert whole["spec"]["template"] == old["spec"]["template"]
    same = [k for k in TEN if whole["spec"]["encryptedData"][k] == old["spec"]["encryptedData"][k]]
    assert len(same) == 9
    declared = read_sealed(after.encode(), "f")[0]
    noted = declared.read_notes()[0]
    assert noted["key-4"].sum == notes.check_sum(declared.data["key-4"])


def test_crlf_and_several_documents(one: Pair) -> None:
    """Windows line ends stay; of several SealedSecrets only the one that is named changes."""
    text = _file(one) + _file(one, values={"x": "1", "y": "2"}).replace("name: db", "name: web")
    before = text.replace("\n", "\r\n")
    file = SealedFile(before.encode(), "f.yaml", "web")
    file.set({"x": "AgAx"}, None)
    after = file.result()
    assert "\n" not in after.replace("\r\n", "")
    gone, new = _changed(before, after)
    assert len(gone) == len(new) == 1
    with pytest.raises(InputError, match="the file has 2 SealedSecrets"):
        SealedFile(before.encode(), "f.yaml")
    with pytest.raises(InputError, match="no SealedSecret of this name"):
        SealedFile(before.encode(), "f.yaml", "other")


def test_set_delete_rename(seal: Verb, cert: Path, one: Pair) -> None:
    """The verbs: one value set, one key deleted, one renamed; each is told, nothing else moves."""
    path = cert.parent / "db.yaml"
    path.write_text(_file(one))
    before = path.read_text()
    assert seal("set", path, "key-3", "--cert", cert, stdin=b"fresh").code == 0
    assert _values(one, path.read_text()) == {**TEN, "key-3": "fresh"}
    assert seal("delete", path, "key-5").code == 0
    assert seal("rename", path, "key-6", "key-six").code == 0
    wanted = {**TEN, "key-3": "fresh", "key-six": TEN["key-6"]}
    del wanted["key-5"], wanted["key-6"]
    assert _values(one, path.read_text()) == wanted
    assert seal("check", path).code == 0
    assert before.count("\n") - path.read_text().count("\n") == 2
    refused = seal("delete", path, "nothing")
    assert refused.code == 2
    assert "expected: one of: key-0" in refused.err
    assert seal("rename", path, "key-0", "key-1").code == 2
    assert seal("set", path, "a/b", "--cert", cert, stdin=b"x").code == 2


def test_the_last_key_is_not_deleted(seal: Verb, cert: Path, one: Pair) -> None:
    """An empty SealedSecret helps nobody: the file is to be deleted."""
    path = cert.parent / "db.yaml"
    path.write_text(_file(one, values={"a": "1"}))
    done = seal("delete", path, "a")
    assert done.code == 2
    assert "to do: delete the file" in done.err


def test_values_come_from_files_and_references(
    seal: Verb, cert: Path, one: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--from-file and --from give the value; the command line never does."""
    path = cert.parent / "db.yaml"
    path.write_text(_file(one))
    (cert.parent / "value").write_bytes(b"line\n")
    monkeypatch.setenv("DB_PASSWORD", "from-the-environment")
    assert seal("set", path, "key-1", "--cert", cert, "--from-file", "value").code == 0
    assert seal("set", path, "key-2", "--cert", cert, "--from", "env:DB_PASSWORD").code == 0
    found = _values(one, path.read_text())
    assert (found["key-1"], found["key-2"]) == ("line\n", "from-the-environment")
    told = seal("set", path, "key-3", "--cert", cert, stdin=b"oops\n")
    assert "ends with a line break" in told.err


@pytest.mark.parametrize(
    "text",
    [
        "a: &x {b: 1}\n",
        COMMENTED.replace("    zeta: %s   # old style\n", "    zeta: *old\n") % ("A", "B"),
        "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: {name: x}\n",
    ],
)
def test_what_cannot_be_edited_is_said(text: str) -> None:
    """Aliases, files without SealedSecrets or data: an error, and no guess."""
    with pytest.raises(InputError):
        SealedFile(text.encode(), "f.yaml").set({"zeta": "AgA"})


texts = st.text(max_size=30)
names = st.from_regex(r"[-._a-zA-Z0-9]{1,20}", fullmatch=True).filter(
    lambda k: k not in {".", ".."}
)


@settings(max_examples=100, deadline=None)
@given(texts)
def test_every_text_is_read_back_as_written(text: str) -> None:
    """A scalar that is written is the same text for the loader of kubectl and for YAML's own."""
    if any(0xD800 <= ord(char) < 0xE000 for char in text):
        return
    line = f"a: {scalar(text)}\n"
    assert next(load_values(line, "f")).manifest == {"a": text}
    assert yaml.safe_load(line) == {"a": text}


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(names, st.just("x"), min_size=1, max_size=6), names, st.booleans())
def test_any_key_can_be_set(one: Pair, values: dict[str, str], key: str, as_json: bool) -> None:
    """Keys that look like numbers or switches are keys; setting one changes no other."""
    before = _file(one, "json" if as_json else "yaml", values)
    file = SealedFile(before.encode(), "f")
    sealed: Declared = file.declared
    note = notes.Note(one.fingerprint, "shop/db", TODAY, "ada")
    file.set({key: "AgAA"}, {key: note})
    after = read_sealed(file.result().encode(), "f")[0]
    wanted: dict[str, Any] = {**sealed.data, key: "AgAA"}
    assert after.data == wanted
    assert after.read_notes()[0].keys() == wanted.keys()
    assert not after.read_notes()[1]


def test_long_and_odd_names_are_notes_too() -> None:
    """What Git holds as notes may be anything: damaged lines are told, and never an error."""
    note = notes.Note("SHA256:x", "*", TODAY, "Ada Lovelace <ada@example.com>")
    found, wrong = notes.read(notes.write({".dockerconfigjson": note, "a" * 253: note}))
    assert len(found) == 2
    assert not wrong
    assert found["a" * 253].by == "Ada_Lovelace_<ada@example.com>"
    for text in ("a", "a: b", "a: key=x label=y sealed=soon", "\0", "x" * 300_000):
        assert notes.read(text)[1]
    assert notes.read(None) == ({}, [])
