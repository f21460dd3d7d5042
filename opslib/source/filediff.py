"""Changes of a tree's files as a unified diff; values of Secrets are never in it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from opslib.source.trees import Tree
from opslib.source.upgrade import Upgraded


def diff_of(base: Tree, files: Mapping[str, bytes | None]) -> str:
    """Return changes of files as a unified diff; lines with values of Secrets are left out."""
    parts = []
    there = set(base.files(""))
    for path, data in sorted(files.items()):
        old = base.read([path])[path].decode(errors="replace") if path in there else ""
        new = (data or b"").decode(errors="replace")
        if path in there and data is not None:
            parts.append(Upgraded(path, old, new).diff())
        else:
            parts.append(_whole(path, old, new))
    return "".join(parts)


def _whole(path: str, old: str, new: str) -> str:
    names = ("/dev/null", f"b/{path}") if new else (f"a/{path}", "/dev/null")
    if "kind: Secret" in old or '"Secret"' in old:
        return f"--- {names[0]}\n+++ {names[1]}\n(the removed file holds a Secret)\n"
    lines = difflib.unified_diff(
        old.splitlines(keepends=True), new.splitlines(keepends=True), *names
    )
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)
