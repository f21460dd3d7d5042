"""What a sandbox's state is now: which of its processes run, and what its API server says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from opslib.core.errors import LockBusy, OpslibError
from opslib.core.files import exclusive
from opslib.sandbox import kwokctl, nodes, processes, state
from opslib.sandbox.api import connect
from opslib.sandbox.state import Place, State

_SECONDS = 3.0
"""How long the API server may take to answer; idle it takes milliseconds."""

Condition = Literal["running", "stopped", "broken", "absent"]


@dataclass(frozen=True)
class Status:
    """One sandbox as it is now.

    ``nodes`` is the number of nodes that pods can be put on; ``version`` the API server's;
    ``detail`` one sentence for people, such as which component is not running.
    """

    name: str
    state: Condition
    kubeconfig: Path
    server: str
    audit_log: Path
    nodes: int
    version: str
    detail: str


def look(where: Place) -> Status:
    """Return the status of a sandbox; takes some ten milliseconds where all is well."""
    if not where.root.exists():
        return _status(where, "absent", f"there is no sandbox {where.name}")
    known = state.read(where)
    if known is None:
        return _status(where, "broken", _half_made(where))
    base = replace(_status(where, "stopped", ""), server=kwokctl.server(known.api_port))
    dead = dead_components(where)
    if len(dead) == len(kwokctl.COMPONENTS):
        return replace(base, detail="no component is running")
    if dead:
        verb = "is" if len(dead) == 1 else "are"
        return replace(base, state="broken", detail=f"{', '.join(dead)} {verb} not running")
    return _ask(where, known, base)


def dead_components(where: Place) -> list[str]:
    """Return the components that have no process."""
    running = processes.owned(where.work / "bin")
    return [component for component in kwokctl.COMPONENTS if component not in running]


def first_failure(answer: bytes) -> str:
    """Return the failed check that the API server's /readyz names."""
    lines = [line for line in answer.decode(errors="replace").splitlines() if "[-]" in line]
    return lines[0].strip() if lines else "no reason given"


def _status(where: Place, condition: Condition, detail: str) -> Status:
    return Status(
        name=where.name,
        state=condition,
        kubeconfig=where.kubeconfig,
        server="",
        audit_log=where.audit_log,
        nodes=0,
        version="",
        detail=detail,
    )


def _half_made(where: Place) -> str:
    try:
        with exclusive(where.lock, f"sandbox {where.name}"):
            return "it was never created whole"
    except LockBusy:
        return "it is being created"


def _ask(where: Place, known: State, base: Status) -> Status:
    """Complete the status by what the API server says."""
    try:
        with connect(known.api_port, where.pki, timeout=_SECONDS) as connection:
            code, answer = connection.send("GET", "/readyz")
            if code != 200:
                detail = f"kube-apiserver is not ready: {first_failure(answer)}"
                return replace(base, state="broken", detail=detail)
            version = str(connection.json("GET", "/version")["gitVersion"])
            count = sum(map(nodes.usable, nodes.listing(connection)))
    except (OSError, OpslibError) as error:
        reason = f"no answer within {_SECONDS:g} s" if "timed out" in str(error) else str(error)
        detail = f"kube-apiserver does not answer: {reason}".splitlines()[0]
        return replace(base, state="broken", detail=detail)
    detail = f"{count} nodes, Kubernetes {version}"
    return replace(base, state="running", nodes=count, version=version, detail=detail)
