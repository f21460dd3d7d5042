"""Which values are secret: every place that hands one out notes it here, before it hands it out.

Values are held in memory only, never written. In the kernel of a run each new value is told
to the runner first, over a private socket, and ``note`` returns once the runner knows it: what
is printed later cannot reach the record before the value is known there.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import os
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from opslib.core.errors import OpslibError

SOCKET = "OPSLIB_SECRECY_SOCKET"
"""Environment of the kernel: the runner's socket, in a folder that only its owner can enter."""
OPEN, CLOSE = "\u2039", "\u203a"
"""Around a mask: letters that no format escapes and no secret is likely to have."""
MOST_VALUES = 20_000
MOST_BYTES = 65_536
"""Of a longer value its first 64 KiB are known; of more values the oldest are forgotten."""
STRONG, WEAK = 8, 6
"""Characters: a value shorter than STRONG is sought as a whole word, one below WEAK is not."""
_ACK_SECONDS = 10.0

# Single words that Secrets hold often and texts hold always: seeking them would blacken both.
_COMMON_WORDS = """true false null none yes no on off postgres postgresql mysql mariadb redis
mongodb rabbitmq kafka root admin administrator user username password passwd secret secrets
token default public private example changeme test testing staging production development
localhost service services database payments kubernetes opaque enabled disabled info debug
warning error ok failed timeout interrupted denied skipped running completed pending string
number object boolean array integer"""
_COMMON = frozenset(_COMMON_WORDS.split())
_HARMLESS_KEYS = re.compile(
    r"(?:^|[/_.\-])(?:user(?:name)?|login|host(?:name)?|server|port|db|db_?name|database|schema"
    r"|namespace|region|bucket|endpoint|type|name|issuer|email|realm)$",
    re.IGNORECASE,
)
_NAME = re.compile(
    r"[a-z]+(?:[-._][a-z]+)*\d{0,3}(?::\d{1,5})?|\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?"
)
_TELLING = re.compile(
    r"pass(?:word|wd|phrase)?|pwd|secret|token|api_?key|access_?key|private_?key|credential|auth",
    re.IGNORECASE,
)
_LINE = re.compile(
    r"""^\s*(?:export\s+)?["']?([\w.\-]+)["']?\s*[:=]\s*["']?([^"'\s]+)""", re.MULTILINE
)
_URL = re.compile(r"://[^\s/:@]{0,256}:([^\s/@]{3,1024})@")
_PUBLIC = re.compile(
    r"\s*(?:-----BEGIN (?:CERTIFICATE|PUBLIC KEY)-----[^-]+-----END [A-Z ]+-----\s*)+"
)
# The words of the record itself: seeking one would break the record, a piece of one might.
_STRUCTURE = """cell_type execution_count nbformat_minor output_type display_data metadata outputs
papermill parameters kernelspec language_info display_name schema_version run_id runbook outcome
exit_code application/vnd.opslib.result+json text/plain text/html traceback ename evalue never-run
kernel-dead kernel-start kernel-output cell-start cell-end run-start run-end injected-parameters
start_time end_time duration exception description heading surroundings revision notebook
platform"""


@dataclass(frozen=True)
class Known:
    """One secret value. ``number`` counts from 1 in the order of noting; weak: see ``note``.

    ``line``: it is one line of a longer value, which is sought in all encodings itself.
    """

    value: str
    label: str
    number: int
    weak: bool = False
    line: bool = False

    def __repr__(self) -> str:
        return f"Known({self.label!r}, #{self.number})"


class Registry:
    """The values that are known in this process. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._known: dict[str, Known] = {}
        self._count = 0
        self.version = 0
        self.tell: Callable[[str, str], None] | None = None

    def note(self, value: str | bytes | None, label: str) -> None:
        """Register a value, and the parts of it that are secrets of their own.

        See the function ``note``.
        """
        _no_core_dumps()
        text = _text(value)
        with self._lock:
            for one, name in [(text, label), *_parts(text, label)]:
                self._add(one[:MOST_BYTES], name)
            for one in _lines(text):
                self._add(one, label, line=True)

    def _add(self, text: str, label: str, *, line: bool = False) -> None:
        if text in self._known or not sought(text, label):
            return
        if self.tell is not None:
            self.tell(text, label)
        self._count += 1
        self._known[text] = Known(text, _clean(label), self._count, is_weak(text), line)
        if len(self._known) > MOST_VALUES:
            del self._known[next(iter(self._known))]
        self.version += 1

    def known(self) -> tuple[Known, ...]:
        """Return all values, the oldest first."""
        with self._lock:
            return tuple(self._known.values())


def sought(text: str, label: str = "") -> bool:
    """Tell whether a value is sought at all: long enough, not a common word, not public."""
    stripped = text.strip()
    if len(stripped) < WEAK or stripped.lower() in _COMMON or stripped in _STRUCTURE.split():
        return False
    if _HARMLESS_KEYS.search(label) and _NAME.fullmatch(stripped) and len(stripped) < 64:
        return False
    if stripped.isdigit() and len(stripped) < STRONG:
        return False
    return len(set(stripped)) > 2 and not _PUBLIC.fullmatch(text)


def is_weak(text: str) -> bool:
    """Tell whether a value is sought as a whole word only, because texts may hold it by chance."""
    return len(text) < STRONG or text in _STRUCTURE


def _text(value: str | bytes | None) -> str:
    """Return a value as it is sought; bytes that are no text as ``raw`` reads them."""
    if not isinstance(value, bytes):
        return value or ""
    return value[: 4 * MOST_BYTES].decode("utf-8", "surrogateescape")


def raw(value: str) -> bytes:
    """Return the bytes of a known value: of what is no text, those that were noted."""
    try:
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a character, from JSON
        return value.encode("utf-8", "surrogatepass")


@functools.cache
def _no_core_dumps() -> None:
    """Let no crash write this process's memory, with its secrets, to a disk; nor its children's.

    A system that pipes them to a program of its own does not ask:
    https://man7.org/linux/man-pages/man5/core.5.html
    """
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource  # noqa: PLC0415  # not on every system

        _, most = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0, most))


def _clean(label: str) -> str:
    """Return a label that no file format has to escape."""
    return re.sub(r"[^\w./@-]+", "_", label)[:60] or "value"


def _parts(text: str, label: str) -> Iterator[tuple[str, str]]:
    """Find the secrets inside a value: passwords of URLs, fields of JSON, lines of a key."""
    for match in _URL.finditer(text):
        yield from ((match[1], label), (unquote(match[1]), label))
    if text.lstrip()[:1] in ("{", "["):
        with contextlib.suppress(ValueError, RecursionError):
            yield from _leaves(json.loads(text), label, telling=False)
    if "\n" in text.strip():
        for name, value in _LINE.findall(text):
            if _TELLING.search(name):
                yield value, f"{label}/{name}"
    elif text != text.strip():
        yield text.strip(), label


def _lines(text: str) -> Iterator[str]:
    """Return the lines of a longer value that are long enough to be a secret by themselves."""
    if "\n" in text.strip():
        for line in map(str.strip, text.splitlines()):
            if len(line) >= 16 and not line.startswith(("-----", "#")):
                yield line


def _leaves(value: Any, label: str, *, telling: bool) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, one in value.items():
            inner = telling or _TELLING.search(str(key)) is not None
            yield from _leaves(one, f"{label}/{key}", telling=inner)
    elif isinstance(value, list):
        for one in value:
            yield from _leaves(one, label, telling=telling)
    elif isinstance(value, str) and telling:
        yield value, label
        with contextlib.suppress(ValueError):  # docker's "auth" is base64 of user:password
            _, sign, password = base64.b64decode(value, validate=True).decode().partition(":")
            if sign:
                yield password, label


REGISTRY = Registry()


def note(value: str | bytes | None, label: str) -> None:
    """Register a secret value before it is handed out. ``label`` names it, and is shown.

    Not sought, as that would blacken what is no secret: values of fewer than 6 characters,
    digits of fewer than 8, one or two characters repeated, common words ("true", "postgres"),
    the words of the record's own structure, and names in small letters under a key that says
    that they are no secret (username, host, database …). Sought as whole words only: 6 and 7
    characters, pieces of the structure's words. Everything else is sought in all encodings.
    Passwords in URLs, telling fields of JSON and lines of a longer text are registered too.
    Public certificates are not. Raises OpslibError when the runner does not take the value.
    """
    REGISTRY.note(value, label)


def note_object(manifest: Any) -> None:
    """Register the values of a Secret, a list of Secrets, or a watch event that holds one."""
    if not isinstance(manifest, Mapping):
        return
    if isinstance(manifest.get("object"), Mapping):
        note_object(manifest["object"])
    kind = manifest.get("kind")
    if kind == "Secret" and manifest.get("apiVersion") == "v1":
        _note_secret(manifest)
    elif kind in {"SecretList", "List"}:
        for one in manifest.get("items") or []:
            # Items of a list carry no kind of their own.
            note_object({"kind": "Secret", "apiVersion": "v1", **one} if kind != "List" else one)
    elif kind == "TokenRequest":
        note((manifest.get("status") or {}).get("token"), "serviceaccount/token")


def _note_secret(manifest: Mapping[str, Any]) -> None:
    metadata = manifest.get("metadata")
    name = metadata.get("name", "secret") if isinstance(metadata, Mapping) else "secret"
    for field in ("data", "stringData"):
        values = manifest.get(field)
        for key, value in values.items() if isinstance(values, Mapping) else ():
            if not isinstance(value, str):
                continue
            plain: str | bytes = value
            if field == "data":
                with contextlib.suppress(ValueError):
                    plain = base64.b64decode(value, validate=True)
            note(plain, f"{name}/{key}")


class Line:
    """The kernel's end of the channel: one value at a time, each acknowledged."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._socket: socket.socket | None = None
        self._owner = 0

    def __call__(self, value: str, label: str) -> None:
        """Tell the runner; return once it knows. Raises OpslibError when it does not answer."""
        body = json.dumps([value, label]).encode()
        try:
            line = self._open()
            line.sendall(struct.pack(">I", len(body)) + body)
            answer = line.recv(1)
        except (FileNotFoundError, ConnectionError):
            return  # the runner is gone: nobody writes a record any more
        except OSError as error:
            raise _untold(str(error)) from None
        if answer not in (b"\x06", b""):
            raise _untold("its answer is not understood")

    def close(self) -> None:
        """Close the line; the next value opens it again."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _open(self) -> socket.socket:
        if self._socket is None or self._owner != os.getpid():  # a fork has a line of its own
            self.close()
            line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            line.settimeout(_ACK_SECONDS)
            line.connect(self._address)
            self._socket, self._owner = line, os.getpid()
        return self._socket


def _untold(why: str) -> OpslibError:
    return OpslibError(
        f"a secret is not handed out: the runner could not be told of it ({why})",
        expected="an answer within 10 s, so that the value can be kept out of the record",
        hint="run it again; if it stays, see whether the runner's process hangs",
    )


if address := os.environ.get(SOCKET):
    REGISTRY.tell = Line(address)
