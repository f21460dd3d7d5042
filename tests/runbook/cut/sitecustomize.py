"""Kills a run out of its own kernel, at a request of the test's choice.

Python imports this in the kernel, where this folder is on its path. CUT is JSON: ``moment``
(before the request is sent, or after its answer), ``whom`` (both, or the runner alone, whose
kernel may go on until it is told), ``number``, and ``what``, a pattern of METHOD PATH.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import threading
from typing import Any


def _install(cut: dict[str, Any]) -> None:
    from opslib.kube.client import Cluster
    from opslib.runbook import launcher

    count, lock, real = itertools.count(1), threading.Lock(), Cluster._send

    def die() -> None:
        os.kill(int(os.environ[launcher.RUNNER]), signal.SIGKILL)
        if cut["whom"] == "both":
            os.kill(os.getpid(), signal.SIGKILL)

    def send(self: Cluster, method: str, path: str, **options: Any) -> Any:
        body = options.get("body")
        dry = "dryRun" in (options.get("query") or {}) or (
            isinstance(body, dict) and "dryRun" in body
        )
        mine = method != "GET" and not dry and re.search(cut["what"], f"{method} {path}")
        if mine:
            with lock:
                mine = next(count) == cut["number"]
        if mine and cut["moment"] == "before":
            die()
        answer = real(self, method, path, **options)
        if mine and cut["moment"] == "after":
            die()
        return answer

    Cluster._send = send  # type: ignore[method-assign]  # in this process only


if cut := os.environ.get("CUT"):
    _install(json.loads(cut))
