"""opslib node facts, check: what a machine is set to, against Git, its files and its peers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opslib.cli.common import FolderPath, Json, Ref, Repo, emit, out, say

if TYPE_CHECKING:
    from opslib.node.review import NodeReview

app = typer.Typer(
    help="Node state: kernel parameters, modules, disks and more, against Git, files and peers.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Root = Annotated[
    Path, typer.Option("--root", help="Read the image or folder below this, not this machine.")
]
Name = Annotated[str, typer.Option("--name", help="Name of the node; default: its own.")]
Pool = Annotated[str, typer.Option("--pool", help="Its pool: nodes that should be alike.")]


@app.command()
def facts(
    out_file: Annotated[
        Path | None, typer.Option("--out", help="Write the snapshot there, to be committed.")
    ] = None,
    root: Root = Path("/"),
    name: Name = "",
    pool: Pool = "",
    script: Annotated[
        bool, typer.Option("--script", help="The program itself, for a machine with Python alone.")
    ] = False,
    json: Json = False,
) -> None:
    """Read this machine, without root, and print what it is set to as canonical JSON."""
    from opslib.core.errors import InputError
    from opslib.core.files import write_atomic

    if script:
        from opslib.node.onefile import one_file

        text = one_file()
    else:
        from opslib.node.facts.snapshot import canonical, take

        if not root.is_dir():
            raise InputError("the root is no folder", where=str(root), expected="a folder, or /")
        found = take(str(root), name, pool)
        text = canonical(found)
    if out_file is None:
        out(text.rstrip("\n"))
        return
    write_atomic(out_file, text)
    told = {"file": str(out_file), "bytes": len(text.encode())}
    if not script:
        told |= {key: len(found[key]) for key in ("running", "persisted", "unreadable")}  # type: ignore[arg-type]  # mappings
    emit(told, f"{out_file}: {told.get('running', 'the program')} facts", as_json=json)


@app.command()
def check(
    snapshots: Annotated[
        list[Path] | None, typer.Argument(help="Snapshots to check; default: this machine.")
    ] = None,
    repo: Repo = ".",
    path: FolderPath = "",
    revision: Ref = "",
    baseline: Annotated[
        list[str] | None,
        typer.Option("--baseline", help="Baseline that holds; default: those that select it."),
    ] = None,
    node: Annotated[
        list[str] | None, typer.Option("--node", help="Node whose snapshot is in Git. Repeatable.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All nodes with a snapshot in Git.")] = False,
    against: Annotated[
        Path | None,
        typer.Option("--against", help="Earlier snapshot of the node; default: the one in Git."),
    ] = None,
    root: Root = Path("/"),
    name: Name = "",
    pool: Pool = "",
    json: Json = False,
) -> None:
    """Compare nodes with their baseline in Git, their files, their peers; exit 4 on drift."""
    from opslib.node.review import Asked, review

    asked = Asked(
        repo=repo,
        path=path,
        revision=revision,
        baselines=tuple(baseline or ()),
        nodes=("*",) if every else tuple(node or ()),
        files=tuple(snapshots or ()),
        against=against,
        root=str(root),
        name=name,
        pool=pool,
    )
    found = review(asked)
    for line in found.warnings:
        say(f"warning: {line}")
    emit(found.as_dict() if json else None, _text(found), as_json=json)
    if found.differences:
        raise typer.Exit(4)


def _text(found: NodeReview) -> str:
    from opslib.view.nodes import review_text

    return review_text(found)
