"""Approvals given before a run: a file that names one plan, or a signed commit with a trailer.

An approval file is made from the record of a run that only planned (``opslib approve
RECORD``). It can be signed by ssh or OpenPGP. Where the operator names keys of approvers
(OPSLIB_APPROVERS), only what one of them signed counts; whatever cannot be proven is refused.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from opslib.core import scratch
from opslib.core.clock import now, parse_stamp, stamp
from opslib.core.errors import ApprovalError, InputError, OpslibError
from opslib.core.hashes import canonical_json, digest
from opslib.core.proc import find_program, run
from opslib.source.keyring import Ring, ring
from opslib.source.trust import Verification

FORMAT = "opslib.dev/approval/v1"
APPROVERS = "OPSLIB_APPROVERS"
NAMESPACE = "opslib-approval"
"""What an ssh signature is for, so that one over a commit or a mail is none over a plan."""
TRAILER, FOR_RUNBOOK = "Opslib-Approve", "Opslib-Runbook"
COMMIT_HOURS = 24
"""Hours that an approval by commit holds, from the time that its signer wrote into it."""
COMMIT_PREFIX = "commit:"

_MAX_BYTES = 100_000
_SECONDS = 30.0
_HASH = re.compile(r"[0-9a-f]{64}")
_AHEAD = timedelta(minutes=5)
"""How far two machines' clocks may differ."""
_BAD = re.compile(r"^\[GNUPG:\] (BADSIG|ERRSIG|EXPSIG|EXPKEYSIG|REVKEYSIG|NO_PUBKEY)", re.MULTILINE)
_GOOD = re.compile(r"^\[GNUPG:\] GOODSIG (\S+) (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Grant:
    """One approval. Times are RFC 3339 in UTC; "" is what it does not say.

    ``how`` is form, hash, file, commit or in-advance; ``by`` is who gave it, in their own
    word, ``signed_by`` as a signature proves it. ``source`` is the file or commit.
    """

    plan: str
    how: str
    by: str = ""
    at: str = ""
    expires: str = ""
    runbook: str = ""
    cluster: str = ""
    target: str = ""
    record: str = ""
    signed_by: str = ""
    source: str = ""

    def body(self) -> dict[str, str]:
        """Return what an approval file says, without its signature."""
        names = ("plan", "runbook", "target", "cluster", "record", "by", "at", "expires")
        return {"format": FORMAT, **{name: getattr(self, name) for name in names}}


def approvers() -> Verification:
    """Return whose signatures count for approvals: OPSLIB_APPROVERS, separated as in PATH.

    Without it no signature is asked for.
    """
    names = [name for name in os.environ.get(APPROVERS, "").split(os.pathsep) if name]
    files = tuple(Path(name).expanduser() for name in names)
    return Verification("head" if files else "none", files)


def from_record(result: Mapping[str, Any], by: str, seconds: float) -> Grant:
    """Make the approval of the plan that a record shows; it ends after ``seconds``.

    Raises InputError for a record of a run without a plan.
    """
    shown = result.get("approval")
    plan = shown.get("hash") if isinstance(shown, Mapping) else None
    if not isinstance(shown, Mapping) or not _HASH.fullmatch(str(plan)):
        raise InputError(
            "this record shows no plan that could be approved",
            where=str(result.get("run_id")),
            expected="the record of a run that reached its gate",
            hint="run the runbook in its plan mode first",
        )
    return Grant(
        str(plan),
        "file",
        by,
        stamp(),
        stamp(now() + timedelta(seconds=seconds)),
        str(result["runbook"]),
        str(shown.get("cluster") or ""),
        str(shown.get("target") or ""),
        str(result["run_id"]),
    )


def to_file(grant: Grant, sign: str = "") -> str:
    """Return the text of an approval file; ``sign`` is an ssh key's file or an OpenPGP key's id."""
    body = grant.body()
    document: dict[str, Any] = {**body, "digest": digest(body)}
    if sign:
        kind = "ssh" if Path(sign).expanduser().is_file() else "openpgp"
        words = _ssh_sign(sign) if kind == "ssh" else _gpg_sign(sign)
        done = run(words, timeout=_SECONDS, stdin=canonical_json(body))
        document["signature"] = {"kind": kind, "text": done.text}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _ssh_sign(key: str) -> list[str]:
    program = find_program("ssh-keygen", why="to sign an approval", hint="install OpenSSH 8.9")
    return [program, "-Y", "sign", "-q", "-n", NAMESPACE, "-f", str(Path(key).expanduser())]


def _gpg_sign(key: str) -> list[str]:
    program = find_program("gpg", why="to sign an approval", hint="install GnuPG 2.2 or later")
    return [program, "--batch", "--armor", "--detach-sign", "--local-user", key]


def from_source(source: str) -> Grant:
    """Read an approval: a file, or ``commit:[REPOSITORY@]REVISION``.

    Raises ApprovalError for one that cannot be trusted, whatever the reason.
    """
    try:
        if source.startswith(COMMIT_PREFIX):
            return _from_commit(source)
        return _from_file(Path(source).expanduser())
    except ApprovalError:
        raise
    except OpslibError as error:
        raise refused(str(error.what), source, error.hint) from None


def refused(why: str, where: str, hint: str | None = None) -> ApprovalError:
    """Return the error for an approval that does not count."""
    return ApprovalError(f"the approval is refused: {why}", where=where, hint=hint)


def _from_file(path: Path) -> Grant:
    where = str(path)
    document = _document(path)
    signature = document.pop("signature", None)
    named = document.pop("digest", None)
    grant = Grant("", "file", source=where)
    if set(document) != set(grant.body()) or document.get("format") != FORMAT:
        raise refused(f"this is no approval of the form {FORMAT}", where)
    if not all(isinstance(value, str) for value in document.values()):
        raise refused("a field of it is not text", where)
    if digest(document) != named:
        raise refused("the file was changed after it was made: its digest does not match", where)
    fields = {name: value for name, value in document.items() if name != "format"}
    grant = replace(grant, **fields)
    if not _HASH.fullmatch(grant.plan):
        raise refused("it names no plan", where)
    return replace(grant, signed_by=_signer(signature, canonical_json(document), where))


def _document(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
        found = json.loads(data) if len(data) <= _MAX_BYTES else None
    except OSError as error:
        raise refused(f"the file cannot be read: {error.strerror}", str(path)) from None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise refused("the file is not an approval", str(path))
    return found


def _signer(signature: Any, body: bytes, where: str) -> str:
    """Return who signed; "" where nobody has to. Raises ApprovalError for a bad signature."""
    wanted = approvers()
    if not wanted.on:
        return ""
    hint = "sign it: opslib approve RECORD --sign KEY"
    if not isinstance(signature, dict) or not isinstance(signature.get("text"), str):
        raise refused("it is not signed, and signatures are required here", where, hint)
    with ring(wanted.load()) as keys, scratch.folder("sig-") as place:
        file = place / "signature"
        file.write_text(signature["text"], encoding="utf-8")
        verify = {"ssh": _ssh_signer, "openpgp": _gpg_signer}.get(str(signature.get("kind")))
        who = verify(keys, file, body) if verify else ""
    if not who:
        raise refused("its signature is not over this text by a key of an approver", where, hint)
    return who


def _ssh_signer(keys: Ring, file: Path, body: bytes) -> str:
    """Let ssh-keygen judge: https://man.openbsd.org/ssh-keygen.1#Y~7 (verify)."""
    signers = str(Path(keys.env["GNUPGHOME"]) / "allowed_signers")
    program = find_program("ssh-keygen", why="to verify an approval", hint="install OpenSSH 8.9")
    words = [program, "-Y", "find-principals", "-s", str(file), "-f", signers]
    found = run(words, timeout=_SECONDS, stdin=b"", check=False)
    for principal in found.text.splitlines() if found.code == 0 else ():
        words = [program, "-Y", "verify", "-f", signers, "-I", principal, "-n", NAMESPACE]
        if run([*words, "-s", str(file)], timeout=_SECONDS, stdin=body, check=False).code == 0:
            return principal
    return ""


def _gpg_signer(keys: Ring, file: Path, body: bytes) -> str:
    """Let gpg judge, by its status lines: a key that expired or was revoked does not count."""
    program = find_program("gpg", why="to verify an approval", hint="install GnuPG 2.2 or later")
    done = run(
        [program, "--batch", "--status-fd=1", "--verify", file, "-"],
        timeout=_SECONDS,
        env={**os.environ, **keys.env, "LC_ALL": "C"},
        stdin=body,
        check=False,
    )
    good = _GOOD.findall(done.text)
    if done.code or _BAD.search(done.text) or len(good) != 1:
        return ""
    key, who = good[0]
    return f"{_plain(who)} (key {key})"


def _from_commit(source: str) -> Grant:
    """Read a commit whose message has the trailer, signed by an approver."""
    from opslib.source.address import Address  # noqa: PLC0415  # only where a commit approves
    from opslib.source.signatures import of_commits  # noqa: PLC0415  # as above
    from opslib.source.transport import Git, work_tree  # noqa: PLC0415  # as above

    wanted = approvers()
    if not wanted.on:
        hint = f"name the approvers' keys by --approvers or {APPROVERS}"
        raise refused("nothing says whose signed commits approve", source, hint)
    place, _, revision = source.removeprefix(COMMIT_PREFIX).rpartition("@")
    top, tree = work_tree(Address(str(Path(place or ".").expanduser().resolve()), "path"))
    git = Git(_git_folder(Path(top.url)) if tree else Path(top.url), top)
    found = git.run(
        "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"
    )
    commit = found.text.strip()
    if found.code or not commit:
        raise refused(f"there is no commit {revision}", source)
    with ring(wanted.load()) as keys:
        (signature,) = of_commits(git, keys, [commit])
    if signature.problem:
        raise refused(f"commit {commit[:12]}: {signature.problem}", source)
    at, plan, runbook = _said(git, commit, source)
    return Grant(
        plan,
        "commit",
        signature.author,
        stamp(at),
        stamp(at + timedelta(hours=COMMIT_HOURS)),
        runbook,
        signed_by=signature.by,
        source=f"commit {commit}",
    )


def _git_folder(top: Path) -> Path:
    done = run(["git", "-C", top, "rev-parse", "--absolute-git-dir"], timeout=_SECONDS)
    return Path(done.text.strip())


def _said(git: Any, commit: str, source: str) -> tuple[datetime, str, str]:
    """Return time, plan and runbook from a commit that was verified."""
    form = "%cI" + "".join(f"%x00%(trailers:key={one},valueonly)" for one in (TRAILER, FOR_RUNBOOK))
    words = ["log", "-1", "--no-show-signature", "--no-color", "--no-mailmap", f"--format={form}"]
    done = git.run(*words, commit)
    at, plans, runbooks = (*done.text.split("\0"), "", "", "")[:3]
    plan, runbook = plans.split(), runbooks.split()
    if len(plan) != 1 or not _HASH.fullmatch(plan[0]) or len(runbook) > 1:
        raise refused(f"commit {commit[:12]} has not one trailer {TRAILER}: HASH", source)
    return parse_stamp(at.strip()), plan[0], runbook[0] if runbook else ""


def problem_of(grant: Grant, *, plan: str, runbook: str, cluster: str, target: str) -> str:
    """Return why a grant does not cover this plan of this runbook; "" when it does."""
    if grant.how in {"file", "commit"} and (problem := _time_problem(grant)):
        return problem
    if (grant.how == "file" or grant.runbook) and grant.runbook != runbook:
        return f"it is for runbook {grant.runbook}, this is {runbook or 'not known by name'}"
    if grant.how == "file" and grant.cluster != cluster:
        return f"it is for cluster {grant.cluster or '(none)'}, this is {cluster or '(none)'}"
    if grant.how == "file" and grant.target != target:
        return f"it is for {grant.target}, this is {target}"
    if grant.plan != plan:
        return f"it is of another plan: {grant.plan[:12]}…; this is {plan}"
    return ""


def _time_problem(grant: Grant) -> str:
    try:
        made, ends = parse_stamp(grant.at), parse_stamp(grant.expires)
    except ValueError:
        return "its times are not readable"
    if made > now() + _AHEAD:
        return f"it was made in the future, at {grant.at}"
    return "" if now() < ends else f"it expired at {grant.expires}"


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text).strip()


def environment(approve: str = "", source: str = "", keys: Sequence[Path] = ()) -> dict[str, str]:
    """Return what tells a kernel which approval its run was given (see ``runbook.gate``).

    ``keys`` are files of approvers' keys beside those of OPSLIB_APPROVERS.
    """
    place = source
    if source.startswith(COMMIT_PREFIX):
        folder, _, revision = source.removeprefix(COMMIT_PREFIX).rpartition("@")
        place = f"{COMMIT_PREFIX}{Path(folder or '.').expanduser().resolve()}@{revision}"
    elif source:
        place = str(Path(source).expanduser().resolve())
    named = [os.environ.get(APPROVERS, ""), *(str(key.expanduser().resolve()) for key in keys)]
    return {
        "OPSLIB_APPROVE": approve,
        "OPSLIB_APPROVE_FROM": place,
        APPROVERS: os.pathsep.join(name for name in named if name),
    }
