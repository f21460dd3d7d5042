"""References to values in Vault, as they stand in Git: ``ref+vault://MOUNT/PATH#KEY?version=N``.

The form is that of vals (https://github.com/helmfile/vals#vault), whose order ``?version=N#KEY``
is read too. A mount that has a slash in its name writes it ``%2F``. Texts that are wrong are
never repeated: what is no reference may be a value that somebody put there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from urllib.parse import quote, unquote

PREFIX = "ref+vault://"
MOST = 1024
"""Characters of one reference."""
FORM = "ref+vault://MOUNT/PATH#KEY?version=N"

_SAFE = "-._~@:+=,!()"
_NUMBER = re.compile(r"[1-9][0-9]{0,9}")
# What means something else in a policy of Vault, whose paths have globs and templates
# (https://developer.hashicorp.com/vault/docs/concepts/policies#policy-syntax), or in a URL.
_NOT_IN_PATHS = re.compile(r'[*"\\?#%]|\{\{|\$\{|%\{')


@dataclass(frozen=True, order=True)
class Reference:
    """One value in Vault: mount and path of a secret of KV version 2, a key of it, a version.

    ``version`` 0 means the newest one, which nobody has reviewed.
    """

    mount: str
    path: str
    key: str
    version: int = 0

    @property
    def pinned(self) -> bool:
        return self.version > 0

    @property
    def secret(self) -> str:
        """The secret as policies name it, without the part that says what is read of it."""
        return f"{self.mount}/{self.path}"

    def at(self, version: int) -> Reference:
        """Return the same key of a version."""
        return replace(self, version=version)

    def api(self, part: str) -> str:
        """Return the path of Vault's API for ``part`` of the secret: data, metadata, subkeys."""
        return f"{_quoted(self.mount)}/{part}/{_quoted(self.path)}"

    def __str__(self) -> str:
        mount = quote(self.mount, safe=_SAFE)
        text = f"{PREFIX}{mount}/{_quoted(self.path)}#{quote(self.key, safe=_SAFE)}"
        return f"{text}?version={self.version}" if self.version else text


def is_reference(value: object) -> bool:
    """Tell whether a value means to be a reference, right or wrong."""
    return isinstance(value, str) and value.startswith(PREFIX)


def parse(value: object) -> Reference:
    """Read a reference. Raises ValueError that says what is wrong and repeats nothing of it."""
    if not isinstance(value, str) or not value.startswith(PREFIX):
        raise ValueError("it is no reference")
    if len(value) > MOST:
        raise ValueError(f"it is longer than {MOST} characters")
    if not value.isprintable() or " " in value:
        raise ValueError("it has spaces or characters that cannot be seen")
    place, sign, rest = value.removeprefix(PREFIX).partition("#")
    if not sign:
        raise ValueError("it names no key: #KEY is missing")
    place, _, before = place.partition("?")
    key, _, after = rest.partition("?")
    if before and after:
        raise ValueError("it has parameters twice")
    mount, _, path = place.partition("/")
    return Reference(
        _segments(mount, "mount"),
        _segments(path, "path"),
        _key(key),
        _version(before or after) if before or after else 0,
    )


def _segments(text: str, what: str) -> str:
    """Read a mount or path; each part of it is one name that means itself everywhere."""
    parts = [_decoded(part) for part in text.split("/")]
    if what == "mount":
        parts = parts[0].split("/")
    for part in parts:
        if not part:
            raise ValueError(f"its {what} is empty, or has an empty part")
        if part in {".", "..", "+"} or part != part.strip() or _NOT_IN_PATHS.search(part):
            raise ValueError(f"its {what} has a part that policies and addresses read otherwise")
        if what == "path" and "/" in part:
            raise ValueError("its path has a slash that is written as %2F")
    return "/".join(parts)


def _key(text: str) -> str:
    key = _decoded(text.removeprefix("/"))
    if not key:
        raise ValueError("its key is empty")
    return key


def _decoded(text: str) -> str:
    try:
        found = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("it has a % that is not UTF-8") from None
    if not found.isprintable():
        raise ValueError("it has characters that cannot be seen")
    return found


def _version(text: str) -> int:
    name, _, number = text.partition("=")
    if name != "version":
        raise ValueError("its parameter is none but version")
    if not _NUMBER.fullmatch(number):
        raise ValueError("its version is no whole number from 1")
    return int(number)


def _quoted(text: str) -> str:
    return "/".join(quote(part, safe=_SAFE) for part in text.split("/"))
