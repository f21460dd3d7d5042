"""opslib rollout: status, history, undo, describe, logs."""

from __future__ import annotations

import contextlib
import json as jsonlib
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from opslib.cli.common import (
    Context,
    Json,
    Kubeconfig,
    Namespace,
    bar,
    cluster,
    emit,
    out,
    seconds,
)
from opslib.core.errors import ApprovalError, InputError

if TYPE_CHECKING:
    from opslib.rollout import Description, LogLine, UndoPlan

app = typer.Typer(
    help="Rollouts: how far, why not further, what before, and back.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Workload = Annotated[
    str, typer.Argument(help="deployment/NAME, statefulset/NAME, daemonset/NAME, or NAME.")
]
MaybeWorkload = Annotated[
    str, typer.Argument(help="deployment/NAME and so on, or NAME; or use --selector.")
]
Selector = Annotated[str, typer.Option("--selector", "-l", help="Pods by label, such as app=x.")]


@app.command()
def status(
    target: Workload,
    namespace: Namespace = "",
    timeout: Annotated[
        str, typer.Option("--timeout", help="Longest wait; default: no limit.")
    ] = "0s",
    watch: Annotated[bool, typer.Option("--watch/--no-watch", help="Wait for the end.")] = True,
    revision: Annotated[int, typer.Option("--revision", help="Fail where another is live.")] = 0,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    json: Json = False,
) -> None:
    """Wait for a rollout and give kubectl's verdict; exit 1 where it failed, 124 out of time."""
    from opslib import rollout

    server = cluster(kubeconfig, context)
    found = rollout.find_target(server, target, namespace or server.namespace)
    with bar() as progress:
        verdict = rollout.status(
            server,
            found,
            timeout=seconds(timeout) or None,
            watch=watch,
            revision=revision or None,
            progress=progress,
        )
    text = verdict.message if verdict.ok else f"error: {verdict.message}"
    if not verdict.ok:
        text += f"\n{rollout.describe(server, found).reason}"
    emit(verdict.as_dict(), text, as_json=json)
    if not verdict.ok:
        raise typer.Exit(1)


@app.command()
def history(
    target: Workload,
    namespace: Namespace = "",
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    json: Json = False,
) -> None:
    """List the revisions that are kept, with their images and the commits that brought them."""
    from opslib import rollout
    from opslib.view.text import clean, columns

    server = cluster(kubeconfig, context)
    found = rollout.find_target(server, target, namespace or server.namespace)
    entries = rollout.history(server, found)
    rows = [["REVISION", "NOW", "COMMIT", "CREATED", "IMAGES", "CHANGE-CAUSE"]]
    rows += [
        [
            str(e.revision),
            "*" if e.current else "",
            e.commit[:12] or "-",
            e.created,
            ", ".join(e.images),
            e.change_cause or "<none>",
        ]
        for e in entries
    ]
    document = [entry.as_dict() for entry in entries]
    emit(document, clean("\n".join(columns(rows))), as_json=json)


@app.command()
def undo(
    target: Workload,
    namespace: Namespace = "",
    to_revision: Annotated[
        int, typer.Option("--to-revision", help="Revision to go back to; 0: the one before.")
    ] = 0,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Write without asking.")] = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    json: Json = False,
) -> None:
    """Go back to an earlier revision: shows what changes, asks, writes under a lock.

    Where an app applies the workload from Git, the way back that lasts is a commit.
    """
    from opslib import rollout

    server = cluster(kubeconfig, context)
    found = rollout.find_target(server, target, namespace or server.namespace)
    plan = rollout.plan_undo(server, found, to_revision=to_revision)
    if not json:
        out(_undo_text(plan))
    if plan.changes and not yes:
        if json or not sys.stdin.isatty():
            raise ApprovalError("this undo was not approved", hint="write it with --yes")
        if not typer.confirm("Write this?", err=True):
            raise ApprovalError("this undo was denied: nothing was written")
    written = rollout.apply_undo(server, plan)
    text = f"{found} rolled back" if written else "nothing to do: this revision is live"
    emit({**plan.as_dict(), "written": written}, text, as_json=json)


@app.command()
def describe(
    target: MaybeWorkload = "",
    selector: Selector = "",
    namespace: Namespace = "",
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    json: Json = False,
) -> None:
    """Say in one sentence why pods are not ready, then show pods, conditions and events."""
    from opslib import rollout

    _one_of(target, selector)
    server = cluster(kubeconfig, context)
    place = namespace or server.namespace
    if selector:
        found = rollout.describe_selector(server, selector, place)
    else:
        found = rollout.describe(server, rollout.find_target(server, target, place))
    emit(found.as_dict(), _description(found), as_json=json)


@app.command()
def logs(
    target: MaybeWorkload = "",
    selector: Selector = "",
    namespace: Namespace = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines come.")] = False,
    tail: Annotated[
        int | None,
        typer.Option("--tail", help="Newest lines per container; -1: all; with -l: 10."),
    ] = None,
    since: Annotated[str, typer.Option("--since", help="Only newer lines, such as 10m.")] = "",
    previous: Annotated[
        bool, typer.Option("--previous", help="Of the container before the last restart.")
    ] = False,
    container: Annotated[str, typer.Option("--container", "-c", help="Only this one.")] = "",
    all_containers: Annotated[
        bool, typer.Option("--all-containers", help="Init containers too.")
    ] = False,
    prefix: Annotated[
        bool, typer.Option("--prefix/--no-prefix", help="Name pod and container in each line.")
    ] = False,
    timestamps: Annotated[bool, typer.Option("--timestamps", help="When it was written.")] = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    json: Json = False,
) -> None:
    """Print what the containers of a workload or selector write; --json gives an object a line."""
    from opslib import rollout

    _one_of(target, selector)
    server = cluster(kubeconfig, context)
    place = namespace or server.namespace
    lines = rollout.logs(
        server,
        selector or rollout.find_target(server, target, place),
        namespace=place,
        follow=follow,
        tail=_tail(tail, selector),
        since=seconds(since) if since else None,
        previous=previous,
        container=container or None,
        all_containers=all_containers,
        timestamps=timestamps,
    )
    with contextlib.suppress(KeyboardInterrupt):
        for line in lines:
            _print(line, prefix=prefix, as_json=json)


def _print(line: LogLine, *, prefix: bool, as_json: bool) -> None:
    from opslib.view.text import clean

    if as_json:
        out(jsonlib.dumps(line.as_dict(), ensure_ascii=False))
    elif not line.container:
        sys.stderr.write(clean(f"{line.pod}: {line.text}\n"))
    else:
        out(clean(f"[pod/{line.pod}/{line.container}] {line.text}" if prefix else line.text))


def _tail(given: int | None, selector: str) -> int | None:
    """Return how many lines to read, None for all: kubectl's default for a selector is 10."""
    if given is None:
        return 10 if selector else None
    return None if given < 0 else given


def _one_of(target: str, selector: str) -> None:
    if bool(target) == bool(selector):
        raise InputError(
            "name one workload, or a selector", expected="deployment/NAME, or -l app=NAME"
        )


def _undo_text(plan: UndoPlan) -> str:
    from opslib.view.text import clean, columns, value

    rows = [[c.path, f"{value(c.before)} → {value(c.after)}"] for c in plan.changes]
    head = f"{plan.target}: revision {plan.from_revision} → {plan.to_revision}"
    lines = [head, *columns(rows, indent="    ")]
    return clean("\n".join([*lines, plan.advice] if plan.advice else lines))


def _description(found: Description) -> str:
    from opslib.core.clock import human_seconds
    from opslib.view.text import clean, columns, styled

    lines = [styled(clean(found.reason), "green" if found.ready else "red"), ""]
    head = [["workload", f"{found.target} in {found.namespace}"]]
    head += [["images", ", ".join(found.images)]]
    if found.commit:
        head += [["commit", f"{found.commit} applied by {found.manager}"]]
    lines += [*columns(head), ""]
    rows = [["POD", "READY", "PHASE", "RESTARTS", "AGE", "NODE", "WHY NOT READY"]]
    rows += [
        [
            p.name,
            p.ready,
            p.phase,
            str(p.restarts),
            human_seconds(p.age_seconds),
            p.node or "-",
            p.reason,
        ]
        for p in found.pods
    ]
    lines += columns(rows)
    if found.conditions:
        rows = [["CONDITION", "STATUS", "REASON", "MESSAGE"]]
        rows += [
            [str(c.get(k, "")) for k in ("type", "status", "reason", "message")]
            for c in found.conditions
        ]
        lines += ["", *columns(rows)]
    if found.events:
        rows = [["LAST SEEN", "TYPE", "REASON", "OBJECT", "COUNT", "MESSAGE"]]
        rows += [
            [e.time, e.type, e.reason, e.object, str(e.count), e.message]
            for e in found.events[-20:]
        ]
        lines += ["", *columns(rows)]
    return "\n".join([lines[0], *map(clean, lines[1:])])
