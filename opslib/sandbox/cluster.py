"""A real control plane on this machine: up, down, status.

Components are official programs (etcd, kube-apiserver, kube-controller-manager,
kube-scheduler) started by kwokctl's binary runtime; nodes and pods are simulated by kwok.
Everything is under ``state_dir()/sandbox/NAME`` and listens on the loopback address only.

Pods can be made to fail on purpose by the annotation or label ``opslib.dev/simulate``
(``image-pull-error``, ``never-ready`` or ``crash-loop``) on the pod template, and by an image
tag that contains ``does-not-exist``; see ``stages/``.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from opslib.core.errors import LockBusy, OpslibError
from opslib.core.files import exclusive
from opslib.core.progress import SILENT, Progress
from opslib.sandbox import bringup, kwokctl, sealed, state
from opslib.sandbox.api import Api, connect
from opslib.sandbox.look import Condition, Status, look
from opslib.sandbox.state import Place

__all__ = [
    "Condition",
    "Status",
    "api",
    "down",
    "environment",
    "make_namespace",
    "names",
    "say",
    "status",
    "up",
    "with_sealed_secrets",
]

DOWN_SECONDS = 60.0
"""How long ``down`` waits for a start that is under way."""


def up(
    name: str = "default",
    *,
    nodes: int = 3,
    sealed_secrets: bool = False,
    progress: Progress = SILENT,
    timeout: float = 180,
) -> Status:
    """Bring a sandbox up, or back up, and return once its nodes are ready.

    ``nodes`` is how many there must be at least. ``timeout`` in seconds covers everything but
    the fetching or building of programs. A sandbox that runs is left as it is; components that
    died are started on their data; what cannot be started, or was never created whole, is
    created anew, and ``Status.detail`` says so. Two calls at once do the work once.
    ``sealed_secrets``: the Sealed Secrets controller runs beside it, see ``sealed``.

    Raises InputError for a bad name or setting, DeadlineExceeded, and OpslibError with the
    last words of the component that does not come up.
    """
    where = state.place(name)
    now = look(where)
    if now.state != "running" or now.nodes < nodes:
        now = _bring_up(where, nodes, progress, timeout)
    if sealed_secrets:
        with_sealed_secrets(name, progress=progress)
    return now


def with_sealed_secrets(
    name: str = "default", *, progress: Progress = SILENT, timeout: float = 60
) -> None:
    """Have the Sealed Secrets controller run beside a sandbox; one that answers is left alone.

    Its program is built by Go where it is not in the cache; ``timeout`` in seconds does not
    count that. Raises InputError where this machine cannot run it (see ``sealed.missing``).
    """
    where, known = _existing(name)
    one = sealed.Controller(known.api_port, where.sealed_secrets)
    deadline = time.monotonic() + timeout
    with _locked(where, deadline, progress), api(name) as connection:
        sealed.ensure(connection, one, deadline=deadline, progress=progress)


def _bring_up(where: Place, nodes: int, progress: Progress, timeout: float) -> Status:
    # Downloads and archives are not imported by those who only ask for the status.
    from opslib.sandbox.binaries import kubectl, resolve  # noqa: PLC0415  # start-up time

    binaries, client = resolve(progress), kubectl(progress)
    deadline = time.monotonic() + timeout
    with _locked(where, deadline, progress):
        return bringup.BringUp(where, binaries, client, nodes, progress, deadline).run()


def down(name: str = "default") -> bool:
    """End a sandbox's processes and remove its folder; False where there was none.

    Raises LockBusy where a start that is under way does not end within DOWN_SECONDS.
    """
    where = state.place(name)
    if not where.root.exists():
        return False
    with _locked(where, time.monotonic() + DOWN_SECONDS, SILENT):
        bringup.remove(where)
    return True


def status(name: str = "default") -> Status:
    """Look at a sandbox: which processes run, and what the API server says."""
    return look(state.place(name))


def names() -> list[str]:
    """Return the names of all sandboxes of this user, whatever their state."""
    entries = state.folder().iterdir()
    return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))


def environment(name: str = "default") -> dict[str, str]:
    """Return the variables by which other programs find the sandbox.

    Raises OpslibError where the sandbox does not exist.
    """
    where, _ = _existing(name)
    return {
        "KUBECONFIG": str(where.kubeconfig),
        "OPSLIB_AUDIT_LOG": str(where.audit_log),
        "OPSLIB_SANDBOX": name,
    }


@contextlib.contextmanager
def api(name: str = "default", *, timeout: float = 5.0) -> Iterator[Api]:
    """Open a plain HTTPS connection to a sandbox's API server, as its administrator."""
    where, known = _existing(name)
    with connect(known.api_port, where.pki, timeout=timeout) as connection:
        yield connection


def make_namespace(sandbox: str, name: str, *, timeout: float = 20) -> None:
    """Create a namespace, and return once pods are accepted in it."""
    with api(sandbox) as connection:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        connection.json("POST", "/api/v1/namespaces", body)
        bringup.wait_account(connection, name, time.monotonic() + timeout)


def say(sandbox: str, line: str) -> None:
    """Let every simulated container of a sandbox write one line to its log, now.

    Simulated containers run nothing; they share one log, which begins with a few lines of a
    service that starts. Whoever follows a log sees the line arrive.
    """
    where, _ = _existing(sandbox)
    with where.pod_log.open("a", encoding="utf-8") as stream:
        stream.write(kwokctl.log_row(" ".join(line.split("\n"))))


def _existing(name: str) -> tuple[Place, state.State]:
    where = state.place(name)
    known = state.read(where)
    if known is None:
        raise OpslibError(
            f"there is no sandbox {name}",
            where=str(where.root),
            hint=f"start it: opslib sandbox up --name {name}",
        )
    return where, known


@contextlib.contextmanager
def _locked(where: Place, deadline: float, progress: Progress) -> Iterator[None]:
    """Hold the sandbox's lock; wait for it until the (monotonic) deadline, then LockBusy."""
    told = False
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(exclusive(where.lock, f"sandbox {where.name}"))
                break
            except LockBusy as busy:
                if time.monotonic() > deadline:
                    raise
                if not told:
                    progress.update(f"waiting: {busy.what}")
                    told = True
                time.sleep(0.1)
        yield
