"""Who vouches for a record's head, and since when: signatures, Git, time stamps.

The keys are those that the asking person names; the record's own say is not asked. gpg,
ssh-keygen, git and openssl judge, in a keyring of these keys alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from opslib.core import scratch
from opslib.core.errors import InputError
from opslib.core.proc import find_program, run
from opslib.runbook import verify
from opslib.runbook.anchor import COMMITS, NAMESPACE, NOTES, SECONDS, TAGS
from opslib.runbook.audit import Vouching
from opslib.runbook.folder import MANIFEST
from opslib.runbook.verify import ANCHORS, Problem, Verdict
from opslib.source.address import Address
from opslib.source.keyring import Ring, ring
from opslib.source.signatures import of_commits, of_tag
from opslib.source.transport import Git
from opslib.source.trust import Trust, Verification

_BARE = re.compile(r"(?:sk-)?(?:ssh|ecdsa)-\S+ [A-Za-z0-9+/=]+(?: (.*))?")
_GOOD = re.compile(r"^\[GNUPG:\] GOODSIG (\S+) (.*)$", re.MULTILINE)
_LINE = re.compile(rf"^{NAMESPACE} (\S+) ([0-9a-f]{{64}})$", re.MULTILINE)


def vouched(folder: Path, verdict: Verdict, vouching: Vouching) -> list[Problem]:
    """Return why the record is not vouched for; who does is added to the verdict's notes.

    Raises InputError for a bad file of keys and for what is no repository.
    """
    with ring(_trust(vouching.trust)) as keys, scratch.folder("vouch-") as place:
        return list(_vouched(folder, verdict, vouching, keys, place))


def _trust(files: Sequence[Path]) -> Trust:
    """Read files of keys; a bare public ssh key counts as that of its comment."""
    bare, others = "", []
    for file in files:
        try:
            found = _BARE.fullmatch(file.read_text(encoding="utf-8").strip())
        except (OSError, UnicodeDecodeError):
            found = None
        if found:
            who = re.sub(r"[^\w@.+-]", "", found[1] or "") or "signer"
            bare += f"{who} {' '.join(found[0].split()[:2])}\n"
        else:
            others.append(file)
    rest = Verification("head", tuple(others)).load()
    return Trust(rest.keys, rest.signers + bare)


def _vouched(
    folder: Path, verdict: Verdict, vouching: Vouching, keys: Ring, place: Path
) -> Iterator[Problem]:
    files = _copies(folder, place)
    if verify.head_of(files[MANIFEST].read_bytes()) != verdict.head:
        yield Problem(MANIFEST, "this file was changed while it was read")
        return
    signed = []
    if vouching.trust:
        for name in (f"{MANIFEST}.sig", f"{MANIFEST}.asc"):
            if name in files:
                who, why = _signer(files, name, keys)
                signed += [who] if who else []
                if why:
                    yield Problem(name, f"no good signature by a key of --trust: {why}")
        verdict.notes += [f"signed by {who}" for who in signed]
    if vouching.repo:
        found = list(_in_git(vouching.repo, verdict, keys, trusted=bool(vouching.trust)))
        signed += [text for good, text in found if good and "signed by" in text]
        verdict.notes += [text for good, text in found if good]
        yield from (Problem(ANCHORS, text) for good, text in found if not good)
        if not found:
            yield Problem(ANCHORS, f"no note, commit or tag in {vouching.repo} names this head")
    if vouching.trust and not signed:
        yield Problem(MANIFEST, "nothing by which a key of --trust vouches for this record")
    if vouching.tsa:
        yield from _stamped(files, verdict, vouching.tsa)


def _copies(folder: Path, place: Path) -> dict[str, Path]:
    """Read once what is judged, so that it is what was verified; no link is followed."""
    files, source = {}, verify.Folder(str(folder))
    for name in (MANIFEST, *verify.AFTERWARDS):
        if (data := source.read(name)) is not None:
            files[name] = place / name
            files[name].write_bytes(data)
    return files


def _signer(files: dict[str, Path], name: str, keys: Ring) -> tuple[str, str]:
    """Return who signed the manifest, or "" and why that does not count."""
    manifest = files[MANIFEST]
    env = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", **keys.env}
    if name.endswith(".asc"):
        gpg = find_program("gpg", why="to verify a signature", hint="install gnupg")
        words = [gpg, "--status-fd=1", "--verify", str(files[name]), str(manifest)]
        done = run(words, timeout=SECONDS, env=env, check=False)
        good = _GOOD.search(done.text) if not done.code else None
        return (f"{good[2]} (key {good[1]})", "") if good else ("", done.last_error_line)
    ssh = find_program("ssh-keygen", why="to verify a signature", hint="install openssh-client")
    signers = str(Path(keys.env["GNUPGHOME"]) / "allowed_signers")
    words = [ssh, "-Y", "find-principals", "-s", str(files[name]), "-f", signers]
    done = run(words, timeout=SECONDS, env=env, check=False)
    why = "the key is not among them" if done.code else ""
    for who in done.text.splitlines() if not done.code else []:
        words = [ssh, "-Y", "verify", "-f", signers, "-I", who, "-n", NAMESPACE]
        words += ["-s", str(files[name])]
        done = run(words, timeout=SECONDS, env=env, stdin=manifest.read_bytes(), check=False)
        if done.code == 0 and done.text.startswith("Good "):
            return done.text.strip().removeprefix(f'Good "{NAMESPACE}" signature for '), ""
        why = (done.text or done.last_error_line).strip()
    return "", why


def _in_git(
    repo: Path, verdict: Verdict, keys: Ring, *, trusted: bool
) -> Iterator[tuple[bool, str]]:
    """Yield (good, text) for each place of the repository that speaks of this run."""
    program = find_program("git", why="to read anchors", hint="install git")
    where = run(
        [program, "-C", str(repo), "-c", "core.fsmonitor=false", "rev-parse", "--absolute-git-dir"],
        timeout=SECONDS,
        check=False,
    )
    if where.code:
        raise InputError("this is no Git repository", where=str(repo), expected="--repo PATH")
    git = Git(Path(where.text.strip()), Address(str(repo), "path"))
    for kind, name, text in _texts(git, verdict.run_id):
        for run_id, head in _LINE.findall(text):
            if run_id != verdict.run_id:
                continue
            if head != verdict.head:
                yield False, f"{kind} {name} names another head for this run: {head}"
                continue
            who, why = _who(git, keys, kind, name) if trusted else ("", "")
            if why:
                yield False, f"{kind} {name} names this head, but {why}"
            else:
                yield True, f"{kind} {name} names this head" + (f", signed by {who}" if who else "")


def _who(git: Git, keys: Ring, kind: str, name: str) -> tuple[str, str]:
    if kind == "commit":
        (one,) = of_commits(git, keys, [name])
        return (one.by, "") if one.good else ("", one.problem)
    if kind == "tag":
        commit = git.run("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").text.strip()
        who = of_tag(git, keys, name, commit)
        return (who, "") if who else ("", "it is not signed by a trusted key")
    return "", ""


def _texts(git: Git, run_id: str) -> Iterator[tuple[str, str, str]]:
    """Yield (kind, name, text) of notes, commits and the tag."""
    for line in git.run("notes", f"--ref={NOTES}", "list").text.splitlines():
        blob, _, commit = line.partition(" ")
        yield "note", f"on {commit[:12]}", git.run("cat-file", "blob", blob).text
    log = git.run("log", "--format=%H%x00%B%x01", COMMITS, "--").text
    for row in log.split("\x01"):
        name, _, text = row.strip().partition("\0")
        if name:
            yield "commit", name, text
    name = TAGS + run_id
    tag = git.run("cat-file", "tag", name)
    if tag.code == 0:
        yield "tag", name, tag.text


def _stamped(files: dict[str, Path], verdict: Verdict, authority: Path) -> Iterator[Problem]:
    name = f"{MANIFEST}.tsr"
    if name not in files:
        yield Problem(name, "there is no time stamp")
        return
    openssl = find_program("openssl", why="to verify a time stamp", hint="install openssl")
    words = [openssl, "ts", "-verify", "-data", str(files[MANIFEST]), "-in", str(files[name])]
    done = run([*words, "-CAfile", str(authority)], timeout=SECONDS, check=False)
    if done.code or "Verification: OK" not in done.text + done.err.decode(errors="replace"):
        yield Problem(name, f"the time stamp is not good: {done.last_error_line}")
        return
    told = run([openssl, "ts", "-reply", "-in", str(files[name]), "-text"], timeout=SECONDS)
    moment = re.search(r"^Time stamp: (.*)$", told.text, re.MULTILINE)
    verdict.notes.append(f"time stamp: there at {moment[1] if moment else 'an unknown time'}")
