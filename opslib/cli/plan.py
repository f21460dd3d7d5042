"""opslib plan, apply, check: from Git to the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from opslib.cli.common import (
    AcceptRewrite,
    AppName,
    Audit,
    Context,
    FolderPath,
    Json,
    Kubeconfig,
    Namespace,
    Prune,
    PruneCount,
    PrunePercent,
    Ref,
    Repo,
    Timeout,
    Trust,
    Verify,
    approved,
    bar,
    emit,
    limits_of,
    seconds,
    session,
)
from opslib.core.errors import InputError, Problems
from opslib.core.memory import kept

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opslib.drift.review import Taken
    from opslib.kube.client import Cluster
    from opslib.reconcile.apply import Applied
    from opslib.reconcile.planned import Planned


Full = Annotated[
    bool, typer.Option("--full", help="Ask the server about objects proven unchanged, too.")
]


def plan(
    repo: Repo = ".",
    path: FolderPath = "",
    revision: Ref = "",
    app: AppName = "",
    namespace: Namespace = "",
    prune: Prune = None,
    prune_count: PruneCount = 10,
    prune_percent: PrunePercent = 20,
    verify: Verify = "",
    trust: Trust = None,
    accept_rewrite: AcceptRewrite = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    unchanged: Annotated[bool, typer.Option("--all", help="Show unchanged objects too.")] = False,
    full: Full = False,
    json: Json = False,
) -> None:
    """Show what an apply would change, field by field; change nothing.

    Exit 0 whether or not there are changes; 2 when the plan could not be applied.
    """
    limits = limits_of(prune, prune_count, prune_percent)
    with bar() as progress, kept():
        one, pinned = session(
            kubeconfig, context, repo, path, revision, app,
            namespace=namespace, limits=limits, accept_rewrite=accept_rewrite,
            verify=verify, trust=trust, progress=progress,
        )  # fmt: skip
        planned = one.plan(pinned, full=full)
    _show(planned, as_json=json, unchanged=unchanged)
    if planned.blocking:
        raise typer.Exit(2)


def check(
    repo: Repo = ".",
    path: FolderPath = "",
    revision: Ref = "",
    app: AppName = "",
    namespace: Namespace = "",
    full: Full = False,
    verify: Verify = "",
    trust: Trust = None,
    accept_rewrite: AcceptRewrite = False,
    audit: Audit = "",
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    json: Json = False,
) -> None:
    """Exit 4 when the cluster is not what Git says, 0 when it is; change nothing.

    The plan shows what the revision would change; the review beside it also what others added
    to the app's objects and namespaces, and who did it. For cron and CI: --json has both.
    """
    from opslib.drift.review import taken

    with bar() as progress, kept():
        one, pinned = session(
            kubeconfig, context, repo, path, revision, app,
            namespace=namespace, accept_rewrite=accept_rewrite,
            verify=verify, trust=trust, progress=progress,
        )  # fmt: skip
        found = taken(one, pinned, audit=audit, full=full)
    _show_check(found, as_json=json)
    if found.planned.blocking:
        raise typer.Exit(2)
    if found.review.drifts or not found.planned.prepared.plan.empty:
        raise typer.Exit(4)


def apply(
    repo: Repo = ".",
    path: FolderPath = "",
    revision: Ref = "",
    app: AppName = "",
    namespace: Namespace = "",
    prune: Prune = None,
    prune_count: PruneCount = 10,
    prune_percent: PrunePercent = 20,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Apply without asking.")] = False,
    approve: Annotated[
        str, typer.Option("--approve", help="Apply only the plan with this hash.")
    ] = "",
    timeout: Timeout = "5m",
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait for health; only then prune.")
    ] = True,
    full: Full = False,
    verify: Verify = "",
    trust: Trust = None,
    accept_rewrite: AcceptRewrite = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    json: Json = False,
) -> None:
    """Apply a revision: show the plan, ask, write it in stages, wait for health, prune last."""
    limit = seconds(timeout)
    limits = limits_of(prune, prune_count, prune_percent)
    with bar() as progress, kept():
        one, pinned = session(
            kubeconfig, context, repo, path, revision, app,
            namespace=namespace, limits=limits, accept_rewrite=accept_rewrite,
            verify=verify, trust=trust, progress=progress,
        )  # fmt: skip
        planned = one.plan(pinned, full=full)
    if not json:
        _show(planned, as_json=False, unchanged=False)
    if planned.blocking:
        raise Problems([InputError(line) for line in planned.blocking])
    _approve(planned, yes=yes, approve=approve, as_json=json)
    with bar() as progress, one.holding() as held:
        one.progress = progress
        applied = one.apply(planned, timeout=limit, wait=wait, go_on=held)
    why = [] if applied.ok else _why(one.cluster, applied)
    document = (
        {"plan": planned.as_dict(), "applied": applied.as_dict(), "why": why} if json else None
    )
    emit(document, _result(applied, why, waited=wait), as_json=json)
    if not applied.ok:
        raise typer.Exit(1)


def _why(cluster: Cluster, applied: Applied) -> list[str]:
    from opslib.rollout import explain

    return explain(cluster, (state.key for state in applied.unhealthy))


def _show(planned: Planned, *, as_json: bool, unchanged: bool) -> None:
    from opslib.view.plans import plan_text

    text = "" if as_json else plan_text(planned, unchanged=unchanged)
    emit(planned.as_dict() if as_json else None, text, as_json=as_json)


def _show_check(found: Taken, *, as_json: bool) -> None:
    """Show the plan and the review; as JSON the plan's document with the review's beside it."""
    from opslib.cli.drift import review_text
    from opslib.drift.encode import review_document
    from opslib.view.plans import plan_text

    if as_json:
        document = review_document(found.review)
        drifts = document.pop("drifts")
        emit({**found.planned.as_dict(), "drifts": drifts, "review": document}, "", as_json=True)
        return
    text = plan_text(found.planned, unchanged=False)
    emit(None, f"{text}\n\n{review_text(found.review)}", as_json=False)


def _approve(planned: Planned, *, yes: bool, approve: str, as_json: bool) -> None:
    """Let only a plan go on that somebody said yes to; a plan without writes needs no yes."""
    plan_made = planned.prepared.plan
    approved(plan_made.hash, yes=yes or not plan_made.writes, approve=approve, as_json=as_json)


def _result(applied: Applied, why: Sequence[str], *, waited: bool) -> str:
    from opslib.core.clock import human_seconds
    from opslib.view.text import clean

    lines = [f"failed: {f.key}: {clean(f.what)}" for f in applied.failures]
    lines += [f"{s.health}: {s.key}: {clean(s.message)}" for s in applied.unhealthy]
    lines += map(clean, why)
    verdict = "NOT as planned" if not applied.ok else "healthy" if waited else "not waited for,"
    lines.append(
        f"Applied: {len(applied.written)} written, {len(applied.deleted)} deleted, "
        f"{verdict} after {human_seconds(applied.seconds)}."
    )
    return "\n".join(lines)
