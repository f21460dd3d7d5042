"""A process whose mirror is on a small disk of its own, which it fills; see test_git.

It runs in a mount namespace. It prints, for each way to fill the disk, what one pass of a
loop left: before, while the disk was full, and with room again.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from opslib.kube.client import Cluster, connect
from opslib.reconcile.inventory import read_inventory
from opslib.reconcile.loop import Loop, LoopOptions
from opslib.reconcile.session import Session, open_session
from opslib.source.mirror import Source

from .remote import Work

SMALL, LARGE = "600k", "40m"


def main() -> None:
    """Run the stories and print what was found."""
    job = json.loads(sys.argv[1])
    os.environ["OPSLIB_CACHE"] = job["cache"]
    stories: dict[str, Callable[[Path, Work], None]] = {
        "no room for a large commit": _large,
        "no room for anything": _filled,
    }
    found = {}
    for number, (name, full) in enumerate(stories.items()):
        _mount("-t", "tmpfs", "-o", f"size={SMALL}", "none", job["cache"])
        work = Work(Path(f"{job['folder']}{number}"))
        session = open_session(
            connect(job["kubeconfig"]),
            Source(str(work.tree), "", "app"),
            app=f"{job['app']}-{number}",
            namespace=job["namespace"],
        )
        found[name] = _story(session, work, Path(job["cache"]), full, f"full{number}")
        subprocess.run(["umount", job["cache"]], check=True)
    sys.stdout.write(json.dumps(found))


def _story(
    session: Session, work: Work, cache: Path, full: Callable[[Path, Work], None], name: str
) -> list[dict[str, Any]]:
    work.commit({"app/one.yaml": _config(name, "good")})
    before = _pass(session, name)
    full(cache, work)
    work.commit({"app/one.yaml": _config(name, "better")})
    path = f"/api/v1/namespaces/{session.namespace}/configmaps/{name}"
    session.cluster.request(
        "PATCH",
        path,
        body={"data": {"k": "edited"}},
        content_type="application/merge-patch+json",
    )
    while_full = _pass(session, name)
    (cache / "fill").unlink(missing_ok=True)
    _mount("-o", f"remount,size={LARGE}", str(cache))
    return [before, while_full, _pass(session, name)]


def _large(cache: Path, work: Work) -> None:
    """Commit more than the disk has room for."""
    del cache
    (work.tree / "large").write_bytes(os.urandom(3_000_000))


def _filled(cache: Path, work: Work) -> None:
    """Leave no block free."""
    del work
    with contextlib.suppress(OSError), (cache / "fill").open("wb", buffering=0) as stream:
        while True:
            stream.write(b"x" * 4096)


def _pass(session: Session, name: str) -> dict[str, Any]:
    """Run the loop for one pass and return what it left."""
    said: list[str] = []
    status = Loop(session, LoopOptions(once=True), threading.Event(), said.append).run()
    objects = _objects(session.cluster, session.namespace)
    return {
        "phase": status.phase,
        "trouble": status.source_error,
        "commit": read_inventory(session.cluster, session.app).commit,
        "data": objects[name][1],
        "objects": {key: uid for key, (uid, _) in objects.items()},
    }


def _objects(cluster: Cluster, namespace: str) -> dict[str, tuple[str, Any]]:
    items, _ = cluster.list(f"/api/v1/namespaces/{namespace}/configmaps")
    return {i["metadata"]["name"]: (i["metadata"]["uid"], i.get("data")) for i in items}


def _config(name: str, value: str) -> str:
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{k: {value}}}\n"


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


if __name__ == "__main__":
    main()
