"""The values of the scan: what was seen, what is told of it, what was not read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_ROTATE = "then change it at its source: it is known to whoever has a clone"
_SEAL = f"seal it (opslib seal), or refer to a vault; {_ROTATE}"
_TAKE = f"take it out, keep it in a vault or a sealed Secret; {_ROTATE}"


@dataclass(frozen=True)
class Kind:
    """What a finding can be: its name, what it says, and what to do."""

    name: str
    what: str
    remedy: str = _TAKE


_TABLE = (
    Kind("secret-value", "a value of a Secret stands in the open; base64 hides nothing", _SEAL),
    Kind(
        "unsealed-value",
        "a value of a SealedSecret is no ciphertext: it was never sealed",
        f"seal it: opslib seal set FILE KEY; {_ROTATE}",
    ),
    Kind(
        "unverified-encryption",
        "a value says that it is encrypted by SOPS, and is not, or its file has no mac",
        f"encrypt the file with sops; {_ROTATE}",
    ),
    Kind("credential", "a value whose name says that it is secret", _SEAL),
    Kind("private-key", "a private key"),
    Kind("keystore", "a key store, which holds private keys"),
    Kind("token", "a token, by its form"),
    Kind("url-credentials", "a password in a URL"),
    Kind("basic-auth", "a user name with its password, as HTTP or a registry takes it"),
    Kind("command-password", "a password in the words of a command"),
    Kind("table-value", "a value in a column or row whose heading says that it is secret"),
    Kind(
        "printed-value",
        "an output of a notebook shows what its cell asked for by a secret's name",
        f"clear the output and print no secrets; {_ROTATE}",
    ),
    Kind(
        "terraform-value",
        "a value that Terraform keeps as sensitive",
        f"keep the state in an encrypted backend, out of Git; {_ROTATE}",
    ),
    Kind(
        "unread",
        "not looked at",
        "make it readable, or smaller; or except it in scan.yaml with a reason and a date",
    ),
)
KINDS: Mapping[str, Kind] = {one.name: one for one in _TABLE}


@dataclass(frozen=True)
class Seen:
    """One value that was seen in a file: 1-based line, pointer to it, what it is.

    ``detail`` names the form ("GitHub token"). ``value`` is for telling the same value again;
    it never leaves the process.
    """

    kind: str
    line: int
    key: str
    value: str = field(repr=False)
    detail: str = ""


@dataclass(frozen=True)
class Origin:
    """The commit that brought a value first, and where HEAD still has it ("" nowhere)."""

    commit: str
    author: str
    date: str
    head: str = ""


@dataclass(frozen=True)
class Exempt:
    """What excuses a finding: the exception's reason and last day."""

    reason: str
    expires: str


@dataclass(frozen=True)
class Finding:
    """One leak: where it is and what to do; never what it is."""

    kind: str
    path: str
    line: int
    key: str
    detail: str = ""
    origin: Origin | None = None
    count: int = 1
    """Versions of the file that hold it, in a history."""
    exempt: Exempt | None = None

    @property
    def what(self) -> str:
        text = KINDS[self.kind].what
        return f"{text} ({self.detail})" if self.detail else text

    @property
    def remedy(self) -> str:
        return KINDS[self.kind].remedy

    @property
    def where(self) -> str:
        return f"{self.path}:{self.line}" if self.line else self.path

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        made: dict[str, Any] = {
            "kind": self.kind,
            "path": self.path,
            "line": self.line,
            "key": self.key,
            "what": self.what,
            "remedy": self.remedy,
        }
        if self.origin:
            made |= {
                "commit": self.origin.commit,
                "author": self.origin.author,
                "date": self.origin.date,
                "in_head": bool(self.origin.head),
                "head": self.origin.head or None,
                "versions": self.count,
            }
        if self.exempt:
            made["exception"] = vars(self.exempt)
        return made

    def __str__(self) -> str:
        key = f" {self.key}" if self.key else ""
        text = f"{self.where}: {self.kind}:{key}: {self.what}"
        if self.origin:
            one = self.origin
            still = f"still in HEAD at {one.head}" if one.head else "no longer in HEAD"
            text += f"\n    since {one.commit[:12]} of {one.date} by {one.author}; {still}"
        return f"{text}\n    to do: {self.remedy}"


@dataclass(frozen=True)
class Unread:
    """A file of which not all was read by its structure; ``failing``: it counts as a finding."""

    path: str
    why: str
    failing: bool = False

    def as_dict(self) -> dict[str, Any]:
        return vars(self)

    def __str__(self) -> str:
        return f"{self.path}: {self.why}"


@dataclass(frozen=True)
class Report:
    """All that a scan tells. ``findings`` count; ``excused`` are those an exception covers."""

    findings: tuple[Finding, ...] = ()
    excused: tuple[Finding, ...] = ()
    unread: tuple[Unread, ...] = ()
    notes: tuple[str, ...] = ()
    """What else a person should know: exceptions that ended or match nothing, left-out files."""
    files: int = 0
    commits: int = 0

    @property
    def ok(self) -> bool:
        return not self.findings

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "ok": self.ok,
            "files": self.files,
            "commits": self.commits,
            "findings": [one.as_dict() for one in self.findings],
            "excused": [one.as_dict() for one in self.excused],
            "unread": [one.as_dict() for one in self.unread],
            "notes": list(self.notes),
        }
