"""New values into a SealedSecret that is there: name, namespace and scope are the file's.

kubeseal takes the scope of the flag instead, and so seals values that cannot be unsealed:
https://github.com/bitnami-labs/sealed-secrets/blob/v0.40.0/pkg/kubeseal/kubeseal.go
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from opslib.core.errors import InputError
from opslib.seal import notes, sealing
from opslib.seal.certificates import Certificate
from opslib.seal.edit import SealedFile
from opslib.seal.sealed import Declared, read_sealed
from opslib.seal.secret import STRIPPED, Secret
from opslib.seal.secretbytes import SecretBytes
from opslib.seal.wire import Scope, Sealer, encode

Known = Callable[[Declared], dict[str, SecretBytes]]
"""Learns the present values of a SealedSecret, of as many keys as it can prove."""


@dataclass(frozen=True)
class Merge:
    """How values are merged: for which key, with which notes."""

    certificate: Certificate
    noting: sealing.Noting | None = None
    scope: Scope | None = None
    allow_empty: bool = False

    def into(
        self, data: bytes, path: str, secrets: Sequence[Secret], known: Known | None = None
    ) -> tuple[str, list[str]]:
        """Return the new text of a file, and what a person should know.

        One Secret goes into the file's one SealedSecret whatever its name is; of several each
        goes into that of its own name. ``known`` gives present values: a key whose value is
        the same keeps its ciphertext. Raises InputError; the file is not touched here.
        """
        if len(secrets) > 1 and len({one.name for one in secrets}) < len(secrets):
            raise InputError("two Secrets of the input have one name", where=secrets[-1].where)
        told: list[str] = []
        for secret in secrets:
            name = self._name(secret, data, path, several=len(secrets) > 1)
            made, said = self._one(SealedFile(data, path, name), secret, known)
            data = made.encode()
            told += said
        return data.decode(), told

    def _name(self, secret: Secret, data: bytes, path: str, *, several: bool) -> str:
        """Return which SealedSecret of the file is meant; "" is its only one."""
        found = read_sealed(data, path, others=True)
        return secret.name if several or len(found) > 1 else ""

    def _one(self, file: SealedFile, secret: Secret, known: Known | None) -> tuple[str, list[str]]:
        target = file.declared
        if not secret.values and not self.allow_empty:
            raise InputError(
                "the Secret has no data", where=secret.where, hint="--allow-empty-data"
            )
        if self.scope is not None and self.scope is not target.scope:
            raise InputError(
                f"--scope says {self.scope}, and the file says {target.scope}",
                where=target.place("/metadata/annotations"),
                hint="leave --scope away: a value of another scope could not be unsealed there",
            )
        same = self._same(target, secret, known)
        sealer = Sealer(self.certificate.key, target.label)
        fresh = {
            key: encode(sealer.seal(value))
            for key, value in secret.values.items()
            if key not in same
        }
        file.noting = self.noting is not None
        made: dict[str, notes.Note] | None = None
        if self.noting:
            known_notes, _ = target.read_notes()
            again = sealing.note_again
            made = {
                key: again(known_notes.get(key), target.label, self.certificate, self.noting)
                for key in fresh
            }
        if fresh:
            file.set(fresh, made)
        for part in ("labels", "annotations"):
            texts = secret.metadata.get(part) or {}
            kept = {k: v for k, v in texts.items() if k not in {*STRIPPED, *sealing.SCOPES}}
            file.template(part, kept)
        text = file.result()
        sealing.check_size(_with(target, fresh), target.path)
        kept_keys = f"; unchanged: {', '.join(sorted(same))}" if same else ""
        sealed_keys = ", ".join(sorted(fresh)) or "nothing"
        return text, [f"{target.path}: {target}: sealed anew: {sealed_keys}{kept_keys}"]

    @staticmethod
    def _same(target: Declared, secret: Secret, known: Known | None) -> set[str]:
        if known is None:
            return set()
        present = known(target)
        return {
            key
            for key, value in secret.values.items()
            if key in target.data and key in present and present[key] == value
        }


def _with(target: Declared, fresh: dict[str, str]) -> dict[str, dict[str, dict[str, str]]]:
    return {"spec": {"encryptedData": {**target.data, **fresh}}}
