"""opslib upgrade: manifests of removed API versions, as an edit of the files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from opslib.cli.common import Json, emit


def upgrade(
    folder: Annotated[Path, typer.Argument(help="Folder with manifests.")] = Path(),
    write: Annotated[
        bool, typer.Option("--write", help="Edit the files; default: show the difference.")
    ] = False,
    json: Json = False,
) -> None:
    """Bring manifests of removed API versions to those of today; comments and order stay.

    Shows a diff to review; --write edits the files. Exit 1 where something is left that
    only a person can decide.
    """
    from opslib.source import upgrade as source

    results = source.upgrade_folder(folder)
    changed = [one for one in results if one.changes]
    left = [(one.path, finding) for one in results for finding in one.unresolved]
    if write:
        for one in changed:
            source.write(one, folder)
    text = "".join(one.diff() for one in changed)
    verb = "edited" if write else "to edit (--write does it)"
    lines = [text.rstrip()] if text else []
    lines += [f"{one.path}:{c.line}: {c.what}: {c.why}" for one in changed for c in one.changes]
    for path, finding in left:
        lines += [f"{path}:{finding.line}: {finding.what}", f"    to do: {finding.fix}"]
    lines.append(f"{len(changed)} files {verb}, {len(left)} findings for a person")
    document = {"written": write, "files": [one.as_dict() for one in results]}
    emit(document, "\n".join(lines), as_json=json)
    if left:
        raise typer.Exit(1)
