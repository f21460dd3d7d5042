"""Why git could not reach or read a repository, in one line, and what a person can do."""

from __future__ import annotations

import re

from opslib.core.errors import InputError, OpslibError
from opslib.core.proc import Finished

# What git, ssh and curl print (with LC_ALL=C), the first that fits counts.
_CAUSES = {
    r"dubious ownership": "it belongs to another user; if you trust it: "
    "git config --global --add safe.directory {url}",
    r"host key verification failed|host identification has changed": (
        "connect once with ssh and check the host's key, or add it to ~/.ssh/known_hosts"
    ),
    r"authentication failed|could not read (username|password)|permission denied"
    r"|access denied|terminal prompts disabled|error: 40[13]|invalid (username|credentials)": (
        "check the login: a credential helper, a token, or a key in ssh-agent"
    ),
    r"could not resolve|connection (refused|reset|timed out|closed)|failed to connect"
    r"|couldn't connect|unreachable|no route to|name or service|could not connect": (
        "the host cannot be reached: check the address, the network and the proxy"
    ),
    r"\bssl\b|ssl_|certificate|gnutls|\btls\b": (
        "the connection is not trusted: check the server's certificate and http.sslCAInfo"
    ),
    r"fsck error|unpack-objects|index-pack|inflate": (
        "the repository holds an object that is malformed or made to do harm: see git fsck"
    ),
    r"not a git repository|not appear to be a git repository": (
        "make one there with git init, or name another folder"
    ),
    r"not found|does not exist|no such|error: 404|not valid: is this a git repository": (
        "there is no such repository, or this login may not see it: check the address"
    ),
    r"transport .* not allowed": "check url.<base>.insteadOf in your git settings",
    r"error: 5\d\d|rpc failed|hung up|early eof": "the server failed: try again later",
}

_NO_ROOM = re.compile(
    r"no space left on device|out of diskspace|disk quota exceeded", re.IGNORECASE
)


def failure(url: str, done: Finished) -> InputError:
    """Say why git could not read a repository: its reason in one line, and what to do."""
    lines = [_clean(line) for line in done.err.decode(errors="replace").splitlines()]
    lines = [line for line in lines if line]
    for pattern, hint in _CAUSES.items():
        for line in lines:
            # Without the address: a repository may be named after any of these words.
            if re.search(pattern, line.replace(url, ""), re.IGNORECASE):
                return _failed(url, line, hint.format(url=url))
    final = [line for line in lines if line.startswith(("fatal:", "error:"))]
    return _failed(url, (final or lines or [f"exit code {done.code}"])[-1], None)


def no_room(folder: str, done: Finished) -> OpslibError | None:
    """Say that the disk of the mirror is full, when that is why git failed; else None."""
    lines = done.err.decode(errors="replace").splitlines()
    own = [line for line in lines if not line.startswith("remote:")]
    found = next((one for one in map(_NO_ROOM.search, own) if one), None)
    if not found:
        return None
    return OpslibError(
        f"the mirror cannot be written: {found[0]}",
        where=folder,
        hint="make room there, or name another folder by OPSLIB_CACHE",
    )


def too_slow(url: str, seconds: float) -> InputError:
    """Say that a repository did not answer in time."""
    return _failed(
        url,
        f"no answer within {seconds:g} s (time-out)",
        "try again, or give it longer with a higher time-out",
    )


def _failed(url: str, reason: str, hint: str | None) -> InputError:
    short = re.sub(r"^(fatal|error|remote): ", "", reason)
    short = short if len(short) <= 200 else f"{short[:200]}…"
    return InputError(f"cannot fetch the source: {short}", where=url, hint=hint)


def _clean(line: str) -> str:
    """Take escape sequences out: these lines may come from the other side."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x1f\x7f-\x9f]", "", line).strip()
