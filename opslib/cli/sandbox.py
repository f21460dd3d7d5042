"""opslib sandbox: a real control plane on this machine."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from typing import Annotated

import typer

from opslib.cli.common import Json, bar, emit

app = typer.Typer(
    help="A real Kubernetes control plane on this machine: no root, no Docker.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Name = Annotated[str, typer.Option("--name", help="Name of the sandbox; several run side by side.")]


@app.command()
def up(
    name: Name = "default",
    nodes: Annotated[int, typer.Option("--nodes", min=1, help="Simulated nodes.")] = 3,
    sealed_secrets: Annotated[
        bool,
        typer.Option("--sealed-secrets", help="With the Sealed Secrets controller (Linux)."),
    ] = False,
    json: Json = False,
) -> None:
    """Start a sandbox, or bring back one that is broken; fetch or build its programs first."""
    from opslib.sandbox import cluster

    with bar() as progress:
        status = cluster.up(name, nodes=nodes, sealed_secrets=sealed_secrets, progress=progress)
    text = f"sandbox {name} is {status.state} with {status.nodes} nodes"
    if status.detail:
        text += f"\n{status.detail}"
    text += "\nwith the Sealed Secrets controller" if sealed_secrets else ""
    text += f'\nto use it in this shell: eval "$(opslib sandbox env{_flag(name)})"'
    emit(asdict(status), text, as_json=json)


@app.command()
def down(name: Name = "default", json: Json = False) -> None:
    """End a sandbox and remove its data."""
    from opslib.sandbox import cluster

    was = cluster.down(name)
    text = f"sandbox {name} is gone" if was else f"there is no sandbox {name}"
    emit({"name": name, "removed": was}, text, as_json=json)


@app.command()
def status(name: Name = "default", json: Json = False) -> None:
    """Say whether a sandbox runs, and what is wrong if it does not (then exit 1)."""
    from opslib.sandbox import cluster

    now = cluster.status(name)
    lines = [f"sandbox {name}: {now.state}, {now.nodes} nodes"]
    lines += [now.detail] if now.detail else []
    emit(asdict(now), "\n".join(lines), as_json=json)
    if now.state != "running":
        raise typer.Exit(1)


@app.command()
def env(name: Name = "default", json: Json = False) -> None:
    """Print exports that point kubectl and opslib at it: eval "$(opslib sandbox env)"."""
    from opslib.sandbox import cluster

    variables = cluster.environment(name)
    lines = [f"export {key}={shlex.quote(text)}" for key, text in variables.items()]
    emit(variables, "\n".join(lines), as_json=json)


def _flag(name: str) -> str:
    return "" if name == "default" else f" --name {name}"
