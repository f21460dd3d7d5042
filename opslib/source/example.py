"""Makes the example repository: the platform as it was written in 2018, then its upgrade."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import opslib
from opslib.core.errors import InputError
from opslib.core.proc import find_program, run
from opslib.source.upgrade import upgrade_folder, write

_AUTHOR = ("Payment Team", "payments@example.com")
_FIRST = ("2018-06-12T09:30:00+02:00", "Payment platform for production and staging")
_SECOND = ("2026-01-15T10:00:00+01:00", "Upgrade the manifests to the API versions served today")
_GIT_TIMEOUT = 60.0  # seconds; a commit of a dozen files takes milliseconds


def example_folder() -> Path:
    """Return the example's files in the checkout; raises InputError where there is no checkout."""
    folder = Path(opslib.__file__).resolve().parents[1] / "examples" / "payment-platform"
    if not (folder / "production").is_dir():
        raise InputError(
            "the example is not here",
            where=str(folder),
            hint="it is part of the checkout, not of the installed package: clone the repository",
        )
    return folder


def create_example(target: Path, *, upgraded: bool = True) -> str:
    """Make a Git repository of the example in ``target`` and return its head commit.

    The first commit is the platform as of 2018; with ``upgraded`` a second one is what
    the upgrade makes of it. Author and dates are fixed, and the user's Git configuration
    is not read, so that the commits have the same ids on every machine. Raises InputError
    when ``target`` is something else than an empty or absent folder.
    """
    source = example_folder()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(
            "the target is not empty", where=str(target), hint="choose a folder that does not exist"
        )
    target.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source, target, dirs_exist_ok=True, copy_function=shutil.copyfile)
    git = find_program("git", why="to make the example repository", hint="install git")
    _git(git, target, "init", "--quiet", "--template=", "--initial-branch=main")
    _commit(git, target, *_FIRST)
    if upgraded:
        for file in upgrade_folder(target):
            write(file, target)
        _commit(git, target, *_SECOND)
    return _git(git, target, "rev-parse", "HEAD").strip()


def _commit(git: str, folder: Path, date: str, subject: str) -> None:
    _git(git, folder, "add", "--all", date=date)
    _git(git, folder, "commit", "--quiet", "--no-verify", f"--message={subject}", date=date)


def _git(git: str, folder: Path, *args: str, date: str = "") -> str:
    """Run git in ``folder`` with nothing of the user's or the machine's configuration."""
    kept = ("PATH", "HOME", "TMPDIR", "SYSTEMROOT")
    name, mail = _AUTHOR
    env = {key: os.environ[key] for key in kept if key in os.environ} | {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_AUTHOR_NAME": name,
        "GIT_AUTHOR_EMAIL": mail,
        "GIT_AUTHOR_DATE": date,
        "GIT_COMMITTER_NAME": name,
        "GIT_COMMITTER_EMAIL": mail,
        "GIT_COMMITTER_DATE": date,
        "LC_ALL": "C",
    }
    options = ("-c", "core.autocrlf=false", "-c", "core.fileMode=false", "-c", "gc.auto=0")
    return run([git, *options, *args], timeout=_GIT_TIMEOUT, cwd=folder, env=env).text
