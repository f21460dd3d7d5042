"""Creating a sandbox, or bringing one back, under its lock."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from opslib.core.errors import DeadlineExceeded, OpslibError
from opslib.core.progress import Progress
from opslib.sandbox import kwokctl, nodes, ports, processes, state
from opslib.sandbox.api import Api, connect
from opslib.sandbox.look import Status, dead_components, first_failure, look
from opslib.sandbox.state import Place, State
from opslib.sandbox.tools import VERSIONS

if TYPE_CHECKING:
    from opslib.sandbox.binaries import Binaries

ATTEMPTS = 3
"""How often a creation is tried with other ports, when one of them was taken meanwhile."""

RESTART_SECONDS = 90.0
"""How long a restarted control plane may take before it is created anew; it takes 4 s idle."""

_DATA_PLANE = frozenset({"etcd", "kube-apiserver"})


@dataclass
class BringUp:
    """One bringing-up of one sandbox. The caller holds the sandbox's lock.

    ``deadline`` is in time.monotonic() seconds. ``done`` tells what was done beside starting.
    """

    where: Place
    binaries: Binaries
    kubectl: Path
    nodes: int
    progress: Progress
    deadline: float
    done: str = ""

    def run(self) -> Status:
        """Start, restart or create, whichever is needed; return once the nodes are ready."""
        known = state.read(self.where)
        if known is not None:
            now = look(self.where)
            if now.state != "running":
                known = self._recover(known, now.detail)
        elif self.where.root.exists():
            remove(self.where)
            self._say("created anew, as an interrupted start had left it half made")
        return self._finish(known or self._create())

    def _recover(self, known: State, reason: str) -> State | None:
        """Start what is dead on its data; None where that does not help and all was removed."""
        if known.versions != VERSIONS:
            remove(self.where)
            self._say("created anew, data lost (it was of other versions)")
            return None
        # What runs and does not answer cannot be started; and what lost its API server is
        # better started afresh than trusted to have noticed.
        dead = dead_components(self.where)
        everything = not dead or bool(_DATA_PLANE & set(dead))
        try:
            self.progress.update(f"starting again: {reason}")
            known = self._restart(known, everything=everything)
        except (OSError, OpslibError) as error:
            text = str(error).splitlines()[0]
            if time.monotonic() > self.deadline:
                raise DeadlineExceeded(
                    f"sandbox {self.where.name} did not come up again: {text}",
                    where=str(self.where.work / "logs"),
                ) from error
            remove(self.where)
            self._say(f"created anew, data lost ({reason}; starting it again failed: {text})")
            return None
        self._say(f"started again, data kept ({reason})")
        return known

    def _restart(self, known: State, *, everything: bool) -> State:
        processes.end(self.where.root / "bin")
        if everything:
            processes.end(self.where.work / "bin", grace=3)
            known = self._free_ports(known)
        limit = min(self.deadline, time.monotonic() + RESTART_SECONDS)
        seconds = limit - time.monotonic()
        kwokctl.start(self.where, self.binaries, self.kubectl, timeout=seconds)
        self._wait_ready(known, limit)
        return known

    def _free_ports(self, known: State) -> State:
        """Leave a port that another program has taken meanwhile, all components being down."""
        taken = ports.still_taken(known.ports.values(), seconds=1)
        if not taken:
            return known
        fresh = ports.pick(len(taken), state.others(self.where.name) | set(known.ports.values()))
        changes = dict(zip(taken, fresh, strict=True))
        kwokctl.move_ports(self.where, changes)
        moved = {name: changes.get(port, port) for name, port in known.ports.items()}
        known = replace(known, ports=moved)
        kwokctl.write_kubeconfig(self.where, known.api_port)
        state.write(self.where, known)
        return known

    def _create(self) -> State:
        for attempt in range(ATTEMPTS):
            self.progress.update("starting the control plane")
            fresh = ports.pick(len(state.PORTS), state.others(self.where.name))
            known = State(
                ports=dict(zip(state.PORTS, fresh, strict=True)),
                versions=dict(VERSIONS),
                origin=self.binaries.origin,
            )
            try:
                self._create_with(known)
            except (OSError, OpslibError) as error:
                explained = self._explain(error)
                remove(self.where)
                last = attempt == ATTEMPTS - 1 or time.monotonic() > self.deadline
                if last or not ports.still_taken(fresh, seconds=1):
                    raise explained from error
                self.progress.update("a port was taken meanwhile, trying others")
            except BaseException:
                remove(self.where)
                raise
            else:
                return known
        raise AssertionError

    def _create_with(self, known: State) -> None:
        kwokctl.prepare(self.where, self.binaries, known.ports, self.kubectl)
        left = self.deadline - time.monotonic()
        kwokctl.create(self.where, self.binaries, self.kubectl, timeout=left)
        self._wait_ready(known, self.deadline)
        kwokctl.write_kubeconfig(self.where, known.api_port)
        state.write(self.where, known)

    def _finish(self, known: State) -> Status:
        self.progress.update("waiting for the nodes")
        with connect(known.api_port, self.where.pki) as connection:
            nodes.ensure(connection, self.nodes)
            nodes.point_to(connection, known.ports["kwokControllerPort"])
            nodes.wait_usable(connection, self.nodes, self.deadline)
            wait_account(connection, "default", self.deadline)
        now = look(self.where)
        return replace(now, detail=f"{now.detail}; {self.done}") if self.done else now

    def _wait_ready(self, known: State, limit: float) -> None:
        """Wait until the API server is ready and all components run.

        Those that gave up waiting for it are started again, once.
        """
        reason, again = "no answer yet", False
        while time.monotonic() < limit:
            dead = dead_components(self.where)
            if dead and (again or not kwokctl.PATIENT_FOR_TEN_SECONDS.issuperset(dead)):
                raise OpslibError(f"{', '.join(dead)} ended at the start")
            reason = self._unready(known)
            if not reason and not dead:
                return
            if not reason:
                self.progress.update(f"starting again: {', '.join(dead)}")
                seconds = limit - time.monotonic()
                kwokctl.start(self.where, self.binaries, self.kubectl, timeout=seconds)
                again = True
            time.sleep(0.05)
        raise DeadlineExceeded(f"kube-apiserver did not become ready: {reason}")

    def _unready(self, known: State) -> str:
        """Return why the API server is not ready; "" where it is."""
        try:
            with connect(known.api_port, self.where.pki, timeout=3) as connection:
                code, answer = connection.send("GET", "/readyz")
                return "" if code == 200 else first_failure(answer)
        except OSError as error:
            return str(error) or type(error).__name__

    def _explain(self, error: Exception) -> OpslibError:
        """Return the error with the components' last words, as their logs will be gone."""
        text = str(error).splitlines()[0]
        kind = DeadlineExceeded if isinstance(error, DeadlineExceeded) else OpslibError
        return kind(
            f"sandbox {self.where.name} does not come up: {text}",
            where=kwokctl.last_words(self.where, dead_components(self.where)) or None,
            hint=f"the programs came from: {self.binaries.origin}",
        )

    def _say(self, text: str) -> None:
        self.done = text
        self.progress.update(text)


def remove(where: Place) -> None:
    """End a sandbox's processes and remove its folder; its lock file stays, locks need it."""
    # First whoever starts components: kwokctl outlives a killed caller.
    processes.end(where.root / "bin")
    processes.end(where.work / "bin")
    processes.end(where.sealed_secrets)
    # A removal that is interrupted must leave something that reads as never created whole.
    where.state.unlink(missing_ok=True)
    shutil.rmtree(where.root, ignore_errors=True)
    if where.root.exists():
        shutil.rmtree(where.root)


def wait_account(connection: Api, namespace: str, deadline: float) -> None:
    """Pods are refused until the controllers have made their namespace's default account."""
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default"
    while connection.send("GET", path)[0] != 200:
        if time.monotonic() > deadline:
            raise DeadlineExceeded("kube-controller-manager does not do its work", where=path)
        time.sleep(0.05)
