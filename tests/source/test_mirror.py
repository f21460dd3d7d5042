"""The mirror of a source: what a fetch gives, what is remembered, what is read."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from pathlib import Path

import pytest

from opslib.core.errors import InputError, OpslibError
from opslib.source import fetching
from opslib.source.mirror import Mirror, RewrittenHistory, Source

from .conftest import Repo


def opened(repo: Repo, ref: str = "", path: str = "") -> Mirror:
    return Mirror.open(Source(str(repo.path), ref, path))


# -- fetch


def test_fetch_pins_the_default_branch(repo: Repo) -> None:
    """A fetch without a ref gives the head of the default branch, with who, when and what."""
    head = repo.commit("second: ünïcode", app__a_yaml="a: 2\n")
    revision = opened(repo, path="app").fetch()
    assert (revision.commit, revision.ref, revision.path) == (head, "main", "app")
    assert revision.url == str(repo.path)
    assert (revision.author, revision.subject) == ("Ann Author", "second: ünïcode")
    assert revision.committed_at.startswith("20")
    assert revision.committed_at[10] == "T"


@pytest.mark.parametrize("ref", ["release/1.4", "refs/heads/release/1.4", "v1", "refs/tags/v1"])
def test_fetch_of_branches_and_tags(repo: Repo, ref: str) -> None:
    """Branches, plain and annotated tags give their commit."""
    first = repo.git("rev-parse", "HEAD")
    repo.git("branch", "release/1.4")
    repo.git("tag", "--annotate", "--message=one", "v1")
    repo.commit("later")
    assert opened(repo, ref).fetch().commit == first


def test_fetch_of_a_commit(repo: Repo) -> None:
    """A whole commit id is pinned, whatever the branches do."""
    first = repo.git("rev-parse", "HEAD")
    repo.commit("later")
    mirror = opened(repo, first)
    assert mirror.fetch().commit == first
    assert mirror.warnings == ()
    with pytest.raises(InputError, match="no branch or tag has the commit"):
        opened(repo, "0" * 40).fetch()
    with pytest.raises(InputError, match="not a whole commit id") as caught:
        opened(repo, first[:10]).fetch()
    assert first in str(caught.value.hint)


def test_follows_a_branch(repo: Repo) -> None:
    """Each fetch sees the new head, and offline resolve gives the last one."""
    mirror = opened(repo, "main")
    mirror.fetch()
    head = repo.commit("next")
    assert mirror.resolve("main").commit != head
    assert mirror.fetch().commit == head
    assert mirror.resolve("").commit == mirror.resolve(head[:8]).commit == head


def test_resolve_without_a_fetch(repo: Repo) -> None:
    """Reading before any fetch says so."""
    mirror = opened(repo)
    with pytest.raises(InputError, match="not fetched yet"):
        mirror.resolve("main")
    with pytest.raises(InputError, match="not fetched yet"):
        mirror.files("0" * 40)
    assert not mirror.is_ancestor("0" * 40, "1" * 40)


def test_branch_and_tag_of_one_name(repo: Repo) -> None:
    """A branch goes before a tag of its name, and that is said."""
    repo.git("tag", "main")
    head = repo.commit("next")
    mirror = opened(repo, "main")
    assert mirror.fetch().commit == head
    assert any("branch and a tag" in text for text in mirror.warnings)


def test_vanished_branch(repo: Repo) -> None:
    """A branch that is gone is an error with near names, never an empty state."""
    repo.git("branch", "production-eu")
    mirror = opened(repo, "production-eu")
    old = mirror.fetch()
    repo.git("branch", "--move", "production-eu", "production-us")
    with pytest.raises(InputError, match=r"no branch or tag production-eu any more") as caught:
        mirror.fetch()
    assert old.short in caught.value.what
    assert "production-us" in str(caught.value.hint)


def test_empty_repository(tmp_path: Path, mirrors: Path) -> None:
    """A repository without commits is an error, with a ref and without."""
    empty = Repo(tmp_path)
    empty.git("init", "--quiet", "--bare", "none.git")
    for ref in ("", "main"):
        with pytest.raises(InputError, match="empty"):
            Mirror.open(Source(str(tmp_path / "none.git"), ref)).fetch()


def test_default_branch_that_does_not_exist(repo: Repo, tmp_path: Path) -> None:
    """A HEAD that names no branch is an error that names the branches there are."""
    repo.git("clone", "--quiet", "--bare", ".", str(tmp_path / "bare.git"))
    Repo(tmp_path / "bare.git").git("symbolic-ref", "HEAD", "refs/heads/gone")
    with pytest.raises(InputError, match="default branch") as caught:
        Mirror.open(Source(str(tmp_path / "bare.git"))).fetch()
    assert "main" in str(caught.value.hint)
    assert Mirror.open(Source(str(tmp_path / "bare.git"), "main")).fetch().ref == "main"


def test_default_branch_among_equals(repo: Repo) -> None:
    """Where several branches are at the default's commit, the right one is named."""
    for name in ("alpha", "zeta"):
        repo.git("branch", name)
    repo.git("checkout", "--quiet", "zeta")
    assert opened(repo).fetch().ref == "zeta"


def test_changed_default_branch(repo: Repo) -> None:
    """Another default branch is no rewritten history, but it is said."""
    opened(repo).fetch()
    repo.git("checkout", "--quiet", "--orphan", "other")
    head = repo.commit("other")
    mirror = opened(repo)
    assert mirror.fetch().commit == head
    assert mirror.warnings == ("the default branch was main, it is other now",)


def test_detached_head(repo: Repo) -> None:
    """A work tree on no branch is followed by its HEAD."""
    repo.commit("second")
    repo.git("checkout", "--quiet", "HEAD~1")
    repo.git("branch", "--force", "main", "HEAD~0")
    repo.git("branch", "--delete", "--force", "main")
    repo.commit("on no branch")
    revision = opened(repo).fetch()
    assert (revision.ref, revision.subject) == ("HEAD", "on no branch")


# -- history


def test_rewritten_history(repo: Repo) -> None:
    """A head that lost the last one is refused on each fetch until it is accepted."""
    old = repo.commit("to be lost")
    mirror = opened(repo, "main")
    mirror.fetch()
    repo.git("reset", "--quiet", "--hard", "HEAD~1")
    new = repo.commit("instead")
    for again in (mirror, opened(repo, "main"), mirror):
        with pytest.raises(RewrittenHistory) as caught:
            again.fetch()
        assert (caught.value.old, caught.value.new) == (old, new)
        assert old[:12] in caught.value.what
        assert new[:12] in caught.value.what
        assert "--accept-rewrite" in str(caught.value.hint)
    with pytest.raises(RewrittenHistory):
        mirror.resolve("main")
    assert caught.value.kind == "rewritten-history"
    assert mirror.read(old, "README") == b"read me\n"  # both can be looked at
    assert mirror.fetch(accept_rewrite=True).commit == new
    assert mirror.fetch().commit == new


def test_head_that_went_back(repo: Repo) -> None:
    """A branch reset to an older commit is rewritten history, too."""
    repo.commit("second")
    mirror = opened(repo)
    mirror.fetch()
    repo.git("reset", "--quiet", "--hard", "HEAD~1")
    with pytest.raises(RewrittenHistory):
        mirror.fetch()


def test_moved_tag(repo: Repo) -> None:
    """A tag that moved is refused, even forwards: tags are fixed."""
    repo.git("tag", "v1")
    mirror = opened(repo, "v1")
    mirror.fetch()
    head = repo.commit("second")
    repo.git("tag", "--force", "v1")
    with pytest.raises(RewrittenHistory, match="tag v1 was moved"):
        mirror.fetch()
    assert mirror.fetch(accept_rewrite=True).commit == head


def test_rewrite_is_seen_by_a_new_mirror(repo: Repo, mirrors: Path) -> None:
    """The last head outlives a mirror that is broken and made anew."""
    repo.commit("to be lost")
    opened(repo).fetch()
    for part in mirrors.glob("*.git/HEAD"):
        part.unlink()
    repo.git("reset", "--quiet", "--hard", "HEAD~1")
    with pytest.raises(RewrittenHistory):
        opened(repo).fetch()


def test_other_branches_may_be_rewritten(repo: Repo) -> None:
    """Only the ref that is used counts."""
    repo.git("checkout", "--quiet", "-b", "topic")
    repo.commit("one")
    mirror = opened(repo, "main")
    mirror.fetch()
    repo.git("commit", "--quiet", "--amend", "--allow-empty", "--message=two")
    assert mirror.fetch().ref == "main"


def test_pinned_commit_that_no_branch_has(repo: Repo) -> None:
    """A pinned commit that was rewritten away stays readable, with a warning."""
    old = repo.commit("to be lost")
    opened(repo, old).fetch()
    repo.git("reset", "--quiet", "--hard", "HEAD~1")
    mirror = opened(repo, old)
    assert mirror.fetch().commit == old
    assert any("no branch or tag" in text for text in mirror.warnings)


def test_is_ancestor(repo: Repo) -> None:
    """Descent is told for known commits; an unknown one is nobody's ancestor."""
    first = repo.git("rev-parse", "HEAD")
    second = repo.commit("second")
    mirror = opened(repo)
    mirror.fetch()
    assert mirror.is_ancestor(first, second)
    assert mirror.is_ancestor(first, first)
    assert not mirror.is_ancestor(second, first)
    for odd in ("0" * 40, "", "main", "--help"):
        assert not mirror.is_ancestor(odd, second)
        assert not mirror.is_ancestor(second, odd)


def test_log_and_blame(repo: Repo) -> None:
    """The log of a path names its commits, newest first; blame names a line's."""
    first = repo.git("rev-parse", "HEAD")
    second = repo.commit("change b", app__b_yaml="b: 1\nb2: 3\n")
    third = repo.commit("change a", app__a_yaml="a: 2\n")
    mirror = opened(repo)
    mirror.fetch()
    assert [r.commit for r in mirror.log(third)] == [third, second, first]
    assert [r.commit for r in mirror.log(third, "app/b.yaml")] == [second, first]
    assert [r.subject for r in mirror.log(third, "app", limit=1)] == ["change a"]
    lines = [mirror.blame(third, "app/b.yaml", number) for number in (1, 2, 3, 0, -1)]
    assert [r and r.commit for r in lines] == [first, second, None, None, None]
    with pytest.raises(InputError, match=r"no app/c\.yaml"):
        mirror.blame(third, "app/c.yaml", 1)


def test_words_of_authors_are_plain(repo: Repo) -> None:
    """Escape sequences in a subject or a name do not reach a terminal."""
    repo.git("config", "user.name", "unused")
    repo.git(
        *("-c", "user.name=Eve\x1b[31m", "commit", "--quiet", "--allow-empty"),
        "--message=red \x1b[31m \u202etxt.exe",
    )
    revision = opened(repo).fetch()
    assert revision.subject.isprintable()
    assert revision.author.isprintable()
    assert revision.subject.startswith("red")


# -- files


def test_files_and_contents(repo: Repo) -> None:
    """Files come sorted with paths from the root; contents are the commit's, byte for byte."""
    raw = bytes(range(256)) * 3
    (repo.path / "app" / "raw.bin").write_bytes(raw)
    (repo.path / "app" / "empty").touch()
    head = repo.commit("more", app2__x_yaml="x: 1\n")
    mirror = opened(repo)
    mirror.fetch()
    app = ["app/a.yaml", "app/b.yaml", "app/empty", "app/raw.bin"]
    assert mirror.files(head, "app") == mirror.files(head, "./app/") == app
    assert mirror.files(head) == ["README", *app, "app2/x.yaml"]
    assert mirror.files(head, "app/a.yaml") == ["app/a.yaml"]
    found = mirror.read_many(head, [*app, "app/a.yaml"])
    assert found["app/raw.bin"] == raw
    assert found["app/empty"] == b""
    assert mirror.read(head, "README") == b"read me\n"
    assert mirror.read_many(head, []) == {}


def test_old_commits_stay_as_they_were(repo: Repo) -> None:
    """A commit's files do not change when the work tree or the branch does."""
    first = repo.git("rev-parse", "HEAD")
    repo.commit("second", app__a_yaml="a: 2\n")
    (repo.path / "app" / "a.yaml").write_text("a: 3\n")
    mirror = opened(repo)
    head = mirror.fetch().commit
    assert mirror.read(first, "app/a.yaml") == b"a: 1\n"
    assert mirror.read(head, "app/a.yaml") == b"a: 2\n"


def test_missing_path(repo: Repo) -> None:
    """A path that does not exist is an error with near names."""
    mirror = opened(repo)
    head = mirror.fetch().commit
    for missing, near in (("ap", "app"), ("app/aa.yaml", "app/a.yaml"), ("a.yaml", "app/a.yaml")):
        with pytest.raises(InputError, match=f"no {missing} in commit {head[:12]}") as caught:
            mirror.files(head, missing)
        assert near in str(caught.value.hint)
    with pytest.raises(InputError, match="folder, not a file"):
        mirror.read(head, "app")


def test_unknown_commits(repo: Repo) -> None:
    """Reading what is no commit of the mirror is an error, not git's help."""
    mirror = opened(repo)
    mirror.fetch()
    for odd in ("0" * 40, "main", "--help", "HEAD", ""):
        with pytest.raises(InputError, match="not known"):
            mirror.files(odd)
        with pytest.raises(InputError, match="not known"):
            mirror.log(odd)


def test_export(repo: Repo, tmp_path: Path) -> None:
    """An export writes the folder's files by their paths from there, scripts executable."""
    script = repo.path / "app" / "run.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    head = repo.commit("script")
    mirror = opened(repo)
    mirror.fetch()
    mirror.export(head, "app", tmp_path / "app")
    mirror.export(head, "", tmp_path / "all")
    names = sorted(os.listdir(tmp_path / "app"))
    assert names == ["a.yaml", "b.yaml", "run.sh"]
    assert os.access(tmp_path / "app" / "run.sh", os.X_OK)
    assert not os.access(tmp_path / "app" / "a.yaml", os.X_OK)
    assert (tmp_path / "all" / "app" / "a.yaml").read_text() == "a: 1\n"
    with pytest.raises(InputError, match="not an empty folder"):
        mirror.export(head, "app", tmp_path / "app")
    with pytest.raises(InputError, match="not a folder"):
        mirror.export(head, "README", tmp_path / "none")
    assert not (tmp_path / "none").exists()


# -- folders as sources


def test_uncommitted_changes_are_said(repo: Repo) -> None:
    """Changed and new files of a work tree are warned of, and are not read."""
    mirror = opened(repo)
    mirror.fetch()
    assert not mirror.warnings
    (repo.path / "app" / "a.yaml").write_text("a: 9\n")
    (repo.path / "app" / "new.yaml").write_text("n: 1\n")
    head = mirror.fetch().commit
    (warning,) = mirror.warnings
    assert f"uncommitted changes in {repo.path} are not part of this" in warning
    assert "app/a.yaml" in warning
    assert "app/new.yaml" in warning
    assert "app/new.yaml" not in mirror.files(head)
    repo.commit("now")
    mirror.fetch()
    assert mirror.warnings == ()


def test_folder_inside_a_repository(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    """A subfolder, a relative path, ~ and file:// all mean the repository they are in."""
    monkeypatch.chdir(repo.path / "app")
    monkeypatch.setenv("HOME", str(repo.path.parent))
    forms = (str(repo.path / "app"), ".", "..", "~/repo", f"file://{repo.path}", f"{repo.path}/")
    assert {Mirror.open(Source(form)).url for form in forms} == {str(repo.path)}
    assert Mirror.open(Source(".")).fetch().url == str(repo.path)


def test_bare_and_linked_work_trees(repo: Repo, tmp_path: Path) -> None:
    """Bare repositories and linked work trees are sources, too."""
    repo.git("clone", "--quiet", "--bare", ".", str(tmp_path / "bare.git"))
    repo.git("worktree", "add", "--quiet", "-b", "side", str(tmp_path / "side"))
    assert Mirror.open(Source(str(tmp_path / "bare.git"))).fetch().ref == "main"
    side = Repo(tmp_path / "side")
    head = side.commit("aside")
    revision = Mirror.open(Source(str(tmp_path / "side"))).fetch()
    assert (revision.commit, revision.ref) == (head, "side")


def test_folders_that_are_no_repository(tmp_path: Path, mirrors: Path) -> None:
    """A folder outside any repository, a file and nothing at all are each named."""
    (tmp_path / "plain").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="not a git repository") as caught:
        Mirror.open(Source(str(tmp_path / "plain")))
    assert "git init" in str(caught.value.hint)
    assert caught.value.where == str(tmp_path / "plain")
    with pytest.raises(InputError, match="a file, not a repository"):
        Mirror.open(Source(str(tmp_path / "file")))
    with pytest.raises(InputError, match="no such folder"):
        Mirror.open(Source(str(tmp_path / "none")))


def test_shallow_clone(repo: Repo, tmp_path: Path) -> None:
    """A shallow clone is read with a warning, and its history once it has one."""
    for number in range(3):
        repo.commit(f"{number}")
    clone = Repo(tmp_path / "clone")
    repo.git("clone", "--quiet", "--depth=1", f"file://{repo.path}", str(clone.path))
    mirror = opened(clone)
    head = mirror.fetch().commit
    assert any("shallow" in text for text in mirror.warnings)
    assert len(mirror.log(head)) == 1
    clone.git("fetch", "--quiet", "--unshallow")
    assert mirror.fetch().commit == head
    assert mirror.warnings == ()
    assert len(mirror.log(head)) == 4


# -- the mirror's folder


def test_mirror_is_private_and_shared(repo: Repo, mirrors: Path) -> None:
    """All forms of one address share one mirror, which only its owner can enter."""
    opened(repo).fetch()
    Mirror.open(Source(f"file://{repo.path}", "main")).fetch()
    (folder,) = mirrors.glob("*.git")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert mirrors.stat().st_mode & 0o777 == 0o700
    assert len(folder.stem) == 64


@pytest.mark.parametrize("harm", ["head", "objects", "file", "half", "pack", "config", "lock"])
def test_broken_mirror_is_made_anew(repo: Repo, mirrors: Path, harm: str) -> None:
    """Whatever was done to a mirror, the next fetch gives the right commit."""
    opened(repo).fetch()
    (folder,) = mirrors.glob("*.git")
    head = repo.commit("next")
    if harm == "head":
        (folder / "HEAD").write_text("nonsense")
    elif harm == "objects":
        subprocess.run(["rm", "-rf", str(folder / "objects")], check=True)
        (folder / "objects").mkdir()
    elif harm == "file":
        subprocess.run(["rm", "-rf", str(folder)], check=True)
        folder.write_text("in the way")
    elif harm == "half":
        (folder / "refs").rename(folder / "gone")
    elif harm == "config":
        (folder / "config").write_text("[core")
    elif harm == "lock":
        (folder / "packed-refs.lock").touch()
        (folder / "refs" / "heads" / "main.lock").touch()
    else:
        _spoil(folder)
    mirror = opened(repo)
    assert mirror.fetch().commit == head
    assert mirror.read(head, "app/a.yaml") == b"a: 1\n"
    assert len(list(mirrors.glob("*.git"))) == 1
    assert not list(mirrors.glob("*.new"))


def _spoil(folder: Path) -> None:
    for one in (folder / "objects").rglob("*"):
        if one.is_file():
            one.chmod(0o600)
            one.write_bytes(b"spoiled")


def test_damage_found_while_reading(repo: Repo, mirrors: Path) -> None:
    """An object that cannot be read is an error, and the next fetch mends it."""
    head = opened(repo).fetch().commit
    (folder,) = mirrors.glob("*.git")
    blob = repo.git("rev-parse", "HEAD:app/b.yaml")
    for pack in folder.glob("objects/pack/*.pack"):
        moved = pack.rename(folder / "moved")
        pack.with_suffix(".idx").unlink()
        Repo(folder).git("unpack-objects", "-q", stdin=moved.read_bytes())
    (folder / "objects" / blob[:2] / blob[2:]).unlink()
    mirror = opened(repo)
    mirror.fetch()
    with pytest.raises(OpslibError, match="damaged") as caught:
        mirror.read(head, "app/b.yaml")
    assert "do it again" in str(caught.value.hint)
    mirror.fetch()
    assert mirror.read(head, "app/b.yaml") == b"b: 1\nb2: 2\n"


def test_spoiled_memory(repo: Repo, mirrors: Path) -> None:
    """A memory that cannot be read is begun anew."""
    opened(repo).fetch()
    (memory,) = mirrors.glob("*.json")
    memory.write_text("{")
    head = opened(repo).fetch().commit
    assert json.loads(memory.read_text())["heads"] == {"refs/heads/main": head}


def test_many_fetches_are_packed(
    repo: Repo, mirrors: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packs and loose objects of many fetches are joined, and all commits stay readable."""
    monkeypatch.setattr(fetching, "MAX_LOOSE", -256)
    mirror = opened(repo)
    old = repo.commit("to be lost", lost="lost\n")
    mirror.fetch()
    repo.git("reset", "--quiet", "--hard", "HEAD~1")
    commits = [repo.commit(f"{number}", n=f"{number}\n") for number in range(4)]
    mirror.fetch(accept_rewrite=True)
    mirror.fetch()
    (folder,) = mirrors.glob("*.git")
    assert list(folder.glob("objects/pack/*.pack"))
    assert mirror.read(old, "lost") == b"lost\n"
    assert [mirror.read(one, "n") for one in commits] == [b"0\n", b"1\n", b"2\n", b"3\n"]


def test_fetches_at_the_same_time(repo: Repo) -> None:
    """Several fetches of one source wait for each other and agree."""
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(opened(repo).fetch().commit)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [repo.git("rev-parse", "HEAD")] * 4


@pytest.mark.alone
def test_it_is_quick(repo: Repo) -> None:
    """Opening, fetching and reading a small repository takes well below a second."""
    mirror = opened(repo)
    mirror.fetch()
    times = []
    for _ in range(3):
        began = time.monotonic()
        mirror = opened(repo)
        head = mirror.fetch().commit
        mirror.read_many(head, mirror.files(head))
        times.append(time.monotonic() - began)
    assert min(times) < 0.75  # about 0.05 on an idle machine


def test_git_of_a_hook_is_not_followed(
    repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Variables that git sets inside a hook do not lead to another repository."""
    other = Repo(tmp_path / "other")
    other.path.mkdir()
    other.git("init", "--quiet")
    monkeypatch.setenv("GIT_DIR", str(other.path / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other.path))
    monkeypatch.setenv("GIT_TRACE", "1")
    mirror = opened(repo)
    assert mirror.fetch().commit == Repo(repo.path).git("rev-parse", "HEAD")
    assert mirror.warnings == ()
