"""Git itself, run so that nothing in a repository or an address can make it run something else.

What a user has set up for reaching repositories stays in force: credential helpers, ssh
keys, proxies, ``url.<base>.insteadOf``. What a repository could bring is switched off.
"""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from opslib.core.errors import DeadlineExceeded, InputError, OpslibError
from opslib.core.proc import Finished, end_group, find_program, run
from opslib.source.address import Address
from opslib.source.reasons import failure

LOCAL_SECONDS = 60.0
LOOK_SECONDS = 5.0
MAX_LISTING = 64 * 1024 * 1024
"""Bytes that one listing may have: a few hundred thousand files."""

# Inherited of git's own variables: how to reach and log in, and where the user's settings
# are. Not GIT_DIR and its kin (set inside a hook), nor GIT_TRACE (prints credentials).
_KEPT = re.compile(
    r"GIT_(SSH|SSH_COMMAND|SSH_VARIANT|ASKPASS|SSL_\w+|HTTP_\w+|PROXY_\w+|EXEC_PATH"
    r"|CONFIG_(GLOBAL|SYSTEM|NOSYSTEM|COUNT|KEY_\d+|VALUE_\d+))"
)
_ALLOWED = ("file", "http", "https", "ssh")
_SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.quotePath=false",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "transfer.fsckObjects=true",
    "fetch.fsckObjects=true",
    # Slips of programs of long ago, in the history of many a repository; all are harmless.
    "fetch.fsck.zeroPaddedFilemode=ignore",
    "fetch.fsck.badTimezone=ignore",
    "fetch.fsck.missingSpaceBeforeDate=ignore",
    "transfer.bundleURI=false",
    "i18n.logOutputEncoding=UTF-8",
    "blame.ignoreRevsFile=",
    "safe.bareRepository=all",
    "gc.auto=0",
    "maintenance.auto=false",
    "protocol.allow=never",
    "protocol.ext.allow=never",
    *(f"protocol.{name}.allow=always" for name in _ALLOWED),
)
_OPTIONS = tuple(word for one in _SETTINGS for word in ("-c", one))

# The shell in this text is git's own way to call a helper; the words of the address are
# not in it but in the environment, which only the user's own processes can read.
_HELPER = (
    '!f() { test "$1" = get && printf "username=%s\\npassword=%s\\n"'
    ' "$OPSLIB_GIT_USERNAME" "$OPSLIB_GIT_PASSWORD"; }; f'
)


@dataclass(frozen=True)
class Git:
    """Git on one bare repository (``folder``), for one address."""

    folder: Path
    address: Address

    def run(
        self, *args: str, timeout: float = LOCAL_SECONDS, stdin: bytes | None = None
    ) -> Finished:
        """Run git without network and return what it printed, whatever its exit code."""
        return run(
            [_program(), *_OPTIONS, f"--git-dir={self.folder}", *args],
            timeout=timeout,
            env=_environment(allow="none"),
            stdin=stdin,
            cwd=self.folder,
            check=False,
        )

    def alone(
        self,
        *args: str,
        settings: Sequence[str],
        env: Mapping[str, str],
        timeout: float = LOCAL_SECONDS,
        stdin: bytes | None = None,
    ) -> Finished:
        """Run git without network and without the user's settings: these ``settings`` alone.

        For verdicts, which nobody's settings may change. ``env`` is added to the environment.
        """
        words = [word for one in settings for word in ("-c", one)]
        return run(
            [_program(), *_OPTIONS, *words, f"--git-dir={self.folder}", *args],
            timeout=timeout,
            env=_without_settings(_environment(allow="none")) | dict(env),
            stdin=stdin,
            cwd=self.folder,
            check=False,
        )

    def piped(
        self, *args: str, stdin: int | IO[bytes] = subprocess.DEVNULL, index: str = ""
    ) -> subprocess.Popen[bytes]:
        """Start git without network, to be read as it goes; whoever starts it ends it.

        ``index`` is the index file that is read, where it is not the repository's own (a hook
        of a partial commit has one of its own).
        """
        env = _environment(allow="none") | ({"GIT_INDEX_FILE": index} if index else {})
        return subprocess.Popen(
            [_program(), *_OPTIONS, f"--git-dir={self.folder}", *args],
            env=env,
            cwd=self.folder,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def remote(self, *args: str, timeout: float) -> Finished:
        """Run a git command that reaches the address; secrets are taken out of its errors."""
        done = run(
            [_program(), *_OPTIONS, f"--git-dir={self.folder}", *args],
            timeout=timeout,
            env=self._remote_environment(),
            cwd=self.folder,
            check=False,
        )
        return Finished(done.args, done.code, done.out, self._scrubbed(done.err))

    def listing(self, *args: str, timeout: float = LOCAL_SECONDS) -> bytes | None:
        """Return what a local git command prints; None when it fails.

        Raises InputError when it is more than MAX_LISTING bytes: a tree of a few objects
        can name more files than a disk can hold.
        """
        command = [_program(), *_OPTIONS, f"--git-dir={self.folder}", *args]
        with subprocess.Popen(
            command,
            env=_environment(allow="none"),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process:
            timer = threading.Timer(timeout, end_group, [process.pid])
            timer.start()
            out = None
            try:
                out = process.stdout.read(MAX_LISTING + 1) if process.stdout else b""
            finally:
                timer.cancel()
                if out is None or len(out) > MAX_LISTING:
                    end_group(process.pid)
        if len(out) > MAX_LISTING:
            raise InputError(
                "this commit has too many files to be a desired state",
                where=self.address.url,
                expected=f"a list of files of at most {MAX_LISTING >> 20} MB",
            )
        return out if process.returncode == 0 else None

    def _remote_environment(self) -> dict[str, str]:
        env = _environment(allow=":".join(_ALLOWED))
        address = self.address
        if address.password:
            env |= {
                "OPSLIB_GIT_USERNAME": address.username,
                "OPSLIB_GIT_PASSWORD": address.password,
            }
            # The empty helper makes git forget the user's own, which would store these.
            _add_config(env, "credential.helper", "")
            _add_config(env, f"credential.{address.scope}.helper", _HELPER)
        elif address.username:
            _add_config(env, f"credential.{address.scope}.username", address.username)
        if address.kind == "ssh" and not {"GIT_SSH", "GIT_SSH_COMMAND"} & env.keys():
            own = self.run("config", "--get", "core.sshCommand").text.strip()
            env["GIT_SSH_COMMAND"] = own or "ssh -o BatchMode=yes"
        return env

    def _scrubbed(self, err: bytes) -> bytes:
        for secret in self.address.secrets:
            err = err.replace(secret.encode(), b"***")
        return err


def work_tree(address: Address) -> tuple[Address, bool]:
    """Return the repository that a folder is in, and whether it is a work tree (not bare).

    Raises InputError when the folder is in no repository, or in one of another owner.
    """
    done = _look(address.url, "rev-parse", "--is-inside-work-tree", "--git-dir", "--show-toplevel")
    words = done.text.splitlines()
    if done.code == 0 and len(words) == 3 and words[0] == "true":
        return Address(words[2], "path"), True
    if len(words) >= 2 and words[0] == "false":
        return Address(str((Path(address.url) / words[1]).resolve()), "path"), False
    raise failure(address.url, done)


def repository(address: Address) -> Git:
    """Return git on the repository of a folder itself (not on a mirror of it).

    Raises InputError when the folder is in none, or in one of another owner.
    """
    done = _look(address.url, "rev-parse", "--path-format=absolute", "--git-common-dir")
    if done.code:
        raise failure(address.url, done)
    return Git(Path(done.text.strip()), address)


def uncommitted(folder: str) -> list[str] | None:
    """Return the files of a work tree that differ from its last commit.

    None when that cannot be told within LOOK_SECONDS: it is for a warning only.
    """
    try:
        # Filters of the repository's own settings are commands that `status` would run.
        listed = _look(folder, "config", "--null", "--list", "--show-scope", "--name-only").text
        words = listed.split("\0")
        own = {k for s, k in zip(words[::2], words[1::2], strict=False) if s in _OWN_SCOPES}
        off = [word for key in sorted(own) if _FILTER.fullmatch(key) for word in ("-c", f"{key}=")]
        done = _look(
            folder, *off, "status", "--porcelain", "-z", "--no-renames", "--ignore-submodules=all"
        )
    except DeadlineExceeded:
        return None
    return [line[3:] for line in done.text.split("\0") if line] if done.code == 0 else None


_OWN_SCOPES = {"local", "worktree"}
_FILTER = re.compile(r"filter\..+\.(clean|smudge|process)", re.IGNORECASE | re.DOTALL)


def _look(folder: str, *args: str) -> Finished:
    env = _environment(allow="none") | {"GIT_OPTIONAL_LOCKS": "0"}
    return run(
        [_program(), *_OPTIONS, "-C", folder, *args], timeout=LOOK_SECONDS, env=env, check=False
    )


def make_bare(folder: Path, address: Address) -> Git:
    """Make an empty bare repository that only its owner can enter."""
    command = [_program(), *_OPTIONS, "init", "--quiet", "--bare", "--template=", str(folder)]
    done = run(command, timeout=LOCAL_SECONDS, env=_environment(allow="none"), check=False)
    if done.code:
        raise OpslibError(f"cannot make a mirror: {done.last_error_line}", where=str(folder))
    folder.chmod(0o700)
    return Git(folder, address)


def is_ref_name(name: str) -> bool:
    """Whether git takes this as the name of a branch or tag."""
    command = [_program(), "check-ref-format", "--allow-onelevel", name]
    return run(command, timeout=LOCAL_SECONDS, check=False).code == 0


def _program() -> str:
    return find_program("git", why="to read the source", hint="install git 2.31 or later")


def _environment(*, allow: str) -> dict[str, str]:
    env = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("GIT_") or _KEPT.fullmatch(key)
    }
    env.pop("LANGUAGE", None)
    return env | {
        "LC_ALL": "C",
        "GIT_ALLOW_PROTOCOL": allow,  # also for what git starts, unlike options
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_LITERAL_PATHSPECS": "1",
    }


def _without_settings(env: Mapping[str, str]) -> dict[str, str]:
    left = {key: value for key, value in env.items() if not key.startswith("GIT_CONFIG")}
    return left | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


def _add_config(env: dict[str, str], key: str, value: str) -> None:
    count = env.get("GIT_CONFIG_COUNT", "0")
    number = int(count) if count.isdigit() else 0
    env |= {
        f"GIT_CONFIG_KEY_{number}": key,
        f"GIT_CONFIG_VALUE_{number}": value,
        "GIT_CONFIG_COUNT": str(number + 1),
    }
