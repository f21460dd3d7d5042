"""One run at a time for what is locked: a file on this machine, or a Lease in a cluster.

A scope is a name such as "cluster/{context}/{app}"; names in braces are parameters of the
runbook. ``lease:[NAMESPACE/]NAME`` is a Lease, anything else a file in the state folder, under
an flock(2) that the system frees when its process is gone.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opslib.core.clock import stamp
from opslib.core.errors import InputError, LockBusy
from opslib.core.settings import state_dir

if TYPE_CHECKING:
    from opslib.kube.lease import Lease

LEASE = "lease:"
LEASE_SECONDS = 15.0
"""A Lease is renewed three times in it; a dead holder's is free when it has run out."""
_FIELD = re.compile(r"\{([^{}]*)\}")
_SCOPE = re.compile(r"[^\x00-\x20\x7f{}]{1,200}")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True)
class Owner:
    """Who locks: the run's id, its runbook, the person and the machine."""

    run_id: str
    runbook: str
    user: str
    host: str


def scope_of(template: str, parameters: Mapping[str, Any]) -> str:
    """Return the scope with the parameters' values in place.

    Raises InputError for a name that is no parameter, one without a value, and for
    what cannot be a scope: 1 to 200 characters without spaces.
    """

    def value(found: re.Match[str]) -> str:
        name = found[1]
        if name not in parameters:
            known = ", ".join(parameters) or "none: this runbook takes no parameters"
            raise InputError(
                f"the lock {template} names {name}, which is no parameter",
                where="lock",
                expected=f"one of {known}",
            )
        if name == "context" and not parameters[name]:
            return _current_context(parameters.get("kubeconfig"))
        if parameters[name] in (None, ""):
            raise InputError(
                f"the lock {template} needs a value of the parameter {name}",
                where="lock",
                hint=f"give it with  -p {name} VALUE",
            )
        return str(parameters[name])

    scope = _FIELD.sub(value, template)
    if not _SCOPE.fullmatch(scope) or scope == LEASE:
        raise InputError(
            f"{scope!r} cannot be locked",
            where="lock",
            expected="a name of 1 to 200 characters without spaces, or lease:[NAMESPACE/]NAME",
        )
    return scope


def _current_context(kubeconfig: Any) -> str:
    """Return the context that an empty one means: both name the same cluster, so the same lock."""
    from opslib.kube.kubeconfig import access  # noqa: PLC0415  # 0.3 s, for such scopes alone

    return access(kubeconfig or None, None).context


@contextlib.contextmanager
def hold(scope: str, owner: Owner, parameters: Mapping[str, Any]) -> Iterator[Callable[[], bool]]:
    """Hold the lock of a scope while the block runs; yields a function that tells if it is held.

    ``parameters`` may hold ``kubeconfig`` and ``context``, by which a Lease's cluster is found.
    Raises LockBusy with the holder and since when, at once, where a live holder has it.
    """
    if scope.startswith(LEASE):
        with _lease(scope, owner, parameters) as held:
            yield held
        return
    with _file(scope, owner):
        yield lambda: True


def lock_file(scope: str) -> Path:
    """Return the file of a local scope: readable, and unique by the hash of the whole name."""
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", scope).strip("-.")[:80]
    digest = hashlib.sha256(scope.encode()).hexdigest()[:12]
    return state_dir() / "locks" / f"{readable}-{digest}.lock"


@contextlib.contextmanager
def _file(scope: str, owner: Owner) -> Iterator[None]:
    path = lock_file(scope)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(path, "a+", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _busy_file(scope, path) from None
        about = {**vars(owner), "pid": os.getpid(), "since": stamp()}
        stream.truncate(0)
        stream.write(json.dumps(about))
        stream.flush()
        try:
            yield
        finally:
            stream.truncate(0)


def _busy_file(scope: str, path: Path) -> LockBusy:
    """Say who holds a file; it may be between its lock and its words, or have just ended."""
    try:
        about = json.loads(path.read_bytes())
        who = f"run {about['run_id']} of {about['runbook']} ({about['user']}@{about['host']}, "
        who += f"process {about['pid']}) since {about['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        who = "a run that has just begun or ended"
    return LockBusy(
        f"{scope} is locked by {who}",
        where=str(path),
        hint="wait for that run to end, or stop it; a process that is gone holds nothing",
    )


@contextlib.contextmanager
def _lease(scope: str, owner: Owner, parameters: Mapping[str, Any]) -> Iterator[Callable[[], bool]]:
    from opslib.kube.client import connect  # noqa: PLC0415  # 0.3 s, for such scopes alone
    from opslib.kube.lease import Lease  # noqa: PLC0415  # as above
    from opslib.reconcile.app import SYSTEM_NAMESPACE  # noqa: PLC0415  # as above
    from opslib.reconcile.inventory import make_namespace  # noqa: PLC0415  # as above
    from opslib.reconcile.keeper import Keeper  # noqa: PLC0415  # as above

    namespace, name = _address(scope.removeprefix(LEASE), SYSTEM_NAMESPACE)
    with contextlib.closing(
        connect(parameters.get("kubeconfig") or None, parameters.get("context") or None)
    ) as cluster:
        if namespace == SYSTEM_NAMESPACE:
            make_namespace(cluster)
        who = f"{owner.run_id} of {owner.runbook} ({owner.user}@{owner.host})"
        lease = Lease(cluster, namespace, name, holder=who, duration=LEASE_SECONDS)
        _acquire(lease, scope)
        with Keeper(lease) as keeper:
            yield keeper.held


def _address(text: str, default: str) -> tuple[str, str]:
    """Return namespace and name of a Lease; a name that Kubernetes refuses gets one it takes."""
    first, slash, rest = text.partition("/")
    namespace, name = (first, rest) if slash else (default, text)
    if not _LABEL.fullmatch(namespace) or not name:
        raise InputError(
            f"lease:{text} is no Lease",
            where="lock",
            expected="lease:NAMESPACE/NAME, the namespace in small letters, digits and dashes",
        )
    good = re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")[:180]
    if good == name:
        return namespace, name
    return namespace, f"{good}-{hashlib.sha256(name.encode()).hexdigest()[:12]}".lstrip("-")


def _acquire(lease: Lease, scope: str) -> None:
    if lease.acquire():
        return
    seen = lease.read()
    who = f"run {seen.identity} since {seen.acquired}" if seen else "another run"
    raise LockBusy(
        f"{scope} is locked by {who}",
        where=f"Lease {lease.name}",
        hint=f"wait for that run to end; {LEASE_SECONDS:.0f} s after its last sign it is free",
    )
