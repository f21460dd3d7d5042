"""Whose signatures count: files of public keys that the operator names, never the repository.

A file is read by what is in it: OpenPGP public keys (armored or binary), or an
``allowed_signers`` file of OpenSSH. The files are read again at every fetch, so that a key
that was taken out of one is trusted no longer.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from opslib.core.errors import InputError

Depth = Literal["none", "head", "every"]
FORMS = "OpenPGP public keys (gpg --armor --export ID) or an allowed_signers file of ssh-keygen"
MAX_BYTES = 1_000_000
"""Bytes of one file; a key is a few thousand."""

_LINE = 'ada@example.com namespaces="git" ssh-ed25519 AAAA…'
_OPTION = re.compile(
    r'cert-authority|(namespaces|valid-after|valid-before)="[^"]*"', re.IGNORECASE
)  # https://man.openbsd.org/ssh-keygen.1#ALLOWED_SIGNERS
_WORD = re.compile(r'(?:"[^"]*"|[^\s"])+')
_PUBLIC, _PRIVATE = {6}, {5, 7}
"""Tags of OpenPGP packets: https://www.rfc-editor.org/rfc/rfc9580#section-5"""


@dataclass(frozen=True)
class Trust:
    """Keys that count: OpenPGP ones with the file that each is of, and allowed_signers lines."""

    keys: tuple[tuple[str, bytes], ...] = ()
    signers: str = ""


@dataclass(frozen=True)
class Verification:
    """How much of a source must be signed, and the files with the keys that count for it.

    ``head``: the commit that is used. ``every``: each commit since the one that was applied
    last. ``none``: nothing is verified.
    """

    depth: Depth = "none"
    files: tuple[Path, ...] = ()

    @property
    def on(self) -> bool:
        return self.depth != "none"

    def load(self) -> Trust:
        """Read the files as they are now. Raises InputError for one that is not as it must be."""
        keys: list[tuple[str, bytes]] = []
        signers = ""
        for file in self.files:
            data = _read(file)
            if _is_openpgp(file, data):
                keys.append((str(file), data))
            else:
                signers += "".join(f"{line}\n" for line in _signers(file, data))
        return Trust(tuple(keys), signers)

    def refuse_inside(self, folder: str) -> None:
        """Raise InputError for a file in a folder: a repository does not vouch for itself."""
        for file in self.files:
            if file.resolve().is_relative_to(folder):
                raise InputError(
                    "this file is in the repository that it would vouch for",
                    where=f"--trust {file}",
                    expected="a file that those who push to the repository cannot write",
                    hint="keep a copy of it elsewhere, and name that",
                )


UNVERIFIED = Verification()


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise _refused(file, f"the file cannot be read: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise _refused(file, f"the file has more than {MAX_BYTES} bytes")
    if b"PRIVATE KEY" in data or _tag(data) in _PRIVATE:
        raise _refused(file, "this is a private key", "export the public one, and guard this one")
    if not data.strip():
        raise _refused(file, "the file is empty")
    return data


def _is_openpgp(file: Path, data: bytes) -> bool:
    if b"-----BEGIN PGP PUBLIC KEY BLOCK-----" in data or _tag(data) in _PUBLIC:
        return True
    if b"-----BEGIN " in data:
        raise _refused(file, "this is neither a public key of OpenPGP nor an allowed_signers file")
    return False


def _tag(data: bytes) -> int:
    """Return the tag of the OpenPGP packet that binary data begins with; -1 for text."""
    first = data[0] if data else 0
    if not first & 0x80:
        return -1
    return first & 0x3F if first & 0x40 else (first & 0x3C) >> 2


def _signers(file: Path, data: bytes) -> Iterator[str]:
    """Check the lines of an allowed_signers file: ssh-keygen passes over those it cannot read."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _refused(file, "this is neither a public key nor text") from None
    lines = [line.strip() for line in text.splitlines()]
    used = [(n, line) for n, line in enumerate(lines, 1) if line and not line.startswith("#")]
    if not used:
        raise _refused(file, "no key is in this file")
    for number, line in used:
        if problem := _line_problem(_WORD.findall(line)):
            raise InputError(
                problem,
                where=f"--trust {file}:{number}",
                expected=f"a line such as: {_LINE}",
                hint="see ALLOWED SIGNERS in ssh-keygen(1)",
            )
        yield line


def _line_problem(words: Sequence[str]) -> str:
    """Return what is wrong with a line: principals, options (or none), type of key, key."""
    if _is_key(words[0:2]):
        return "this public key has no principal before it, so it is nobody's"
    if _is_key(words[1:3]):
        return ""
    if not _is_key(words[2:4]):
        return "this line has no public key of ssh"
    left = _OPTION.sub("", words[1]).strip(",")
    return f"the option {left!r} is not known" if left else ""


def _is_key(words: Sequence[str]) -> bool:
    """Whether two words are a type of key and a whole key of this type.

    A key is strings with their lengths, the first its type: RFC 4253, section 6.6.
    """
    if len(words) != 2:
        return False
    try:
        blob = base64.b64decode(words[1], validate=True)
    except (binascii.Error, ValueError):
        return False
    parts, at = [], 0
    while at < len(blob):
        end = at + 4 + int.from_bytes(blob[at : at + 4], "big")
        parts.append(blob[at + 4 : end])
        at = end
    return at == len(blob) and len(parts) > 1 and parts[0] == words[0].encode()


def _refused(file: Path, what: str, hint: str | None = None) -> InputError:
    return InputError(what, where=f"--trust {file}", expected=FORMS, hint=hint)
