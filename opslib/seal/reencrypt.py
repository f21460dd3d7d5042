"""Values sealed anew for the present key; whatever else a file holds stays as it is.

The controller's own answer drops ``template.data`` and the template's labels, so that only
its ciphertexts are taken, and put into the text in the place of the old ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from opslib.core.errors import OpslibError
from opslib.core.progress import SILENT, Progress
from opslib.seal import notes, recovery, sealing, wire
from opslib.seal.certificates import Certificate
from opslib.seal.edit import SealedFile
from opslib.seal.privatekeys import PrivateKey
from opslib.seal.reading import read_file
from opslib.seal.sealed import Declared, read_sealed
from opslib.seal.writing import save_all

Anew = Callable[[Declared], dict[str, str]]
"""Seals the values of a SealedSecret anew: the controller, or private keys and a certificate."""


@dataclass(frozen=True)
class Renewed:
    """One file: its text before and after, and how many values were sealed anew."""

    path: Path
    before: bytes
    after: bytes
    values: int


def by_keys(keys: Mapping[str, PrivateKey], certificate: Certificate) -> Anew:
    """Return how to seal anew without a cluster: unseal with a backup, seal for a certificate."""

    def anew(one: Declared) -> dict[str, str]:
        sealer = wire.Sealer(certificate.key, one.label)
        found = recovery.values(one, keys)
        return {key: wire.encode(sealer.seal(value)) for key, value in found.items()}

    return anew


def renew(
    paths: Iterable[Path],
    anew: Anew,
    certificate: Certificate,
    *,
    noting: sealing.Noting | None = None,
    everything: bool = False,
    progress: Progress = SILENT,
) -> list[Renewed]:
    """Seal the values of files anew; nothing is written here.

    Values that are noted to be of the certificate's key already are left alone, unless
    ``everything``. ``noting`` None writes no notes where there were none. Raises OpslibError
    for the first SealedSecret that cannot be sealed anew.
    """
    todo = list(paths)
    made = []
    for number, path in enumerate(todo):
        progress.update(f"sealing anew: {path}", number, len(todo))
        before = read_file(path)
        renewal = _Renewal(anew, certificate, noting, everything)
        after = renewal.of_file(before, str(path))
        if after != before:
            made.append(Renewed(path, before, after, renewal.values))
    return made


def write(made: Sequence[Renewed]) -> None:
    """Write all files, or none."""
    save_all({one.path: one.after for one in made})


def renewed_text(data: bytes, path: str, anew: Anew, certificate: Certificate) -> str:
    """Return the text of a file with all its values sealed anew, whatever key they are of."""
    return _Renewal(anew, certificate, None, everything=True).of_file(data, path).decode()


class _Renewal:
    """Seals one file anew, SealedSecret after SealedSecret."""

    def __init__(
        self,
        anew: Anew,
        certificate: Certificate,
        noting: sealing.Noting | None,
        everything: bool,  # always given by name
    ) -> None:
        self._anew = anew
        self._certificate = certificate
        self._noting = noting
        self._everything = everything
        self.values = 0

    def of_file(self, data: bytes, path: str) -> bytes:
        for one in read_sealed(data, path, others=True):
            if one.data and not self._is_current(one):
                data = self._of_object(one, data, path)
        return data

    def _is_current(self, one: Declared) -> bool:
        if self._everything:
            return False
        noted, _ = one.read_notes()
        return all(
            key in noted and noted[key].key == self._certificate.fingerprint
            for key in map(str, one.data)
        )

    def _of_object(self, one: Declared, data: bytes, path: str) -> bytes:
        fresh = self._anew(one)
        if fresh.keys() != one.data.keys():
            what = "the answer has other keys than the SealedSecret"
            raise OpslibError(what, where=one.place("/spec/encryptedData"))
        for key, text in fresh.items():
            _check(text, self._certificate, one.place_of(key))
        file = SealedFile(data, path, f"{one.namespace}/{one.name}")
        file.noting = notes.ANNOTATION in one.annotations or self._noting is not None
        file.set(fresh, self._notes(one))
        self.values += len(fresh)
        return file.result().encode()

    def _notes(self, one: Declared) -> dict[str, notes.Note] | None:
        """Return the notes: of the new key; who put the value in, and when, stays."""
        known, _ = one.read_notes()
        if self._noting is None and not known:
            return None
        noting = self._noting or sealing.Noting()
        fresh = sealing.note_for(one.label, self._certificate, noting)
        return {
            str(key): replace(known[str(key)], key=fresh.key, label=fresh.label)
            if str(key) in known
            else fresh
            for key in one.data
        }


def _check(text: str, certificate: Certificate, where: str) -> None:
    """Raise OpslibError for an answer that cannot be a value of the certificate's key."""
    try:
        rsa = wire.split(wire.decode(text)).rsa
    except wire.Malformed as error:
        raise OpslibError(f"the answer is no sealed value: {error}", where=where) from None
    number = int.from_bytes(rsa, "big")
    if len(rsa) != certificate.modulus_bytes or number >= certificate.key.public_numbers().n:
        raise OpslibError(
            "the answer is sealed for another key than the certificate's",
            where=where,
            hint="is the certificate that of this controller, and its newest?",
        )
