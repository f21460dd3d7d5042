"""The proposal to take a revision back: what it says is done in a clone, by a shell."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from opslib.source.mirror import Mirror, Source
from opslib.source.revert import Proposal

TREE = {"app/a.yaml": "1", "app/sub/b.yaml": "1", "other/c.yaml": "1", "it's here/d.yaml": "1"}


def git(folder: Path, *words: str) -> str:
    """Run git as a person with a name."""
    who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", "-C", str(folder), *who, *words], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def commit(folder: Path, files: dict[str, str | None], message: str) -> str:
    """Write or remove files, and commit."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink() if text is None else path.write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", message)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """Return a repository with one commit."""
    folder = tmp_path / "repo"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    commit(folder, dict(TREE), "all is well")
    return folder


def proposed(repo: Path, tmp_path: Path, good: str, path: str = "app") -> tuple[Proposal, Path]:
    """Return the proposal from the head back to ``good``, and a clone in which it was followed."""
    mirror = Mirror.open(Source(str(repo), "", path))
    head = mirror.fetch().commit
    proposal = mirror.revert(good, head, 'it\'s $(broken) "badly"')
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(repo), str(clone)], check=True)
    script = "git config user.name Ada; git config user.email ada@example.com; "
    script += " && ".join(proposal.commands)
    subprocess.run(["bash", "-ec", script], cwd=clone, check=True, capture_output=True)
    assert git(clone, "rev-parse", f"HEAD:{path}") == git(clone, "rev-parse", f"{good}:{path}")
    assert git(clone, "log", "-1", "--format=%B").strip() == proposal.message.strip()
    assert git(clone, "status", "--porcelain") == ""
    return proposal, clone


def test_one_commit_is_reverted_by_name(repo: Path, tmp_path: Path) -> None:
    """One commit of this folder alone: git's own revert, under git's own title."""
    good = git(repo, "rev-parse", "HEAD")
    bad = commit(repo, {"app/a.yaml": "2", "app/new.yaml": "2"}, "say 'hello'; rm -rf /")
    proposal, _ = proposed(repo, tmp_path, good)
    assert proposal.commands[0] == f"git revert --no-commit {bad}"
    assert proposal.message.startswith("Revert \"say 'hello'; rm -rf /\"\n")
    assert proposal.commits == (f"{bad[:12]} say 'hello'; rm -rf / (Ada)",)


def test_several_commits_and_those_of_others(repo: Path, tmp_path: Path) -> None:
    """Commits of other folders in between are not taken back."""
    good = git(repo, "rev-parse", "HEAD")
    first = commit(repo, {"app/a.yaml": "2"}, "one")
    commit(repo, {"other/c.yaml": "2"}, "theirs")
    second = commit(repo, {"app/a.yaml": "3", "app/sub/b.yaml": None}, "two")
    proposal, clone = proposed(repo, tmp_path, good)
    assert proposal.commands[0] == f"git revert --no-commit {second} {first}"
    assert (clone / "other" / "c.yaml").read_text() == "2"


def test_a_commit_that_reaches_beyond_the_folder(repo: Path, tmp_path: Path) -> None:
    """The folder alone is restored: the other folder's change in the same commit stays."""
    good = git(repo, "rev-parse", "HEAD")
    commit(repo, {"app/a.yaml": "2", "app/new.yaml": "2", "other/c.yaml": "2"}, "both")
    proposal, clone = proposed(repo, tmp_path, good)
    assert proposal.commands[0].startswith(f"git restore --source={good} ")
    assert (clone / "other" / "c.yaml").read_text() == "2"
    assert not (clone / "app" / "new.yaml").exists()


def test_merges_are_restored(repo: Path, tmp_path: Path) -> None:
    """A merge does not revert without a choice; the folder is restored instead."""
    good = git(repo, "rev-parse", "HEAD")
    git(repo, "switch", "-qc", "side")
    commit(repo, {"app/a.yaml": "2"}, "on the side")
    git(repo, "switch", "-q", "main")
    commit(repo, {"app/sub/b.yaml": "2"}, "on main")
    git(repo, "merge", "-q", "--no-ff", "-m", "merge", "side")
    proposal, _ = proposed(repo, tmp_path, good)
    assert proposal.commands[0].startswith("git restore ")
    assert len(proposal.commits) >= 2


@pytest.mark.parametrize("path", ["it's here", ""])
def test_names_that_a_shell_would_read(repo: Path, tmp_path: Path, path: str) -> None:
    """Folders are quoted; the whole repository is a folder, too."""
    good = git(repo, "rev-parse", "HEAD")
    git(repo, "switch", "-qc", "side")
    commit(repo, {"it's here/d.yaml": "2"}, "on the side")
    git(repo, "switch", "-q", "main")
    git(repo, "merge", "-q", "--no-ff", "-m", "merge", "side")
    proposal, _ = proposed(repo, tmp_path, good, path)
    assert "git restore" in proposal.commands[0]
