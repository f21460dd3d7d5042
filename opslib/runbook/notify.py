"""Tell people how a run ended: by apprise, to targets that are named and never written down.

A target is a setting: the environment variable OPSLIB_NOTIFY_<NAME>, or the file <name> in
notify/ of opslib's configuration folder. Its value is one address as apprise reads it
(https://github.com/caronc/apprise/wiki) and holds a secret: no address is printed, recorded
or kept in the queue. What a target does not take waits on disk under the setting's name.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import re
import secrets
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opslib.core import secrecy
from opslib.core.clock import human_seconds, stamp
from opslib.core.errors import InputError
from opslib.core.files import private_dir, write_atomic
from opslib.core.settings import state_dir
from opslib.runbook.folder import HTML, RESULT
from opslib.runbook.outcome import EXIT_CODES, Outcome
from opslib.runbook.reading import read_object

NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,62}")
OUTCOMES = tuple(one.value for one in EXIT_CODES)
DEFAULT_ON = tuple(one for one in OUTCOMES if one != Outcome.OK.value)
_VARIABLE = "OPSLIB_NOTIFY_"
_LONGEST = 1000
_MOST = 1000
"""Messages that wait at most; a target that is gone must not fill the disk."""


@dataclass(frozen=True)
class Message:
    """What is told: a line, a text of a few lines, and how grave it is to apprise."""

    title: str
    body: str
    grade: str


@dataclass(frozen=True)
class Target:
    """Where to: a named setting, or an address given at the command line (``name`` is "")."""

    name: str
    address: str

    def __repr__(self) -> str:
        return f"Target({self.name or 'of the command line'})"

    def __str__(self) -> str:
        return self.name or "the address of --notify"


@dataclass(frozen=True)
class Notifier:
    """The targets and outcomes of one run, checked before it starts."""

    targets: tuple[Target, ...]
    outcomes: frozenset[str]

    def tell(self, folder: Path) -> list[str]:
        """Send what became of the run whose record is in ``folder``; return one line per target.

        The text is that of result.json on disk, which is redacted. Never raises for a target.
        """
        message = message_of(folder)
        outcome = str(read_object(folder / RESULT).get("outcome"))
        return self.send(message, outcome)

    def send(self, message: Message, outcome: str) -> list[str]:
        """Send a message when its outcome is one of the chosen."""
        if outcome not in self.outcomes:
            return []
        return [line for one in self.targets if (line := _told(one, message))]


def notifier(targets: Sequence[str], on: Sequence[str] = ()) -> Notifier:
    """Check targets (names of settings, or addresses) and outcomes; raises InputError."""
    chosen = tuple(on) or DEFAULT_ON
    for one in chosen:
        if one not in (*OUTCOMES, "all"):
            raise InputError(
                f"{one} is no outcome",
                where="--notify-on",
                expected=f"some of {', '.join(OUTCOMES)}, or all",
            )
    found = tuple(_target(one) for one in targets)
    for target in found:
        _client(target)
    return Notifier(found, frozenset(OUTCOMES if "all" in chosen else chosen))


def message_of(folder: Path) -> Message:
    """Return what to say of a finished record: what happened, to what, how long, where it is."""
    result = read_object(folder / RESULT)
    report, parameters = result.get("report") or {}, result.get("parameters") or {}
    outcome, error = str(result.get("outcome")), result.get("error") or {}
    target = report.get("cluster") if isinstance(report, dict) else None
    if isinstance(target, dict):
        target = target.get("server")
    shown = ", ".join(f"{name}={_short(value, 60)}" for name, value in parameters.items())
    rows = [
        ("What", _short(error.get("message") or "", _LONGEST) if error else ""),
        ("Target", _short(target, 200) if target else ""),
        ("Parameters", _short(shown, 400)),
        ("Started", str(result.get("started"))),
        ("Took", human_seconds(float(result.get("seconds") or 0))),
        ("Run", str(result.get("run_id"))),
        ("Record", str(folder / HTML)),
    ]
    body = "\n".join(f"{name}: {text}" for name, text in rows if text)
    grade = "success" if outcome == Outcome.OK.value else "failure"
    return Message(f"{result.get('runbook')}: {outcome}", body, grade)


def refused(runbook: str, reason: str) -> Message:
    """Return what to say of a run that could not start: there is no record."""
    return Message(
        f"{Path(runbook).stem}: not started",
        f"What: {_short(reason, _LONGEST)}\nRecord: none, nothing was run",
        "failure",
    )


def _short(value: Any, width: int) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"


def config_dir() -> Path:
    """Return opslib's configuration folder: OPSLIB_CONFIG, else XDG's place."""
    if explicit := os.environ.get("OPSLIB_CONFIG"):
        return Path(explicit).expanduser()
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "opslib"


def _target(text: str) -> Target:
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


def _client(target: Target) -> Any:
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
    client = apprise.Apprise()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it loads 130 plug-ins, also of other libraries
        try:
            good = client.add(target.address)
        except Exception:  # noqa: BLE001  # whatever it says may hold the address
            good = False
    if not good:
        raise InputError(
            f"{target} is not an address that apprise knows",
            where="--notify",
            expected="one address, such as json://host/path or mailto://…",
        )
    return client


def _send(target: Target, message: Message) -> bool:
    client = _client(target)
    try:
        return bool(
            client.notify(body=message.body, title=message.title, notify_type=message.grade)
        )
    except Exception:  # noqa: BLE001  # a plug-in's error may hold the address; the queue has the rest
        return False


def _told(target: Target, message: Message) -> str:
    if _send(target, message):
        return ""
    if not target.name:
        return f"notification: {target} did not take it; it is lost, for only a setting can wait"
    try:
        queue(target.name, message)
    except (OSError, InputError) as error:
        return f"notification: {target} did not take it, and it could not be kept: {error}"
    return f"notification: {target} did not take it; it waits for the next run or `notify flush`"


# The queue


def queue_dir() -> Path:
    """Return the folder of the messages that wait."""
    return private_dir(state_dir() / "notify")


def queue(name: str, message: Message) -> Path:
    """Keep a message for a setting; its address is looked up when it is sent."""
    folder = queue_dir()
    if sum(1 for _ in folder.glob("*.json")) >= _MOST:
        raise InputError(f"{_MOST} messages wait already", where=str(folder))
    path = folder / f"{stamp().replace(':', '')}-{secrets.token_hex(4)}.json"
    row = {"setting": name, "title": message.title, "body": message.body, "grade": message.grade}
    write_atomic(path, json.dumps({**row, "queued": stamp()}, ensure_ascii=False), mode=0o600)
    return path


@dataclass(frozen=True)
class Flushed:
    """What became of the messages that waited; ``notes`` has a line for each that still does."""

    delivered: int
    waiting: int
    notes: tuple[str, ...] = ()


def flush() -> Flushed:
    """Send what waits, oldest first; one process at a time, each message once.

    A process that dies between the sending and the removal sends that one message again.
    """
    delivered, notes = 0, []
    with _alone() as mine:
        paths = sorted(queue_dir().glob("*.json")) if mine else []
        down: set[str] = set()
        for path in paths:
            note = _again(path, down)
            delivered += not note
            notes += [note] if note else []
    left = sum(1 for _ in queue_dir().glob("*.json"))
    return Flushed(delivered, left, tuple(dict.fromkeys(notes)))


@contextlib.contextmanager
def _alone() -> Iterator[bool]:
    """Hold the queue's lock; False when another process has it and sends already."""
    with (queue_dir() / ".lock").open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _again(path: Path, down: set[str]) -> str:
    """Try one message; return "" when it is delivered, else why it waits on."""
    try:
        row = read_object(path)
        name = str(row["setting"])
        message = Message(str(row["title"]), str(row["body"]), str(row["grade"]))
    except (OSError, InputError, KeyError) as error:
        return f"notification: {path.name} is damaged: {error}".splitlines()[0]
    if name in down:
        return f"notification: {name} did not take it"
    try:
        sent = _send(_target(name), message)
    except InputError as error:
        return f"notification: {error.what}"
    if sent:
        path.unlink()
        return ""
    down.add(name)
    return f"notification: {name} did not take it"
