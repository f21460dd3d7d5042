"""A snapshot of one machine: canonical text, a line per key, the same bytes while nothing changes.

There is no time in it: the commit that brings it has one. ``git log -S`` and ``git blame`` then
say when a value changed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile

from opslib.node.facts.machine import machine
from opslib.node.facts.root import Root
from opslib.node.facts.saved import Saved
from opslib.node.facts.software import software
from opslib.node.facts.storage import storage
from opslib.node.facts.sysctls import running_sysctls
from opslib.node.facts.virtual import virtualization

API_VERSION, SNAPSHOT = "opslib.dev/v1", "NodeSnapshot"
_SECTIONS = ("persisted", "running", "unreadable")


def take(prefix: str = "/", name: str = "", pool: str = "") -> dict[str, object]:
    """Read a machine, or an image below ``prefix``, and return its snapshot.

    ``running`` maps keys to values as the system gives them; ``persisted`` maps keys to
    [value, file:line] of what the files set, with "-" third where systemd lets it fail;
    ``unreadable`` maps keys, or prefixes that end in "/", to why.
    """
    root = Root(prefix)
    for part in (running_sysctls, machine, virtualization, storage, software):
        part(root)
    root.missing()
    saved = Saved(root).all()
    persisted = {
        key: [one.value, one.at, *(["-"] if one.may_fail else [])]
        for key, one in saved.settings.items()
    }
    return {
        "apiVersion": API_VERSION,
        "kind": SNAPSHOT,
        "metadata": {"name": name or named(root), "pool": pool},
        "notes": sorted([*saved.notes, *inside(root)]),
        "persisted": persisted,
        "running": root.facts,
        "unreadable": root.unreadable,
    }


def inside(root: Root) -> list[str]:
    """Say where this process sees a container's settings and not the machine's.

    Kernel parameters of the network and of System V IPC belong to a namespace:
    https://kubernetes.io/docs/tasks/administer-cluster/sysctl-cluster/
    """
    if not root.live:
        return []
    found = []
    for kind, what in (
        ("net", "net.*"),
        ("ipc", "kernel.shm*, kernel.msg*, kernel.sem, fs.mqueue.*"),
    ):
        try:
            own, first = (os.readlink(f"/proc/{pid}/ns/{kind}") for pid in ("self", "1"))
        except OSError:
            continue  # of another user: nothing is known
        if own != first:
            found.append(f"{what} are those of a container, not of the machine")
    return found


def named(root: Root) -> str:
    """Return the machine's own name."""
    return (
        root.text("/proc/sys/kernel/hostname").strip()
        or root.text("/etc/hostname").strip()
        or "node"
    )


def canonical(snapshot: dict[str, object]) -> str:
    """Return a snapshot as text: sorted, a line per key."""
    rows = []
    for key in sorted(snapshot):
        value = snapshot[key]
        if key in _SECTIONS and isinstance(value, dict) and value:
            lines = [f"  {_line(one)}: {_line(value[one])}" for one in sorted(value)]
            rows.append(" {}: {{\n{}\n }}".format(_line(key), ",\n".join(lines)))
        else:
            rows.append(f" {_line(key)}: {_line(value)}")
    return "{{\n{}\n}}\n".format(",\n".join(rows))


def _line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def save(text: str, path: str) -> None:
    """Replace a file whole; a text that is there already is left alone."""
    try:
        with open(path, encoding="utf-8") as stream:
            if stream.read() == text:
                return
    except (OSError, ValueError):
        pass
    folder = os.path.dirname(os.path.abspath(path))
    handle, part = tempfile.mkstemp(dir=folder, prefix=".snapshot.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fchmod(stream.fileno(), 0o644)
            os.fsync(stream.fileno())
        os.replace(part, path)
    except BaseException:
        os.unlink(part)
        raise


def main(given: list[str]) -> int:
    """Print or write a snapshot; for a machine that has this one file and a Python."""
    parser = argparse.ArgumentParser(description="What this machine is set to, as canonical JSON.")
    parser.add_argument("--root", default="/", help="read an image or folder instead")
    parser.add_argument("--name", default="", help="name of the node; default: its own")
    parser.add_argument("--pool", default="", help="its pool: nodes that should be alike")
    parser.add_argument("--out", default="", help="write here instead of standard output")
    asked = parser.parse_args(given)
    if not os.path.isdir(asked.root):
        sys.stderr.write(f"node facts: {asked.root} is no folder\n")
        return 2
    text = canonical(take(asked.root, asked.name, asked.pool))
    try:
        if asked.out:
            save(text, asked.out)
        else:
            sys.stdout.write(text)
    except OSError as error:
        sys.stderr.write(
            "node facts: {}: {}\n".format(asked.out or "standard output", error.strerror)
        )
        return 1
    return 0
