"""The fetch into a mirror, and mirrors that are broken made anew."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from pathlib import Path

from opslib.core.errors import DeadlineExceeded, OpslibError
from opslib.core.proc import Finished
from opslib.source.reasons import failure, no_room, too_slow
from opslib.source.refs import HEAD
from opslib.source.transport import Git, make_bare

BROKEN = "opslib-broken"
"""A file of this name in a mirror says that an object in it could not be read."""
MAX_PACKS = 50
MAX_LOOSE = 6700
"""As git's own gc.autoPackLimit and gc.auto: https://git-scm.com/docs/git-gc"""
_TIDY_SECONDS = 20.0

_REFS = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
_NO_HEAD = "couldn't find remote ref HEAD"
_DAMAGE = re.compile(
    r"^(?!remote:).*(not a git repository: |bad object|corrupt|unable to read|sha1 mismatch"
    r"|does not point to a valid|missing (blob|tree|commit|object)|invalid (sha1|object)"
    r"|is empty$|bad config|did not send all necessary|inflate|unable to resolve reference"
    r"|bad signature|cannot open pack|packfile|bad tree|unable to find|repository format)",
    re.MULTILINE,
)


def is_bare(folder: Path) -> bool:
    """Whether a folder looks like a whole bare repository of this user."""
    parts = ("HEAD", "config", "objects", "refs")
    whole = all((folder / part).exists() for part in parts)
    return whole and folder.stat().st_uid == os.geteuid()


def fetch_into(git: Git, deadline: float, seconds: float, *, head: bool) -> None:
    """Fetch all branches and tags, and with ``head`` the remote's HEAD, into a mirror.

    The caller holds the mirror's lock. A mirror that is absent or broken is made anew
    beside its place, and takes the place only when it is whole. ``deadline`` is on the
    monotonic clock; ``seconds`` is what the message about it says. Raises InputError.
    """
    try:
        if not is_bare(git.folder) or (git.folder / BROKEN).exists():
            _renew(git, deadline, head=head)
            return
        _clear_leftovers(git.folder)
        done = _pull(git, deadline, head=head)
        if done.code:
            _clear_leftovers(git.folder)  # half a pack may be what fills the disk
        if done.code and _DAMAGE.search(done.err.decode(errors="replace")):
            _renew(git, deadline, head=head)
        elif done.code:
            raise _failed(git, done)
        else:
            _tidy(git)
    except DeadlineExceeded:
        _clear_leftovers(git.folder)
        raise too_slow(git.address.url, seconds) from None


def _renew(git: Git, deadline: float, *, head: bool) -> None:
    place = git.folder.with_suffix(".new")
    _remove(place)
    try:
        fresh = make_bare(place, git.address)
        done = _pull(fresh, deadline, head=head)
        if done.code:
            raise _failed(git, done)
        _remove(git.folder)
        place.rename(git.folder)
    finally:
        _remove(place)


def _failed(git: Git, done: Finished) -> OpslibError:
    return no_room(str(git.folder.parent), done) or failure(git.address.url, done)


def _pull(git: Git, deadline: float, *, head: bool) -> Finished:
    options = ["--quiet", "--force", "--prune", "--no-tags", "--no-recurse-submodules"]
    options += ["--no-write-fetch-head", "--no-auto-maintenance", "--update-shallow"]
    if (git.folder / "shallow").exists():
        options.append("--unshallow")  # as far as the source itself has history
    refs = [*_REFS, *([f"+HEAD:{HEAD}"] if head else [])]
    left = deadline - time.monotonic()
    if left <= 0:
        raise DeadlineExceeded("no time is left")
    done = git.remote("fetch", *options, git.address.url, *refs, timeout=left)
    if done.code and head and _NO_HEAD in done.err.decode(errors="replace"):
        git.run("update-ref", "-d", HEAD)
        return _pull(git, deadline, head=False)
    return done


def _clear_leftovers(folder: Path) -> None:
    """Remove what a fetch left that failed: under the mirror's lock nobody else writes."""
    left = [*folder.glob("*.lock"), *(folder / "refs").rglob("*.lock")]
    left += [*(folder / "objects" / "pack").glob("tmp_*")]
    for one in left:
        with contextlib.suppress(OSError):
            one.unlink()


def _tidy(git: Git) -> None:
    """Join packs when fetches made many. Nothing is deleted: old heads stay readable."""
    objects = git.folder / "objects"
    packs = sum(1 for _ in (objects / "pack").glob("*.pack"))
    # Ids are spread evenly over 256 folders; git looks at this one, too.
    loose = sum(1 for _ in (objects / "17").glob("*"))
    if packs <= MAX_PACKS and loose <= MAX_LOOSE // 256:
        return
    with contextlib.suppress(DeadlineExceeded):
        git.run("repack", "-d", "-q", "--geometric=2", timeout=_TIDY_SECONDS)
        git.run("pack-refs", "--all", timeout=_TIDY_SECONDS)


def _remove(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    elif place.exists() or place.is_symlink():
        place.unlink()
