"""People who sign: real OpenPGP keyrings and real ssh keys, each in a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


def program(*words: str | Path, stdin: bytes = b"") -> bytes:
    """Run a program and return what it prints."""
    done = subprocess.run(list(map(str, words)), input=stdin, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@dataclass
class Person:
    """Somebody with an OpenPGP key; ``clock`` is what their machine says ("20200101T000000")."""

    name: str
    home: Path
    clock: str = ""
    options: tuple[str, ...] = ()

    @property
    def mail(self) -> str:
        return f"{self.name.lower()}@example.com"

    def gpg(self, *words: str, stdin: bytes = b"") -> bytes:
        """Run gpg with their keyring and clock."""
        return program(*self._command(), "--batch", "--quiet", *words, stdin=stdin)

    def _command(self) -> list[str]:
        clock = [f"--faked-system-time={self.clock}!"] if self.clock else []
        return ["gpg", f"--homedir={self.home}", "--passphrase=", *clock, *self.options]

    def make(self, expires: str = "never") -> Person:
        """Make their key."""
        self.home.mkdir(mode=0o700)
        person = f"{self.name} <{self.mail}>"
        self.gpg("--quick-gen-key", person, "ed25519", "sign", expires)
        return self

    @property
    def fingerprint(self) -> str:
        rows = self.gpg("--with-colons", "--list-keys").decode().splitlines()
        return next(row.split(":")[9] for row in rows if row.startswith("fpr"))

    def public(self, *, armor: bool = True) -> bytes:
        """Return the public key."""
        return self.gpg(*(["--armor"] if armor else []), "--export")

    def private(self) -> bytes:
        """Return the private key, for those who mix them up."""
        return self.gpg("--armor", "--pinentry-mode=loopback", "--export-secret-keys")

    def revocation(self) -> bytes:
        """Return the certificate that revokes the key."""
        text = next((self.home / "openpgp-revocs.d").glob("*.rev")).read_text()
        return text.replace("\n:---", "\n---").encode()

    @property
    def git(self) -> list[str]:
        """Return options by which git signs as this person."""
        script = self.home / "sign"
        words = " ".join(f"'{word}'" for word in self._command())
        script.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        script.chmod(0o755)
        return _options(
            f"gpg.program={script}", f"user.signingkey={self.fingerprint}", "gpg.format=openpgp"
        )


@dataclass
class Key:
    """An ssh key of somebody."""

    path: Path
    principal: str = "ada@example.com"

    def make(self) -> Key:
        """Make the key."""
        program("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.path)
        return self

    @property
    def public(self) -> str:
        return " ".join(self.path.with_suffix(".pub").read_text().split()[:2])

    def line(self, options: str = 'namespaces="git"') -> str:
        """Return the line of an allowed_signers file."""
        return " ".join(word for word in (self.principal, options, self.public) if word) + "\n"

    def certify(self, other: Key, principals: str) -> None:
        """Sign another key: a certificate for these principals."""
        public = other.path.with_suffix(".pub")
        program("ssh-keygen", "-q", "-s", self.path, "-I", "id", "-n", principals, public)

    @property
    def git(self) -> list[str]:
        """Return options by which git signs with this key, or with its certificate."""
        certificate = self.path.with_name(f"{self.path.name}-cert.pub")
        key = certificate if certificate.exists() else self.path
        return _options("gpg.format=ssh", f"user.signingkey={key}")


def _options(*settings: str) -> list[str]:
    return [word for one in settings for word in ("-c", one)]


@dataclass
class People:
    """A folder of keyrings; their agents end with it."""

    folder: Path
    made: list[Person] = field(default_factory=list)

    def person(
        self, name: str, *, clock: str = "", expires: str = "never", options: Sequence[str] = ()
    ) -> Person:
        """Return somebody with a new OpenPGP key."""
        home = self.folder / f"{name.lower()}{len(self.made)}"
        self.made.append(Person(name, home, clock, tuple(options)))
        return self.made[-1].make(expires)

    def key(self, name: str, principal: str = "ada@example.com") -> Key:
        """Return a new ssh key."""
        return Key(self.folder / name, principal).make()


@contextmanager
def people() -> Iterator[People]:
    """Make a place for keyrings: a short path, as agents need one for their sockets."""
    folder = Path(tempfile.mkdtemp(prefix="ops-keys-"))
    one = People(folder)
    try:
        yield one
    finally:
        for person in one.made:
            env = os.environ | {"GNUPGHOME": str(person.home)}
            subprocess.run(["gpgconf", "--kill", "all"], env=env, check=False, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)
