"""Who signed what: heads, ranges, tags, replays; real gpg, ssh-keygen and git."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from signing import Key, People, Person, people

from opslib.core.errors import OpslibError
from opslib.core.model import Revision
from opslib.source.address import Address
from opslib.source.keyring import Ring, ring
from opslib.source.mirror import Mirror, RewrittenHistory, Source
from opslib.source.signatures import of_commits, of_tag
from opslib.source.transport import Git
from opslib.source.trust import Depth, Verification
from opslib.source.verify import Unverified, Verifier

from .conftest import Repo

PAST = "20200101T000000"
Signer = Person | Key | None


@dataclass
class Cast:
    """Everybody who signs in these tests; keys are made once."""

    all: People
    ada: Person
    eve: Person
    key: Key
    other: Key


@pytest.fixture(scope="module")
def cast() -> Iterator[Cast]:
    """Make the keys: Ada's two count, Eve's two do not."""
    with people() as made:
        yield Cast(
            made, made.person("Ada"), made.person("Eve"), made.key("ada"), made.key("eve", "eve")
        )


@dataclass
class Desk:
    """A repository and what the operator trusts; each ``fetch`` is one of an own verifier."""

    repo: Repo
    trust: Path
    lines: Path
    last: str = ""
    accepted: str = ""
    ref: str = ""
    warnings: tuple[str, ...] = field(default=())

    def commit(self, signer: Signer, subject: str = "change", *more: str) -> str:
        """Commit, signed by somebody or nobody."""
        sign = [*signer.git, "commit", "-S"] if signer else ["commit", "--no-gpg-sign"]
        self.repo.git(*sign, "--quiet", "--allow-empty", f"--message={subject}", *more)
        return self.repo.git("rev-parse", "HEAD")

    def tag(self, signer: Signer, name: str, *more: str) -> None:
        """Make an annotated tag, signed by somebody or nobody."""
        words = [*signer.git, "tag", "-s"] if signer else ["tag", "--no-sign", "-a"]
        self.repo.git(*words, f"--message={name}", name, *more)

    def fetch(self, depth: Depth = "head", *, accept: bool = False) -> Revision:
        """Fetch as a session does."""
        mirror = Mirror.open(Source(str(self.repo.path), self.ref))
        verifier = Verifier(
            Verification(depth, (self.trust, self.lines)), self.last, accept, self.accepted
        )
        revision = mirror.fetch(verifier=verifier, accept_rewrite=accept)
        self.warnings = mirror.warnings
        return revision

    def refused(self, *words: str, depth: Depth = "head", accept: bool = False) -> Unverified:
        """Fetch, be refused, and find all these words in the error."""
        with pytest.raises(Unverified) as caught:
            self.fetch(depth, accept=accept)
        for word in words:
            assert word in str(caught.value), word
        assert caught.value.exit_code == 2
        assert caught.value.where
        assert caught.value.hint
        assert caught.value.commit == caught.value.as_dict()["commit"]
        return caught.value


@pytest.fixture
def desk(repo: Repo, tmp_path: Path, cast: Cast) -> Desk:
    """Return a repository of which Ada's OpenPGP key and her ssh key are trusted."""
    trust, lines = tmp_path / "ada.asc", tmp_path / "allowed_signers"
    trust.write_bytes(cast.ada.public())
    lines.write_text(cast.key.line())
    return Desk(repo, trust, lines)


# -- the head


def test_a_head_signed_by_a_trusted_key(desk: Desk, cast: Cast) -> None:
    """OpenPGP and ssh alike; the revision names the signer and the key."""
    head = desk.commit(cast.ada)
    revision = desk.fetch()
    assert revision.commit == head
    assert revision.signed_by.startswith("Ada <ada@example.com> (key ")
    assert revision.signed_by[-17:-1] == cast.ada.fingerprint[-16:]
    desk.commit(cast.key)
    assert desk.fetch().signed_by.startswith("ada@example.com (key SHA256:")


def test_a_binary_key_counts_as_an_armored_one(desk: Desk, cast: Cast) -> None:
    """The form of the file makes no difference, nor do several keys in one."""
    desk.commit(cast.ada)
    desk.trust.write_bytes(cast.ada.public(armor=False))
    assert desk.fetch().signed_by
    desk.trust.write_bytes(cast.eve.public() + cast.ada.public())
    assert desk.fetch().signed_by


def test_an_unsigned_head(desk: Desk) -> None:
    """It is refused: by commit, author and reason."""
    head = desk.commit(None)
    error = desk.refused(head[:12], "Ann Author", "not signed", "--trust")
    assert error.commit == head
    assert error.problems == ((head, "it is not signed"),)


def test_keys_of_strangers(desk: Desk, cast: Cast) -> None:
    """A good signature by another key is refused, and the key is named."""
    desk.commit(cast.eve)
    desk.refused(cast.eve.fingerprint[-16:], "not among the trusted")
    desk.commit(cast.other)
    desk.refused("SHA256:", "not among the trusted")


def test_a_key_that_expired(desk: Desk, cast: Cast) -> None:
    """It is refused today, though the signature was made while the key was valid."""
    old = cast.all.person("Olga", clock=PAST, expires="1y")
    desk.trust.write_bytes(old.public())
    desk.commit(old)
    desk.refused("Olga <olga@example.com> has expired")


def test_a_signature_that_expired(desk: Desk, cast: Cast) -> None:
    """Its own end counts, too."""
    brief = cast.all.person("Bree", clock=PAST, options=("--default-sig-expire=10d",))
    desk.trust.write_bytes(brief.public())
    desk.commit(brief)
    desk.refused("signature by Bree", "has expired")


def test_a_revoked_key(desk: Desk, cast: Cast) -> None:
    """The revocation in the trust file counts for signatures of before it."""
    gone = cast.all.person("Rita")
    desk.commit(gone)
    desk.trust.write_bytes(gone.public())
    assert desk.fetch().signed_by
    desk.trust.write_bytes(gone.public() + gone.revocation())
    desk.refused("Rita", "was revoked")


def test_a_key_that_was_taken_out_of_the_file(desk: Desk, cast: Cast) -> None:
    """The files are read at each fetch: what was good a moment ago is refused."""
    desk.commit(cast.key)
    assert desk.fetch().signed_by
    desk.lines.write_text(cast.other.line())
    desk.refused("not among the trusted")


@pytest.mark.parametrize(
    ("options", "good"),
    [
        ("", True),
        ('namespaces="git,file"', True),
        ('namespaces="file"', False),
        ('valid-after="20200101",valid-before="20400101"', True),
        ('valid-before="20210101"', False),
        ('valid-after="20400101"', False),
    ],
)
def test_options_of_allowed_signers(desk: Desk, cast: Cast, options: str, good: bool) -> None:
    """Namespaces and times count as ssh-keygen reads them."""
    desk.commit(cast.key)
    desk.lines.write_text(cast.key.line(options))
    if good:
        assert desk.fetch().signed_by
    else:
        desk.refused("not among the trusted" if "valid" in options else "signature is bad")


def test_certificates_of_ssh(desk: Desk, cast: Cast) -> None:
    """A key counts that a trusted authority certified, for the principals of both only."""
    authority = cast.all.key("authority", "*@example.com")
    mine = cast.all.key("mine")
    authority.certify(mine, "ada@example.com")
    desk.commit(mine)
    desk.lines.write_text(authority.line("cert-authority"))
    assert desk.fetch().signed_by.startswith("ada@example.com")
    authority.principal = "*@example.org"
    desk.lines.write_text(authority.line("cert-authority"))
    desk.refused("commit")
    authority.principal = "*@example.com"
    desk.lines.write_text(authority.line(""))
    desk.refused("commit")


# -- every commit


def test_every_commit_since_the_last(desk: Desk, cast: Cast) -> None:
    """All are signed, by different people: good. What was applied before needs no signature."""
    desk.last = desk.commit(None)
    desk.commit(cast.ada)
    desk.commit(cast.key)
    head = desk.commit(cast.ada)
    assert desk.fetch("every").commit == head
    desk.last = head
    assert desk.fetch("every").commit == head


def test_an_unsigned_commit_below_a_signed_head(desk: Desk, cast: Cast) -> None:
    """With every it is refused and named, with head it is not looked at."""
    desk.last = desk.commit(cast.ada)
    bad = desk.commit(None, "smuggled")
    foreign = desk.commit(cast.eve)
    head = desk.commit(cast.ada)
    error = desk.refused(bad[:12], foreign[:12], head[:12], depth="every")
    assert error.commit == head
    assert {commit for commit, _ in error.problems} == {bad, foreign}
    assert desk.fetch("head").commit == head


def test_an_unsigned_commit_on_a_merged_branch(desk: Desk, cast: Cast) -> None:
    """A signed merge does not vouch for what it merges."""
    desk.last = desk.commit(cast.ada)
    desk.repo.git("checkout", "--quiet", "-b", "side")
    bad = desk.commit(None, "on the side")
    desk.repo.git("checkout", "--quiet", "main")
    desk.commit(cast.ada)
    merge = [*cast.ada.git, "merge", "--quiet", "-S", "--no-ff", "-m", "merge", "side"]
    desk.repo.git(*merge)
    desk.refused(bad[:12], depth="every")


def test_before_the_first_apply(desk: Desk, cast: Cast) -> None:
    """Only the head can be held against something, and a warning says so."""
    desk.commit(None)
    head = desk.commit(cast.ada)
    assert desk.fetch("every").commit == head
    assert any("only the head" in text and head[:12] in text for text in desk.warnings)
    desk.fetch("head")
    assert not any("only the head" in text for text in desk.warnings)


def test_a_history_that_is_kept_back(desk: Desk, cast: Cast) -> None:
    """A source that calls itself shallow cannot hide unsigned commits below a merged branch."""
    desk.last = desk.commit(cast.ada)
    desk.repo.git("checkout", "--quiet", "-b", "side")
    desk.commit(None, "hidden")
    tip = desk.commit(cast.ada, "in sight")
    desk.repo.git("checkout", "--quiet", "main")
    desk.commit(cast.ada)
    desk.repo.git(*cast.ada.git, "merge", "--quiet", "-S", "--no-ff", "-m", "merge", "side")
    (desk.repo.path / ".git" / "shallow").write_text(f"{tip}\n")
    desk.refused(tip[:12], "shallow", depth="every")


def test_many_commits_cost_few_processes(
    desk: Desk, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """60 commits are judged by three git processes."""
    desk.last = desk.repo.git("rev-parse", "HEAD")
    for number in range(60):
        desk.commit(cast.key, str(number))
    calls: list[tuple[str, ...]] = []
    real = Git.alone

    def counted(self: Git, *args: str, **options: object) -> object:
        calls.append(args)
        return real(self, *args, **options)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(Git, "alone", counted)
    desk.fetch("every")
    print(f"60 commits verified by {len(calls)} git processes")
    assert len(calls) == 3


# -- replay


def test_an_older_signed_commit(desk: Desk, cast: Cast) -> None:
    """A server that serves what was signed once is refused, whatever the mirror remembers."""
    old = desk.commit(cast.ada)
    desk.last = desk.commit(cast.ada)
    desk.fetch()
    desk.repo.git("reset", "--quiet", "--hard", old)
    with pytest.raises(RewrittenHistory) as caught:
        desk.fetch()
    assert caught.value.exit_code == 2
    desk.ref = old  # by its id, as an operator names it, and as a fresh mirror would see it
    error = desk.refused("older than the last applied", desk.last[:12], "--accept-rewrite")
    assert error.commit == old
    assert error.problems == ()
    assert desk.fetch(accept=True).commit == old


def test_a_fresh_mirror_refuses_a_replay_too(desk: Desk, cast: Cast, mirrors: Path) -> None:
    """What counts is the commit that the cluster has, not the memory of a mirror."""
    old = desk.commit(cast.ada)
    desk.last = desk.commit(cast.ada)
    desk.repo.git("branch", "keep")
    desk.repo.git("reset", "--quiet", "--hard", old)
    desk.refused("older", depth="every")
    desk.repo.git("branch", "--quiet", "-D", "keep")
    shutil.rmtree(mirrors)
    desk.refused("does not know the last applied")


def test_another_branch_of_history(desk: Desk, cast: Cast) -> None:
    """A signed commit beside the last applied one does not follow it; nor does another root."""
    base = desk.commit(cast.ada)
    desk.last = desk.commit(cast.ada)
    desk.repo.git("branch", "keep")
    desk.repo.git("reset", "--quiet", "--hard", base)
    desk.commit(cast.ada, "beside")
    desk.refused("does not have the last applied one in its history")
    desk.repo.git("checkout", "--quiet", "--orphan", "new")
    desk.commit(cast.ada, "another root")
    desk.ref = "new"
    desk.refused("does not have the last applied one in its history", depth="every")


def test_what_was_accepted_once_goes_on(desk: Desk, cast: Cast) -> None:
    """After a step back was accepted its descendants go on; the last applied is still far."""
    old = desk.commit(cast.ada)
    desk.last = desk.commit(cast.ada)
    desk.fetch()
    desk.repo.git("reset", "--quiet", "--hard", old)
    desk.accepted = desk.fetch("every", accept=True).commit
    assert desk.fetch("every").commit == old
    new = desk.commit(cast.ada)
    assert desk.fetch("every").commit == new
    desk.commit(None)
    desk.refused("not signed", depth="every")


def test_accepting_is_not_trusting(desk: Desk, cast: Cast) -> None:
    """--accept-rewrite waives the order of commits, never the signatures on them."""
    base = desk.repo.git("rev-parse", "HEAD")
    desk.last = desk.commit(cast.ada)
    desk.repo.git("reset", "--quiet", "--hard", base)
    bad = desk.commit(None)
    desk.refused("not signed", accept=True)
    desk.commit(cast.ada)
    desk.refused(bad[:12], depth="every", accept=True)
    assert desk.fetch("head", accept=True).signed_by
    desk.last = "1" * 40  # of a history that is lost: then all of this one must be signed
    desk.refused(base[:12], depth="every", accept=True)


def test_what_was_refused_is_not_remembered_as_used(desk: Desk, cast: Cast) -> None:
    """A bad commit that was pushed and taken back leaves no trace of a rewritten history."""
    good = desk.commit(cast.ada)
    assert desk.fetch().commit == good
    desk.commit(None)
    desk.refused("not signed")
    desk.repo.git("reset", "--quiet", "--hard", good)
    assert desk.fetch().commit == good


# -- tags


def test_a_signed_tag_counts_for_its_commit(desk: Desk, cast: Cast) -> None:
    """Also where the commit itself is not signed; the revision says that it was the tag."""
    head = desk.commit(None)
    desk.tag(cast.ada, "v1")
    desk.tag(cast.key, "v1-ssh")
    desk.ref = "v1"
    revision = desk.fetch()
    assert revision.commit == head
    assert revision.signed_by.startswith("Ada <ada@example.com>")
    assert revision.signed_by.endswith("by the tag")
    desk.ref = "v1-ssh"
    assert desk.fetch().signed_by.startswith("ada@example.com")


def test_a_tag_counts_for_no_other_commit(desk: Desk, cast: Cast) -> None:
    """With every, what is below the tagged commit needs signatures of its own."""
    desk.last = desk.repo.git("rev-parse", "HEAD")
    desk.commit(cast.ada)
    desk.commit(None)
    desk.tag(cast.ada, "v1")
    desk.ref = "v1"
    assert desk.fetch("every").signed_by
    bad = desk.commit(None)
    desk.commit(None)
    desk.tag(cast.ada, "v2")
    desk.ref = "v2"
    error = desk.refused(bad[:12], depth="every")
    assert bad in {commit for commit, _ in error.problems}


def test_a_tag_that_does_not_count(desk: Desk, cast: Cast) -> None:
    """By a stranger, unsigned or light: then the commit's own signature decides."""
    desk.commit(None)
    desk.tag(cast.eve, "eve")
    desk.tag(None, "plain")
    desk.repo.git("tag", "light")
    for name in ("eve", "plain", "light"):
        desk.ref = name
        desk.refused("not signed", "tag")
    desk.commit(cast.ada)
    desk.tag(None, "on-signed")
    desk.ref = "on-signed"
    assert not desk.fetch().signed_by.endswith("by the tag")


def test_a_signed_tag_under_another_name(desk: Desk, cast: Cast) -> None:
    """Yesterday's release cannot be served as tomorrow's."""
    desk.commit(None)
    desk.tag(cast.ada, "v1")
    desk.repo.git("update-ref", "refs/tags/v2", desk.repo.git("rev-parse", "v1"))
    desk.ref = "v2"
    desk.refused("tag", "under this name")


# -- whose word counts


@pytest.fixture
def traitor(tmp_path: Path, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the user a keyring and git settings that trust Eve, and a gpg that likes all."""
    home = tmp_path / "home"
    (home / ".gnupg").mkdir(parents=True, mode=0o700)
    (home / "signers").write_text(cast.other.line())
    yes = home / "yes"
    yes.write_text("#!/bin/sh\necho '[GNUPG:] GOODSIG 1 Ada'\necho '[GNUPG:] TRUST_FULLY'\n")
    yes.chmod(0o755)
    (home / ".gitconfig").write_text(
        f"[gpg]\n\tprogram = {yes}\n\tminTrustLevel = undefined\n"
        f'[gpg "ssh"]\n\tprogram = {yes}\n\tallowedSignersFile = {home}/signers\n'
        f'[gpg "openpgp"]\n\tprogram = {yes}\n'
    )
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GNUPGHOME", str(cast.eve.home))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "gpg.program")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", str(yes))
    return home


@pytest.mark.usefixtures("traitor")
def test_the_users_settings_and_keyring_do_not_count(desk: Desk, cast: Cast) -> None:
    """Neither git's settings, nor the environment, nor a keyring makes a stranger trusted."""
    for signer in (cast.eve, cast.other, None):
        desk.commit(signer)
        desk.refused("commit")
    desk.tag(cast.eve, "v1")
    desk.ref = "v1"
    desk.refused("commit")
    desk.ref = ""
    desk.commit(cast.ada)
    assert desk.fetch().signed_by.startswith("Ada")


def test_settings_in_the_mirror_do_not_count(desk: Desk, cast: Cast, mirrors: Path) -> None:
    """Nor does what stands in the repository's own settings, should somebody get there."""
    desk.commit(cast.ada)
    desk.fetch()
    (mirror,) = mirrors.glob("*.git")
    signers = mirror / "signers"
    signers.write_text(cast.other.line())
    Repo(mirror).git("config", "gpg.ssh.allowedSignersFile", str(signers))
    Repo(mirror).git("config", "gpg.program", "true")
    for signer in (cast.other, cast.eve):
        desk.commit(signer)
        desk.refused("not among the trusted")


def test_nothing_stays_behind(
    desk: Desk,
    cast: Cast,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The keyring is a private folder, and is gone afterwards, also after a refusal."""
    # Not below the test's own folder: gpg names a socket in the keyring, of 107 bytes at most.
    place = tmp_path_factory.mktemp("t")
    monkeypatch.setattr("tempfile.tempdir", str(place))
    modes: list[int] = []
    real = Git.alone

    def looked(self: Git, *args: str, **options: object) -> object:
        modes.extend(one.stat().st_mode & 0o777 for one in place.iterdir())
        return real(self, *args, **options)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(Git, "alone", looked)
    desk.commit(cast.ada)
    desk.fetch()
    desk.commit(None)
    desk.refused("not signed")
    assert modes == [0o700, 0o700]
    assert [path for path in place.rglob("*") if path.is_file()] == []


# -- changed bytes


def _raw(repo: Repo, commit: str) -> bytes:
    return repo.git("cat-file", "commit", commit).encode() + b"\n"


def _payload(raw: bytes) -> bytes:
    """Return what a signature is over: the commit without its gpgsig header."""
    head, rest = raw.split(b"\ngpgsig ", 1)
    lines = rest.split(b"\n")
    end = next(i for i, line in enumerate(lines) if i and not line.startswith(b" "))
    return head + b"\n" + b"\n".join(lines[end:])


def _stored(repo: Repo, raw: bytes) -> str:
    return repo.git("hash-object", "-w", "-t", "commit", "--literally", "--stdin", stdin=raw)


def _changes(repo: Repo, raw: bytes) -> Iterator[tuple[str, bytes]]:
    """Return what somebody might put under a signature: whole fields, and each single byte."""
    tree = repo.git("rev-parse", "HEAD^{tree}").encode()
    other = repo.tree(("100644", repo.blob("evil: 1\n"), "evil.yaml")).encode()
    parent = repo.git("rev-parse", "HEAD^").encode()
    yield from {
        "tree": raw.replace(tree, other),
        "parent": raw.replace(parent, repo.git("rev-parse", "HEAD").encode()),
        "no parent": raw.replace(b"parent " + parent + b"\n", b""),
        "second parent": raw.replace(b"\nauthor ", b"\nparent " + parent + b"\nauthor ", 1),
        "author": raw.replace(b"author Ann", b"author Eve", 1),
        "committer": raw.replace(b"committer Ann", b"committer Eve", 1),
        "message": raw + b"and more\n",
        "header": raw.replace(b"\n\n", b"\nencoding latin1\n\n", 1),
    }.items()
    begin, end = raw.index(b"gpgsig "), raw.rindex(b"-----END")
    for at, byte in enumerate(raw):
        if not begin < at < end or at % 5 == 0:
            yield f"byte {at}", raw[:at] + bytes([byte ^ 1]) + raw[at + 1 :]


def _good(desk: Desk, commits: Sequence[str]) -> set[str]:
    """Return those of which git, with the trusted keys, takes the signature for good."""
    git = Git(desk.repo.path / ".git", Address(str(desk.repo.path), "path"))

    def ask(keys: Ring, some: Sequence[str]) -> set[str]:
        try:
            return {one.commit for one in of_commits(git, keys, some) if one.good}
        except OpslibError:  # one of them is no commit at all: ask for each half
            half = len(some) // 2
            return ask(keys, some[:half]) | ask(keys, some[half:]) if half else set()

    with ring(Verification("head", (desk.trust, desk.lines)).load()) as keys:
        return ask(keys, commits)


@pytest.mark.parametrize("kind", ["OpenPGP", "ssh"])
def test_no_changed_commit_is_accepted(desk: Desk, cast: Cast, kind: str) -> None:
    """Exhaustive over a commit: each field, each byte of what is signed, each fifth of the rest.

    What a signature is over never changes unseen. In the signature's own armor a byte may
    change that says nothing; then all else is as it was signed.
    """
    desk.commit(cast.ada)
    head = desk.commit(cast.ada if kind == "OpenPGP" else cast.key, "what was signed")
    raw = _raw(desk.repo, head)
    assert desk.repo.git("hash-object", "-t", "commit", "--stdin", stdin=raw) == head
    changes = {_stored(desk.repo, new): (what, new) for what, new in _changes(desk.repo, raw)}
    assert head not in changes
    good = _good(desk, [*changes, head])
    assert head in good
    counts = {"refused": 0, "accepted": 0, "armor": 0}
    for commit, (what, changed) in changes.items():
        if commit not in good:
            counts["refused"] += 1
        elif _payload(changed) == _payload(raw):
            counts["armor"] += 1
        else:
            counts["accepted"] += 1
            print(f"accepted: {what}")
    print(f"{kind}: {sum(counts.values())} changed commits: {counts['refused']} refused, "
          f"{counts['armor']} changed only in armor, {counts['accepted']} accepted")  # fmt: skip
    assert counts["accepted"] == 0
    assert counts["refused"] > len(_payload(raw))


def test_no_changed_tag_is_accepted(desk: Desk, cast: Cast) -> None:
    """Exhaustive over what a tag's signature is over: where it leads, its name, its words."""
    head = desk.commit(None)
    desk.tag(cast.ada, "v1")
    raw = desk.repo.git("cat-file", "tag", "v1").encode() + b"\n"
    other = desk.repo.git("rev-parse", "HEAD^").encode()
    end = raw.index(b"-----BEGIN PGP SIGNATURE")
    changes = [raw.replace(head.encode(), other), raw.replace(b"tag v1\n", b"tag v2\n")]
    changes += [raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :] for at in range(end)]
    git = Git(desk.repo.path / ".git", Address(str(desk.repo.path), "path"))
    accepted = 0
    with ring(Verification("head", (desk.trust, desk.lines)).load()) as keys:
        assert of_tag(git, keys, "refs/tags/v1", head)
        assert not of_tag(git, keys, "refs/tags/v1", other.decode())
        for number, changed in enumerate(changes):
            tag = desk.repo.git("hash-object", "-w", "-t", "tag", "--literally", "--stdin",
                                stdin=changed)  # fmt: skip
            for name, commit in (("v1", head), ("v2", head), ("v1", other.decode())):
                if name == "v1" or number < 2:
                    (desk.repo.path / ".git" / "refs" / "tags" / name).write_text(f"{tag}\n")
                    accepted += bool(of_tag(git, keys, f"refs/tags/{name}", commit))
    print(f"{len(changes)} changed tags, {accepted} accepted")
    assert accepted == 0
