"""The form of SealedSecrets and their values: what can be said without any key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from opslib.seal import wire
from opslib.seal.findings import Cause, Finding, about, of_label
from opslib.seal.notes import Note, note_label
from opslib.seal.sealed import Declared

AGAIN = "seal this value anew: opslib seal set FILE KEY"
_GIT = f"take it from Git again, or {AGAIN}"
_SIZES = {128, 256, 384, 512, 1024}
"""Bytes of an RSA ciphertext: keys of 1024 to 8192 bits."""
_BEGINS = ("AI", "AQ", "AY", "Ag", "BA")
"""How base64 of these lengths begins."""
_SMALLEST = 196
"""Characters of the shortest sealed value: for a key of 1024 bits, of an empty value."""
_LETTERS = 40
"""Of the 64 letters of base64, random bytes of this length have nearly all."""
_EDIT = 64
"""Characters by which an edited ciphertext may differ from the noted length, and still be one."""


def of_object(one: Declared) -> Iterator[Finding]:
    """Judge what is not a value: version, name, fields, annotations."""
    version = one.manifest.get("apiVersion")
    if version != "bitnami.com/v1alpha1":
        what = f"apiVersion is {str(version)[:60]}"
        yield about(one, "", Cause.FORM, what, "apiVersion: bitnami.com/v1alpha1")
    if not one.name:
        yield about(one, "", Cause.FORM, "metadata.name is missing", "give it its name")
    if one.spec.get("data") is not None:
        both = bool(one.data)
        what = "spec.data and spec.encryptedData stand together" if both else "spec.data is old"
        hint = "only spec.encryptedData is unsealed" if both else "seal the Secret anew"
        yield about(one, "", Cause.FORM, what, hint)
    elif not isinstance(one.spec.get("encryptedData"), dict):
        what = "spec.encryptedData is missing or no mapping"
        yield about(one, "", Cause.FORM, what, "a mapping of keys to ciphertexts")
    for scope in (wire.Scope.NAMESPACE, wire.Scope.CLUSTER):
        value = one.annotations.get(scope.annotation)
        if value not in {None, "true"} and not one.read_notes()[0]:
            what = f'{scope.annotation} is {str(value)[:20]!r}, and only "true" counts'
            hint = 'write "true" in quotes, or take it out'
            yield about(one, "", Cause.SCOPE, what, hint, severity="warning")


def of_template(one: Declared, key: str) -> Iterator[Finding]:
    """Compare the object with its template, where nothing else tells what a value is bound to.

    kubeseal writes both alike, so that one of them was changed. It is no error: a kustomization
    may give the object the name back that its values were sealed for.
    """
    inner = one.template_metadata
    marks = inner.get("annotations")
    scope = wire.scope_of(marks if isinstance(marks, dict) else None)
    name = str(inner.get("name") or one.name)
    namespace = str(inner.get("namespace") or one.namespace)
    label = note_label(wire.label_of(scope, namespace, name))
    for finding in of_label(one, key, label, "as its template says"):
        yield replace(finding, severity="warning")


def of_value(one: Declared, key: str, text: str, note: Note | None) -> Finding | None:
    """Tell what no key could open: plain text, broken base64, too few bytes; None if there is none.

    A value that was cut off is told from one that was edited by the length that was noted.
    """
    noted = one.sum_of(key, note)
    was = int(noted.partition("/")[2]) if noted else 0
    joined = text.replace("\n", "").replace("\r", "")
    shorter = f": {len(joined)} characters of {was}" if was > len(joined) else ""
    begins = joined.startswith(_BEGINS)
    if len(joined) < _SMALLEST and not begins:
        return _plaintext(one, key)
    try:
        data = wire.decode(text)
        if int.from_bytes(data[:2], "big") in _SIZES:
            wire.split(data)
            return None
    except wire.Malformed as error:
        if not begins and (abs(was - len(joined)) > _EDIT or len(set(joined)) < _LETTERS):
            return _plaintext(one, key)
        cut = shorter or "cut off" in str(error)
        what = f"its ciphertext is cut off{shorter}" if shorter else str(error)
        return about(one, key, Cause.TRUNCATED if cut else Cause.NOT_BASE64, what, _GIT)
    if _readable(data) or len(set(joined)) < _LETTERS:
        return _plaintext(one, key)
    what = "its ciphertext begins with no length of an RSA key: edited by hand"
    return about(one, key, Cause.EDITED, what, _GIT)


def _plaintext(one: Declared, key: str) -> Finding:
    return about(
        one,
        key,
        Cause.PLAINTEXT,
        "this is no ciphertext: a value that was never sealed stands here",
        "seal it (opslib seal set), and change it at its source: it is known to whoever sees Git",
    )


def _readable(data: bytes) -> bool:
    """Tell base64 of a text from a ciphertext, which is random bytes."""
    try:
        return data.decode().replace("\n", " ").isprintable()
    except UnicodeDecodeError:
        return False
