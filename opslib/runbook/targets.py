"""Where messages go: settings and addresses, and apprise, which sends.

A target is a setting: the environment variable OPSLIB_NOTIFY_<NAME>, or the file <name> in
notify/ of opslib's configuration folder. Its value is one address as apprise reads it
(https://github.com/caronc/apprise/wiki) and holds a secret: no address is printed or recorded.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opslib.core import secrecy
from opslib.core.errors import InputError

NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,62}")
_VARIABLE = "OPSLIB_NOTIFY_"


@dataclass(frozen=True)
class Message:
    """What is told: a line, a text of a few lines, and how grave it is to apprise.

    ``key`` is the same each time that this message is sent, and of no other message.
    """

    title: str
    body: str
    grade: str
    key: str = field(default_factory=lambda: secrets.token_hex(8))


@dataclass(frozen=True)
class Target:
    """Where to: a named setting, or an address given at the command line (``name`` is "")."""

    name: str
    address: str

    def __repr__(self) -> str:
        return f"Target({self.name or 'of the command line'})"

    def __str__(self) -> str:
        return self.name or "the address of --notify"


def config_dir() -> Path:
    """Return opslib's configuration folder: OPSLIB_CONFIG, else XDG's place."""
    if explicit := os.environ.get("OPSLIB_CONFIG"):
        return Path(explicit).expanduser()
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "opslib"


def target_of(text: str) -> Target:
    """Return the target that a name of a setting, or an address, means. Raises InputError."""
    found = _addressed(text)
    secrecy.note(found.address, "notification")
    return found


def _addressed(text: str) -> Target:
    if "://" in text:
        return Target("", text)
    if not NAME.fullmatch(text):
        raise InputError(
            "--notify is neither the name of a setting nor an address",
            where="--notify",
            expected="a name such as ops, or an address such as json://host/path",
        )
    variable = _VARIABLE + text.upper().replace("-", "_")
    address = os.environ.get(variable, "").strip() or _from_file(text)
    if not address:
        raise InputError(
            f"there is no notification setting {text}",
            where=f"{variable}, {config_dir() / 'notify' / text}",
            expected="an address of apprise in one of them",
        )
    return Target(text, address)


def _from_file(name: str) -> str:
    path = config_dir() / "notify" / name
    try:
        with path.open(encoding="utf-8") as stream:
            if os.fstat(stream.fileno()).st_mode & 0o077:
                raise InputError(
                    "the file of a notification setting can be read by others",
                    where=str(path),
                    expected="mode 600: the address in it holds a secret",
                    hint=f"chmod 600 {path}",
                )
            return stream.read().strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise InputError(f"the setting cannot be read: {reason}", where=str(path)) from None


def client(target: Target) -> Any:
    """Return apprise with the target in it. Raises InputError that does not hold the address."""
    logger = logging.getLogger("apprise")
    logger.propagate = False  # it writes addresses into its log
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    try:
        import apprise  # noqa: PLC0415  # an extra, and 0.3 s
    except ImportError:
        raise InputError(
            "notifications need apprise, which is not installed",
            where="--notify",
            hint="pip install 'opslib[notify]'",
        ) from None
    one = apprise.Apprise()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it loads 130 plug-ins, also of other libraries
        try:
            good = one.add(target.address)
        except Exception:  # noqa: BLE001  # whatever it says may hold the address
            good = False
    if not good:
        raise InputError(
            f"{target} is not an address that apprise knows",
            where="--notify",
            expected="one address, such as json://host/path or mailto://…",
        )
    return one


def send(target: Target, message: Message, note: str = "") -> bool:
    """Send a message; return whether the target took it. ``note`` is one more line of its text.

    The text ends with the message's key, so that a receiver can tell that it came twice.
    """
    body = "\n".join(line for line in (message.body, f"Message: {message.key}", note) if line)
    one = client(target)
    try:
        return bool(one.notify(body=body, title=message.title, notify_type=message.grade))
    except Exception:  # noqa: BLE001  # a plug-in's error may hold the address; the queue has the rest
        return False
