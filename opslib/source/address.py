"""Where a repository is: the forms of address that are allowed, without the secrets in them.

Allowed are a folder (plain, with ``~``, or file://), https://, http://, ssh:// and
user@host:path. Everything else is refused, remote helpers (``ext::``, ``fd::``) above all:
they are commands, see https://git-scm.com/docs/git-remote-ext.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, unquote, urlsplit

from opslib.core import secrecy
from opslib.core.errors import InputError

FORMS = "a folder, file://, https://, http://, ssh:// or user@host:path"
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?\.?|\[[0-9a-f:.]+\]")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")
_SCP = re.compile(r"([^/@]*)@(\[[^\]/]*\]|[^/:@]+):(.+)")
_HELPER = re.compile(r"[A-Za-z0-9.+_-]*::")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Address:
    """A repository's address. ``url`` carries no credentials and may be shown and stored."""

    url: str
    kind: Literal["path", "http", "ssh"]
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be printed: also a user name, which may be a token."""
        return tuple(word for word in (self.password, self.username) if word)

    @property
    def scope(self) -> str:
        """Scheme, host and port: what the credentials are for, as gitcredentials(7) matches."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"


def without_credentials(text: str) -> str:
    """Return an address as it may be shown: user, password and query taken out."""
    text = re.sub(r"(?<=//).*@", "", text) if "://" in text else text
    text = re.sub(r"[?#].*", "", text, flags=re.DOTALL) if "://" in text else text
    return _CONTROL.sub("�", text)


def parse_address(text: str) -> Address:
    """Read and normalize an address: scheme and host in small letters, no slash at the end.

    Folders become absolute; whether they are repositories is not looked at. Raises
    InputError, naming the address without its credentials, for every other form.
    """
    text = text.strip(" ")
    _refuse_tricks(text)
    if "://" in text:
        return _from_url(text)
    if match := _SCP.fullmatch(text):
        user, host, path = match.groups()
        if path.startswith("-") or ":" in user:
            raise _refused(text, "this is no address of a repository")
        _check_login(text, user, host.lower())
        return Address(f"{user}@{host.lower()}:{path.rstrip('/') or '/'}", "ssh")
    return _from_path(text, text)


def _refuse_tricks(text: str) -> None:
    if not text:
        raise InputError("no repository is named", where="--repo", expected=FORMS)
    if _CONTROL.search(unquote(text)):
        raise _refused(text, "the address contains control characters")
    if text.startswith("-"):
        raise _refused(text, "an address cannot start with a dash")
    if helper := _HELPER.match(text):
        raise _refused(text, f"{helper[0]} runs a command and is not allowed")


def _from_url(text: str) -> Address:
    scheme = text.partition("://")[0].lower()
    if scheme not in {"file", "https", "http", "ssh"}:
        raise _refused(text, f"{without_credentials(scheme)}:// is not allowed")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise _refused(text, "this is no URL: its host or port cannot be read") from None
    if scheme == "file":
        if parts.netloc.lower() not in {"", "localhost"}:
            raise _refused(text, "file:// names a folder of this machine, not of a host")
        return _from_path(text, unquote(text.split("://", 1)[1][len(parts.netloc) :]))
    if parts.query or parts.fragment or "?" in text or "#" in text:
        raise _refused(text, "the URL of a repository has neither ? nor #")
    return _remote(text, scheme, parts, port)


def _remote(text: str, scheme: str, parts: SplitResult, port: int | None) -> Address:
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    secrecy.note(password, "git/password")
    secrecy.note(unquote(parts.password or "") and parts.password, "git/password")
    if scheme != "ssh" and not password:
        secrecy.note(user, "git/token")  # a name alone is a token, as hosts of Git have them
    _check_login(text, user if scheme == "ssh" else "", host)
    standard = {"https": 443, "http": 80, "ssh": 22}[scheme]
    place = host if port in {None, standard} else f"{host}:{port}"
    path = parts.path.rstrip("/")
    if scheme != "ssh":
        return Address(f"{scheme}://{place}{path}", "http", user, password)
    if password:
        raise _refused(
            text, "ssh takes no password in the address", hint="use a key (ssh-agent) instead"
        )
    if not path:
        raise _refused(text, "the address names no repository on its host")
    login = f"{user}@" if user else ""
    return Address(f"ssh://{login}{place}{path}", "ssh")


def _check_login(text: str, user: str, host: str) -> None:
    if not _HOST.fullmatch(host):
        raise _refused(text, "this is no host's name")
    if user and not _USER.fullmatch(user):
        raise _refused(text, "this is no user's name")


def _from_path(text: str, path: str) -> Address:
    try:
        place = Path(path).expanduser().resolve()
    except (RuntimeError, OSError):
        raise _refused(text, "the folder cannot be found") from None
    if not place.is_dir():
        what = "this is a file, not a repository" if place.exists() else "there is no such folder"
        raise InputError(what, where=without_credentials(str(place)), expected=FORMS)
    return Address(str(place), "path")


def _refused(text: str, what: str, *, hint: str | None = None) -> InputError:
    shown = without_credentials(text)
    return InputError(
        what, where=shown if len(shown) < 200 else f"{shown[:200]}…", expected=FORMS, hint=hint
    )
