"""A runner and its kernel without Jupyter between them: what a kill costs is then two forks.

The record's folder, the ledger, the line between the two, the effects and the reading of an
interrupted run are the product's own; only the notebook's cells are this module's ``work``.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from opslib import runbook
from opslib.core.errors import OpslibError
from opslib.kube.client import connect
from opslib.runbook import channel, current, facts, launcher, resume
from opslib.runbook.channel import Line
from opslib.runbook.ledger import Ledger
from opslib.runbook.notebook import read_notebook


def work(kubeconfig: str, namespace: str, effects: int, moment: str) -> None:
    """Create one ConfigMap per effect; kill runner and kernel at the moment that is named."""
    server = connect(kubeconfig)
    place = f"/api/v1/namespaces/{namespace}/configmaps"

    def at(now: str) -> None:
        if now == moment:
            os.kill(os.getppid(), signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)

    def find(number: int) -> Any:
        items, _ = server.list(place, {"labelSelector": f"effect=e{number}"})
        return items[0]["metadata"]["name"] if items else None

    def create(number: int) -> Any:
        at(f"begun {number}")
        metadata = {"generateName": "made-", "labels": {"effect": f"e{number}"}}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
        made = server.request("POST", place, body=body)
        at(f"written {number}")
        return made["metadata"]["name"]

    for number in range(effects):
        at(f"before {number}")
        looks = None if number % 2 else partial(find, number)
        runbook.once(f"e{number}", partial(create, number), look=looks)
        at(f"ended {number}")


def run(notebook: str, out: str, options: dict[str, Any]) -> None:
    """Begin a run, or resume one, and end this process with the run's exit code."""
    parent = None
    with ExitStack() as stack:
        if options.get("resume"):
            decisions = options.get("redo", ()), options.get("skip", ())
            parent = resume.read_parent(Path(options["resume"]), *decisions)
            stack.enter_context(resume.alone(parent))
        path = Path(notebook)
        source = read_notebook(path)
        one = current.known(path, source, {}, {}, out=Path(out), scope="", parent=parent)
        one.begin()
        ledger = Ledger(one.folder.event, parent.before if parent else None)
        socket = Path(out) / f"s{os.getpid()}"
        line = Line(socket, ledger.handle)
        kernel = os.fork()
        if kernel == 0:
            _kernel(one, socket, options["work"])
        _, status = os.waitpid(kernel, 0)
        line.close()
        one.folder.event("run-end", outcome="ok" if status == 0 else "failed")
        one.folder.close()
    os._exit(os.waitstatus_to_exitcode(status))


def _kernel(one: Any, socket: Path, told: list[Any]) -> None:
    one.folder.close()  # a kernel that is executed has none of its runner's files
    os.environ[facts.RUN_ID], os.environ[facts.RUN_DIR] = one.run_id, str(one.folder.path)
    os.environ[launcher.KERNEL], os.environ[channel.CHANNEL] = str(os.getpid()), str(socket)
    try:
        work(*told)
    except OpslibError as error:
        sys.stderr.write(f"{error.where}\n")
        (Path(socket).parent / "undecided").write_text(str(error.where))
        os._exit(error.exit_code)
    os._exit(0)
