"""A keyring of the trusted keys alone, for as long as something is verified.

Nothing of the user's own keyring or settings counts. The folder is private (0700), holds
public keys only, and is removed afterwards.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from opslib.core import scratch
from opslib.core.errors import InputError, OpslibError
from opslib.core.proc import find_program, run
from opslib.source.trust import FORMS, Trust

_SECONDS = 30.0
_NOBODY = "false"
"""A program that verifies nothing."""

# Every key in the ring is trusted, and only those: none is fetched, no agent is started.
_GPG_CONF = """\
batch
no-tty
no-autostart
disable-dirmngr
no-auto-key-locate
no-auto-key-retrieve
no-auto-check-trustdb
trust-model always
"""
_RESULT = re.compile(r"^\[GNUPG:\] IMPORT_RES (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Ring:
    """What git is to verify with: its settings, and the environment of what it starts."""

    settings: tuple[str, ...]
    env: dict[str, str]


@contextlib.contextmanager
def ring(trust: Trust) -> Iterator[Ring]:
    """Make a keyring of these keys; it is gone when the block ends.

    Raises InputError where gpg or ssh-keygen is needed and not on PATH, and for a file of
    which no key can be read; OpslibError when there is no room for the ring.
    """
    gpg, ssh = _programs(trust)
    with contextlib.ExitStack() as stack:
        try:
            home = stack.enter_context(scratch.folder("trust-"))
            signers = home / "allowed_signers"
            signers.write_text(trust.signers, encoding="utf-8")
            (home / "gpg.conf").write_text(_GPG_CONF, encoding="utf-8")
        except OSError as error:
            raise OpslibError(
                f"no keyring can be made: {error.strerror}",
                where=tempfile.gettempdir(),
                hint="make room there, or name another folder by TMPDIR",
            ) from error
        env = {"GNUPGHOME": str(home)}
        for file, data in trust.keys:
            _import(gpg, env, file, data)
        yield Ring(_settings(gpg, ssh, signers), env)


def _programs(trust: Trust) -> tuple[str, str]:
    """Return gpg and ssh-keygen; one for which there are no keys may be missing."""
    gpg = shutil.which("gpg") or _NOBODY
    ssh = shutil.which("ssh-keygen") or _NOBODY
    why = "to verify signatures by the keys of --trust"
    if trust.keys:
        gpg = find_program("gpg", why=why, hint="install GnuPG 2.2 or later (Debian: gnupg)")
    if trust.signers:
        hint = "install OpenSSH 8.9 or later (Debian: openssh-client)"
        ssh = find_program("ssh-keygen", why=why, hint=hint)
    return gpg, ssh


def _settings(gpg: str, ssh: str, signers: Path) -> tuple[str, ...]:
    """Return settings of git: https://git-scm.com/docs/git-config (gpg.*)."""
    return (
        f"gpg.program={gpg}",
        f"gpg.openpgp.program={gpg}",
        f"gpg.x509.program={_NOBODY}",
        f"gpg.ssh.program={ssh}",
        f"gpg.ssh.allowedSignersFile={signers}",
        # An ssh signature by an unknown key is "good, undefined": not for `git verify-tag`.
        "gpg.minTrustLevel=fully",
        "core.commitGraph=false",
    )


def _import(gpg: str, env: dict[str, str], file: str, data: bytes) -> None:
    """Import one file of keys, by the words of GnuPG's doc/DETAILS (status lines)."""
    done = run(
        [gpg, "--status-fd=1", "--import"],
        timeout=_SECONDS,
        env={**os.environ, **env, "LC_ALL": "C"},
        stdin=data,
        check=False,
    )
    result = _RESULT.search(done.text)
    counts = [int(word) for word in result[1].split()] if result else []
    secret = len(counts) > 9 and counts[9]
    if secret or "[GNUPG:] IMPORT_OK " not in done.text or done.code:
        what = "this is a private key" if secret else f"no key can be read: {done.last_error_line}"
        raise InputError(what, where=f"--trust {file}", expected=FORMS)
