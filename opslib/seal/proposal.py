"""A new value for keys of a Secret, as an edit of Git: sealed for each cluster, shown as a diff.

Nothing here writes. What is to be approved is where a value goes, for which key, and what else
the commit changes; the value itself is part of nothing, and a ciphertext is another each time,
so that the hash covers neither.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from opslib.core.errors import InputError
from opslib.core.hashes import digest
from opslib.seal import sealing
from opslib.seal.recipients import Recipient
from opslib.seal.sealed import Declared
from opslib.seal.secret import Secret
from opslib.seal.secretbytes import SecretBytes
from opslib.seal.wire import Scope

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


@dataclass(frozen=True)
class Wish:
    """What is to be sealed: keys of a Secret with their values, by whom, and how far.

    ``scope`` None: as the file says, and strict for a new one. ``type`` is of a new Secret.
    ``restart``: what reads the Secret at its start gets a new line in its pod template.
    ``author`` is who commits, "Name <mail>".
    """

    namespace: str
    name: str
    values: Mapping[str, SecretBytes] = field(repr=False)
    noting: sealing.Noting
    scope: Scope | None = None
    type: str = ""
    restart: bool = True
    author: str = ""

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    def secret(self) -> Secret:
        """Return it as the Secret that it makes."""
        metadata = {"name": self.name, "namespace": self.namespace}
        return Secret(
            self.name, self.namespace, metadata, dict(self.values), self.type, None, str(self)
        )


@dataclass(frozen=True)
class Placed:
    """What one cluster gets: the file with its SealedSecret as it will be, and the keys sealed."""

    recipient: Recipient
    path: str
    declared: Declared = field(repr=False)
    sealed: tuple[str, ...]
    unchanged: tuple[str, ...] = ()
    created: bool = False

    @property
    def sentence(self) -> str:
        """Say it in one line."""
        verb = "creates" if self.created else "edits"
        keys = ", ".join(self.sealed) or "nothing"
        same = f"; unchanged: {', '.join(self.unchanged)}" if self.unchanged else ""
        key = self.recipient.certificate.fingerprint
        return f"{self.recipient.name}: {verb} {self.path}, seals {keys} for {key}{same}"

    def as_dict(self) -> dict[str, Any]:
        return {
            **self.recipient.as_dict(),
            "file": self.path,
            "created": self.created,
            "sealed": list(self.sealed),
            "unchanged": list(self.unchanged),
            "scope": str(self.declared.scope),
        }


@dataclass(frozen=True)
class Change:
    """The edit of Git, and what it means; a gate takes it as its subject.

    ``base`` is the commit that it is an edit of. ``restarts`` are workloads as file and name,
    ``told`` what a person should know. ``mark`` is what their pod templates get.
    """

    wish: Wish
    base: str
    placed: tuple[Placed, ...]
    files: Mapping[str, bytes | None] = field(repr=False)
    diff: str = field(repr=False)
    restarts: tuple[str, ...] = ()
    mark: str = ""
    told: tuple[str, ...] = ()

    @functools.cached_property
    def hash(self) -> str:
        """SHA-256 over where the values go and what else is edited."""
        wish = self.wish
        rotate = wish.noting.rotate.isoformat() if wish.noting.rotate else ""
        places = [one.as_dict() for one in self.placed]
        keys = sorted(wish.values)
        return digest([self.base, str(wish), keys, wish.type, rotate, places, list(self.restarts)])

    @property
    def sealed(self) -> tuple[str, ...]:
        """The keys that get a new ciphertext somewhere."""
        return tuple(dict.fromkeys(key for one in self.placed for key in one.sealed))

    @property
    def summary(self) -> str:
        """Return it in one sentence."""
        if self.empty:
            return f"nothing to seal: Secret {self.wish} has these values already"
        clusters = ", ".join(one.recipient.name for one in self.placed if one.sealed)
        also = f", restarts {len(self.restarts)}" if self.restarts else ""
        return f"seal {', '.join(self.sealed)} of Secret {self.wish} for {clusters}{also}"

    @property
    def target(self) -> str:
        return str(self.wish)

    @property
    def consequences(self) -> tuple[str, ...]:
        """Return one line for each cluster, each workload that restarts, each warning."""
        lines = [one.sentence for one in self.placed]
        return (*lines, *(f"restarts {one}" for one in self.restarts), *self.told)

    destructive = False  # the old ciphertext stays in Git
    cluster = ""  # Git is what changes

    @property
    def empty(self) -> bool:
        return not self.files

    def as_dict(self) -> dict[str, Any]:
        return {
            "hash": self.hash,
            "secret": str(self.wish),
            "keys": sorted(self.wish.values),
            "clusters": [one.as_dict() for one in self.placed],
            "files": sorted(self.files),
            "restarts": list(self.restarts),
            "warnings": list(self.told),
        }


def place(text: str) -> tuple[str, str]:
    """Read NAMESPACE/NAME. Raises InputError for anything else."""
    namespace, _, name = text.partition("/")
    if not (_NAME.fullmatch(namespace) and _NAME.fullmatch(name)):
        expected = "NAMESPACE/NAME of the Secret, such as production/payment-gateway"
        raise InputError("this names no Secret", where="secret", expected=expected)
    return namespace, name


def names(text: str) -> tuple[str, ...]:
    """Read keys or clusters, separated by commas or spaces; each once."""
    return tuple(dict.fromkeys(re.split(r"[,\s]+", text.strip(", \n")))) if text.strip(", ") else ()
