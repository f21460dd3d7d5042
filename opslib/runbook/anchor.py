"""Bind a record's head to something outside of its folder: a key, a Git repository, a time stamp.

Nothing here can fail a run: what could not be done is said in anchors.json, and ``records
verify`` repeats it. The files are about manifest.json and written after it.

- a detached signature of manifest.json, by ssh-keygen (namespace opslib-record) or gpg;
- ``notes``: a line in refs/notes/opslib-records, on the commit that the runbook is of;
- ``commit``: a signed commit on refs/opslib/records, which holds the records' order as well;
- ``tag``: a signed tag opslib-record/<run id> on that commit;
- a time-stamp token by RFC 3161 from a server that is named: https://www.rfc-editor.org/rfc/rfc3161
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from opslib.core.clock import stamp
from opslib.core.errors import InputError, OpslibError
from opslib.core.files import exclusive
from opslib.core.proc import find_program, run
from opslib.runbook import verify
from opslib.runbook.folder import MANIFEST, RecordFolder, to_json

KINDS = ("notes", "commit", "tag")
NOTES, COMMITS, TAGS = (
    "refs/notes/opslib-records",
    "refs/opslib/records",
    "refs/tags/opslib-record/",
)
NAMESPACE = "opslib-record"
SECONDS = 30.0
MAX_TOKEN = 1 << 20
"""Bytes of a time server's answer; a token with its certificates is a few thousand."""


@dataclass(frozen=True)
class Anchoring:
    """What is done with a record's head. All empty: nothing.

    ``kind``: notes, commit or tag. ``sign_key``: the file of an ssh key (a public one where
    an agent has the private), or the id of an OpenPGP key. ``timestamp``: the URL of a server.
    """

    kind: str = ""
    sign_key: str = ""
    timestamp: str = ""

    @property
    def planned(self) -> list[str]:
        """What manifest.json says was asked for, so that its absence shows."""
        asked = {"signature": self.sign_key, self.kind: self.kind, "timestamp": self.timestamp}
        return [name for name, given in asked.items() if given]

    @property
    def ssh(self) -> bool:
        return Path(self.sign_key).expanduser().is_file()

    @property
    def key(self) -> str:
        return str(Path(self.sign_key).expanduser().absolute()) if self.ssh else self.sign_key

    def check(self) -> Anchoring:
        """Raise InputError for what cannot work, before a run begins."""
        if self.kind and self.kind not in KINDS:
            raise InputError(
                f"{self.kind!r} is no anchor", where="--anchor", expected=", ".join(KINDS)
            )
        if self.kind in {"commit", "tag"} and not self.sign_key:
            raise InputError(
                f"a signed {self.kind} needs a key",
                where="--sign-key",
                expected="the file of an ssh key, or the id of an OpenPGP key",
                hint="or use --anchor notes, which needs none",
            )
        if self.sign_key:
            if os.sep in self.sign_key and not self.ssh:
                raise InputError("there is no such key", where=f"--sign-key {self.sign_key}")
            _signer(self)
        if self.timestamp:
            if urlsplit(self.timestamp).scheme not in {"http", "https"}:
                raise InputError(
                    "this is no address of a time server", where="--timestamp", expected="https://…"
                )
            _openssl()
        return self


def from_environment(kind: str = "", sign_key: str = "", timestamp: str = "") -> Anchoring:
    """Return what is asked for; "" means OPSLIB_ANCHOR, OPSLIB_SIGN_KEY, OPSLIB_TIMESTAMP."""
    said = os.environ.get
    return Anchoring(
        kind or said("OPSLIB_ANCHOR", ""),
        sign_key or said("OPSLIB_SIGN_KEY", ""),
        timestamp or said("OPSLIB_TIMESTAMP", ""),
    ).check()


def anchor(
    folder: RecordFolder, head: str, project: Path, asked: Anchoring
) -> list[dict[str, Any]]:
    """Do what was asked for, leave anchors.json, return its rows; raises for a full disk alone."""
    if not asked.planned:
        return []
    files: dict[str, str] = {}

    def keep(name: str, data: bytes) -> str:
        folder.append_afterwards(name, data)
        files[name] = hashlib.sha256(data).hexdigest()
        return name

    message = f"{NAMESPACE} {_run_id(folder.path)} {head}"
    rows = [_tried(kind, work) for kind, work in _works(folder.path, project, asked, message, keep)]
    document = {"schema_version": 1, "record": head, "files": files, "anchors": rows}
    text, _ = verify.headed(to_json(document))
    folder.append_afterwards(verify.ANCHORS, text.encode("utf-8", "backslashreplace"))
    return rows


def _works(
    folder: Path, project: Path, asked: Anchoring, message: str, keep: Callable[[str, bytes], str]
) -> Iterator[tuple[str, Callable[[], str]]]:
    manifest = folder / MANIFEST
    if asked.sign_key:
        suffix = "sig" if asked.ssh else "asc"
        yield "signature", lambda: keep(f"{MANIFEST}.{suffix}", _signature(manifest, asked))
    if asked.timestamp:
        yield "timestamp", lambda: keep(f"{MANIFEST}.tsr", _token(manifest, asked.timestamp))
    if asked.kind:
        yield asked.kind, lambda: _in_git(project, asked, message)


def _tried(kind: str, work: Callable[[], str]) -> dict[str, Any]:
    row: dict[str, Any] = {"kind": kind, "time": stamp()}
    try:
        return {**row, "name": work()}
    except OpslibError as error:
        return {**row, "error": f"not done: {error.what}"}
    except OSError as error:  # urllib's errors are of the system too
        return {**row, "error": f"not done: {getattr(error, 'reason', None) or error}"}


def _run_id(folder: Path) -> str:
    return "-".join(folder.name.rsplit("-", 2)[-2:])


# --- a detached signature -----------------------------------------------------------------------


def _signer(asked: Anchoring) -> str:
    name, package = ("ssh-keygen", "openssh-client") if asked.ssh else ("gpg", "gnupg")
    return find_program(name, why="to sign a record", hint=f"install {package}")


def _signature(manifest: Path, asked: Anchoring) -> bytes:
    program, data = _signer(asked), manifest.read_bytes()
    if asked.ssh:
        words = [program, "-q", "-Y", "sign", "-f", asked.key, "-n", NAMESPACE]
    else:
        words = [program, "--batch", "--quiet", "--armor", "--local-user", asked.key]
        words += ["--detach-sign", "--output", "-"]
    env = {**os.environ, "SSH_ASKPASS_REQUIRE": "never"}
    return run(words, timeout=SECONDS, stdin=data, env=env).out


# --- a time stamp -------------------------------------------------------------------------------


def _openssl() -> str:
    return find_program("openssl", why="for time stamps", hint="install openssl")


def _token(manifest: Path, url: str) -> bytes:
    import urllib.request  # noqa: PLC0415  # 50 ms that a run without a time server saves

    words = [_openssl(), "ts", "-query", "-data", str(manifest), "-sha256", "-cert"]
    query = run(words, timeout=SECONDS).out
    request = urllib.request.Request(  # noqa: S310  # http and https alone pass Anchoring.check
        url, data=query, headers={"Content-Type": "application/timestamp-query"}
    )
    with urllib.request.urlopen(request, timeout=SECONDS / 3) as answer:  # noqa: S310  # as above
        token = bytes(answer.read(MAX_TOKEN))
    told = run(
        [_openssl(), "ts", "-reply", "-in", "/dev/stdin", "-text"], timeout=SECONDS, stdin=token
    )
    if "Status: Granted" not in told.text:
        raise OpslibError("the time server granted nothing", where=url)
    return token


# --- Git ----------------------------------------------------------------------------------------

# Nothing that a repository names is started by what is done here.
_SIGNERS = {
    "gpg.program": "gpg",
    "gpg.openpgp.program": "gpg",
    "gpg.ssh.program": "ssh-keygen",
    "gpg.ssh.defaultKeyCommand": "false",
}
_GIT = ("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "gc.auto=0")


def _in_git(project: Path, asked: Anchoring, message: str) -> str:
    """Leave the head in the project's repository; return where."""
    git = _Git(project, asked)
    place = git.text("rev-parse", "--absolute-git-dir")
    with exclusive(Path(place) / "opslib-records.lock", "the records' anchor", wait=True):
        return {"notes": git.note, "commit": git.commit, "tag": git.tag}[asked.kind](message)


class _Git:
    """git in the project's repository, with the key that signs."""

    def __init__(self, project: Path, asked: Anchoring) -> None:
        program = find_program("git", why="to anchor a record", hint="install git")
        signing = ["-c", f"gpg.format={'ssh' if asked.ssh else 'openpgp'}"]
        for name, signer in _SIGNERS.items():
            signing += ["-c", f"{name}={signer}"]
        signing += ["-c", f"user.signingKey={asked.key}"] if asked.sign_key else []
        self._words = [program, *_GIT, *signing, "-C", str(project)]
        self._env = {k: v for k, v in os.environ.items() if k not in {"GIT_DIR", "GIT_WORK_TREE"}}
        self._env |= {"GIT_TERMINAL_PROMPT": "0", "SSH_ASKPASS_REQUIRE": "never", "LC_ALL": "C"}
        if self._run("var", "GIT_COMMITTER_IDENT", check=False).code:
            for who in ("AUTHOR", "COMMITTER"):
                self._env |= {f"GIT_{who}_NAME": "opslib", f"GIT_{who}_EMAIL": "opslib@localhost"}

    def _run(self, *args: str, stdin: bytes | None = None, check: bool = True) -> Any:
        words: Sequence[str] = [*self._words, *args]
        return run(words, timeout=SECONDS, env=self._env, stdin=stdin, check=check)

    def text(self, *args: str, stdin: bytes | None = None) -> str:
        return str(self._run(*args, stdin=stdin).text.strip())

    def note(self, message: str) -> str:
        head = self.text("rev-parse", "--verify", "HEAD^{commit}")
        self._run("notes", f"--ref={NOTES}", "append", "-m", message, head)
        return f"{NOTES} on {head}"

    def commit(self, message: str) -> str:
        tree = self.text("mktree", stdin=b"")
        old = self._run("rev-parse", "--verify", "--quiet", COMMITS, check=False).text.strip()
        parents = ["-p", old] if old else []
        new = self.text("commit-tree", "-S", *parents, "-m", message, tree)
        self._run("update-ref", "-m", "opslib record", COMMITS, new, old or "0" * len(new))
        return f"{COMMITS} {new}"

    def tag(self, message: str) -> str:
        name = TAGS + message.split()[1]
        self._run("tag", "-s", "-m", message, name.removeprefix("refs/tags/"), "HEAD")
        return name
