"""Whether sealed values would unseal, told before anything is merged: offline, for CI.

Without any key the form of a value, its notes and its check sum are what is known; a
certificate tells besides that a value cannot be of its key; private keys from a backup tell
everything, as they show under which label a value was sealed for them. The values themselves
are decrypted only to see whether the ciphertext is whole, and are thrown away at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from opslib.core import clock
from opslib.seal import form, notes, wire
from opslib.seal.certificates import Certificate
from opslib.seal.findings import Cause, Finding, about, of_label
from opslib.seal.form import AGAIN
from opslib.seal.labels import candidates
from opslib.seal.notes import Note
from opslib.seal.past import Before
from opslib.seal.pins import Pinned
from opslib.seal.privatekeys import PrivateKey
from opslib.seal.sealed import Declared


@dataclass(frozen=True)
class Knowledge:
    """What is known besides the files: keys, a certificate, pins, and today's date.

    ``past``: by ciphertext, what Git first had in its place.
    """

    keys: Mapping[str, PrivateKey] = field(default_factory=dict)
    certificate: Certificate | None = None
    clusters: Callable[[Declared], Sequence[Pinned]] = lambda _: ()
    everywhere: Sequence[Pinned] = ()
    past: Mapping[str, Before] = field(default_factory=dict)
    today: date = field(default_factory=lambda: clock.now().date())


def check(objects: Sequence[Declared], knowledge: Knowledge | None = None) -> list[Finding]:
    """Judge SealedSecrets; findings are in the order of the files, errors and lesser ones."""
    known = knowledge or Knowledge()
    judge = _Judge(known, objects)
    return [finding for one in objects for finding in judge.of(one)]


class _Judge:
    """Judges objects that were read together: a value may have been copied between them."""

    def __init__(self, known: Knowledge, objects: Sequence[Declared]) -> None:
        self._known = known
        self._places: dict[str, list[tuple[Declared, str]]] = {}
        for one in objects:
            for key, text in one.data.items():
                if isinstance(text, str):
                    self._places.setdefault(text, []).append((one, key))
        before = [one.label for one in known.past.values()]
        self._labels = {_hash(label): label for label in candidates(objects, before)}

    def of(self, one: Declared) -> Iterator[Finding]:
        """Yield what there is to say about an object and its values."""
        yield from form.of_object(one)
        noted, wrong = one.read_notes()
        for text in wrong:
            yield about(one, "", Cause.UNNOTED, text, severity="warning")
        if one.data and not noted and not wrong:
            what = "nothing is noted, so that only its form can be judged without keys"
            yield about(one, "", Cause.UNNOTED, what, severity="info")
        for key, text in one.data.items():
            yield from self._value(one, str(key), text, noted.get(str(key)))
        for key in sorted(noted.keys() - one.data.keys()):
            what = f"{key} is noted, and there is no such key"
            yield about(one, "", Cause.EDITED, what, severity="warning")

    def _value(self, one: Declared, key: str, text: object, note: Note | None) -> Iterator[Finding]:
        if not isinstance(text, str):
            yield about(one, key, Cause.FORM, "it is no text", AGAIN)
            return
        broken = form.of_value(one, key, text, note)
        if broken:
            yield broken
            return
        if self._known.keys:
            found = list(self._by_keys(one, key, text, note))
        else:
            found = list(self._by_notes(one, key, text, note))
        yield from found
        if not any(finding.severity == "error" for finding in found):
            yield from self._lesser(one, key, note)

    def _by_notes(self, one: Declared, key: str, text: str, note: Note | None) -> Iterator[Finding]:
        """Judge what is written down, the ciphertext's check sum first."""
        changed = self._changed(one, key, text, note)
        if changed:
            yield changed
            return
        if copied := next(self._copied(one, key, text, note), None):
            yield copied
        elif note:
            yield from of_label(one, key, note.label, "as noted")
            yield from self._of_key(one, key, note.key)
        elif before := self._known.past.get(text):
            yield from of_label(one, key, before.label, f"as of commit {before.commit[:12]}")
        else:
            yield from form.of_template(one, key)
        yield from self._of_certificate(one, key, text, note)

    def _by_keys(self, one: Declared, key: str, text: str, note: Note | None) -> Iterator[Finding]:
        """Judge by the private keys: which one opens it, and under which label."""
        data = wire.decode(text)
        for private in self._ordered(note):
            mine = wire.opens(private.key, data, one.label)  # a tenth of what the next takes
            found = _hash(one.label) if mine else wire.label_hash(private.key, data)
            if found is None:
                continue
            copied = list(self._copied(one, key, text, note))
            if found == _hash(one.label):
                yield from self._body(one, key, text, note, private)
            elif copied:
                yield from copied
            elif found in self._labels:
                label = notes.note_label(self._labels[found])
                yield from of_label(one, key, label, "as its key shows")
            else:
                yield about(
                    one,
                    key,
                    Cause.PLACE,
                    "it was sealed for another place, which is not in these files: another name,"
                    " namespace or scope",
                    AGAIN,
                )
            return
        yield from self._by_no_key(one, key, text, note)

    def _body(
        self, one: Declared, key: str, text: str, note: Note | None, private: PrivateKey
    ) -> Iterator[Finding]:
        try:
            wire.decrypt([private.key], wire.decode(text), one.label, f"{one.name}/{key}")
        except wire.CannotUnseal:
            yield self._changed(one, key, text, note) or about(
                one, key, Cause.EDITED, "its ciphertext is not whole: edited, or cut off", AGAIN
            )
            return
        changed = self._changed(one, key, text, note)
        if changed and changed.cause is Cause.SWAPPED:
            yield changed
        elif changed:
            what = "it unseals, but is not what was noted: another tool sealed it"
            yield about(one, key, Cause.UNNOTED, what, severity="warning")

    def _by_no_key(
        self, one: Declared, key: str, text: str, note: Note | None
    ) -> Iterator[Finding]:
        """Say why none of the keys opens the session key of a value."""
        changed = self._changed(one, key, text, note)
        if changed:
            yield changed
        elif note and note.key in self._known.keys:
            what = "its session key is damaged: edited, as it is noted to be of a known key"
            yield about(one, key, Cause.EDITED, what, AGAIN)
        else:
            for_key = f" for {note.key}" if note else ""
            yield about(
                one,
                key,
                Cause.KEY,
                f"it was sealed{for_key}, and none of the {len(self._known.keys)} private keys"
                " opens it",
                "seal it anew for this cluster, or find the backup of its key",
            )

    def _changed(self, one: Declared, key: str, text: str, note: Note | None) -> Finding | None:
        """Compare a ciphertext with its check sum, or with what Git had; None where it agrees."""
        noted = one.sum_of(key, note)
        now = notes.check_sum(text)
        if not noted:
            return self._changed_since(one, key, text)
        if noted == now:
            return None
        other = self._sum_elsewhere(one, key, now)
        if other:
            what = f"its ciphertext is that of {other}: they were exchanged"
            return about(one, key, Cause.SWAPPED, what, "put each ciphertext under its own key")
        if copied := next(self._copied(one, key, text, None), None):
            return copied
        was, length = int(noted.partition("/")[2]), int(now.partition("/")[2])
        if length < was:
            what = f"its ciphertext is cut off: {length} characters of {was}"
            return about(one, key, Cause.TRUNCATED, what, f"take it from Git again, or {AGAIN}")
        return about(
            one,
            key,
            Cause.EDITED,
            "its ciphertext is not the one that was noted: edited by hand, or by another tool",
            f"take it from Git again, or {AGAIN}",
        )

    def _changed_since(self, one: Declared, key: str, text: str) -> Finding | None:
        before = self._known.past.get(text)
        joined = "".join(text.split())
        if before is None or before.text == joined:
            return None
        since = f"commit {before.commit[:12]}"
        hint = f"take it from there, or {AGAIN}"
        if before.text.startswith(joined):
            what = f"its ciphertext is cut off: {len(joined)} of {len(before.text)} characters in"
            return about(one, key, Cause.TRUNCATED, f"{what} {since}", hint)
        what = f"its ciphertext is not the one of {since}: edited by hand"
        return about(one, key, Cause.EDITED, what, hint)

    @staticmethod
    def _sum_elsewhere(one: Declared, key: str, now: str) -> str:
        known, _ = one.read_notes()
        sums = {name: one.sum_of(name, known.get(name)) for name in map(str, one.data)}
        return next((name for name, text in sums.items() if name != key and text == now), "")

    def _copied(self, one: Declared, key: str, text: str, note: Note | None) -> Iterator[Finding]:
        """Find the same ciphertext under another label: one of the two is a copy."""
        for other, name in self._places.get(text, ()):
            if other is one or other.label == one.label:
                continue
            mine = self._label_of(text, note)
            theirs = self._label_of(text, other.read_notes()[0].get(name))
            if mine == notes.note_label(one.label) and theirs != notes.note_label(other.label):
                continue  # the other one is the copy, by the notes or by Git
            what = f"it is the ciphertext of {name} of {other} ({other.place_of(name)})"
            yield about(one, key, Cause.COPIED, what, AGAIN)
            return

    def _label_of(self, text: str, note: Note | None) -> str:
        """Return the label that a note or Git tells of a ciphertext; "" where neither does."""
        before = self._known.past.get(text)
        return note.label if note else before.label if before else ""

    def _of_key(self, one: Declared, key: str, fingerprint: str) -> Iterator[Finding]:
        """Compare the key that is noted with those that are pinned for the file's cluster."""
        clusters = self._known.clusters(one)
        if not clusters or any(fingerprint in cluster.keys for cluster in clusters):
            return
        names = " or ".join(cluster.name for cluster in clusters)
        others = [cluster.name for cluster in self._known.everywhere if fingerprint in cluster.keys]
        whose = f"the key of {others[0]}" if others else f"a key that is not pinned ({fingerprint})"
        what = f"it was sealed for {whose}, and the file is for {names}"
        yield about(one, key, Cause.KEY, what, f"seal it anew for {names}")

    def _of_certificate(
        self, one: Declared, key: str, text: str, note: Note | None
    ) -> Iterator[Finding]:
        """Tell by a certificate alone that a value cannot be of its key."""
        certificate = self._known.certificate
        if certificate is None:
            return
        rsa = wire.split(wire.decode(text)).rsa
        modulus = certificate.key.public_numbers().n
        hint = "seal it anew with this certificate"
        if len(rsa) != certificate.modulus_bytes:
            what = (
                f"it was sealed for a key of {8 * len(rsa)} bits, and the certificate's has"
                f" {certificate.key.key_size}"
            )
            yield about(one, key, Cause.KEY, what, hint)
        elif int.from_bytes(rsa, "big") >= modulus:
            what = "it was sealed for another key than the certificate's: its number is larger"
            yield about(one, key, Cause.KEY, what, hint)
        elif note and note.key != certificate.fingerprint and not self._known.clusters(one):
            what = f"it was sealed for {note.key}, and the certificate is {certificate.fingerprint}"
            yield about(one, key, Cause.KEY, what, hint, severity="warning")

    def _lesser(self, one: Declared, key: str, note: Note | None) -> Iterator[Finding]:
        """Tell what is right and should be looked at: an old key, a date that has come."""
        if note is None:
            return
        for cluster in self._known.clusters(one):
            if note.key in cluster.keys[1:]:
                what = f"it is sealed for an older key of {cluster.name}"
                hint = "opslib seal reencrypt seals all such values anew"
                yield about(one, key, Cause.STALE, what, hint, severity="warning")
        if note.rotate and note.rotate <= self._known.today:
            what = f"it was to be rotated at its source by {note.rotate}"
            hint = "change it there, then opslib seal set FILE KEY"
            yield about(one, key, Cause.DUE, what, hint, severity="warning")

    def _ordered(self, note: Note | None) -> list[PrivateKey]:
        keys = list(self._known.keys.values())
        return sorted(keys, key=lambda one: note is None or one.fingerprint != note.key)


def _hash(label: bytes) -> bytes:
    return hashlib.sha256(label).digest()
