"""opslib drift revert, adopt, ignore, escalate: an answer to some differences, carried out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opslib.cli.common import (
    AppName,
    Audit,
    Context,
    FolderPath,
    Json,
    Kubeconfig,
    Namespace,
    Repo,
    Trust,
    Verify,
    approved,
    emit,
    out,
)
from opslib.cli.drift import Applied, Ids, Where, app, chosen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opslib.drift.carry import Acts


__all__ = ["app"]

Reason = Annotated[str, typer.Option("--reason", "-m", help="Why: it goes into the record.")]
Author = Annotated[
    str,
    typer.Option("--author", help="Who decides, as 'Name <mail>'; default: whom git names."),
]
Branch = Annotated[
    bool, typer.Option("--push", help="Push the branch to where the source was fetched from.")
]
To = Annotated[
    Path | None, typer.Option("--to", help="Folder for patches and bundles; default: the state's.")
]


@app.command()
def revert(
    ids: Ids,
    repo: Repo = ".",
    path: FolderPath = "",
    revision: Applied = "",
    app: AppName = "",
    namespace: Namespace = "",
    audit: Audit = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Write without asking.")] = False,
    approve: Annotated[
        str, typer.Option("--approve", help="Write only the plan with this hash.")
    ] = "",
    reason: Reason = "",
    verify: Verify = "",
    trust: Trust = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    json: Json = False,
) -> None:
    """Put just these fields and objects back to what Git declares: shown, asked, written.

    The evidence is on disk before the first write. Fields of the same object that are not
    named keep their live value.
    """
    where = Where(repo, path, revision, app, namespace, kubeconfig, context, verify, trust, audit)
    act(where, ids, "revert", reason=reason, ask=True, yes=yes, approve=approve, as_json=json)


@app.command()
def adopt(
    ids: Ids,
    repo: Repo = ".",
    path: FolderPath = "",
    revision: Applied = "",
    app: AppName = "",
    namespace: Namespace = "",
    audit: Audit = "",
    reason: Reason = "",
    author: Author = "",
    push: Branch = False,
    to: To = None,
    verify: Verify = "",
    trust: Trust = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    json: Json = False,
) -> None:
    """Commit what is live to a new branch: the smallest edit that rendering proves.

    No branch that is there, no work tree and nothing in the cluster is touched.
    """
    where = Where(repo, path, revision, app, namespace, kubeconfig, context, verify, trust, audit)
    act(where, ids, "adopt", reason=reason, author=author, push=push, to=to, as_json=json)


@app.command()
def ignore(
    ids: Ids,
    until: Annotated[str, typer.Option("--until", help="Last day, such as 2027-01-31.")],
    reason: Annotated[str, typer.Option("--reason", "-m", help="Why: it goes into opslib.yaml.")],
    repo: Repo = ".",
    path: FolderPath = "",
    revision: Applied = "",
    app: AppName = "",
    namespace: Namespace = "",
    audit: Audit = "",
    author: Author = "",
    push: Branch = False,
    to: To = None,
    verify: Verify = "",
    trust: Trust = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    json: Json = False,
) -> None:
    """Commit a rule with a reason and a last day to a new branch; then the alarm comes again."""
    where = Where(repo, path, revision, app, namespace, kubeconfig, context, verify, trust, audit)
    act(
        where, ids, "ignore",
        reason=reason, until=until, author=author, push=push, to=to, as_json=json,
    )  # fmt: skip


@app.command()
def escalate(
    ids: Ids,
    repo: Repo = ".",
    path: FolderPath = "",
    revision: Applied = "",
    app: AppName = "",
    namespace: Namespace = "",
    audit: Audit = "",
    reason: Reason = "",
    to: To = None,
    verify: Verify = "",
    trust: Trust = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    json: Json = False,
) -> None:
    """Put all the evidence of some differences into one file, for somebody else to decide."""
    where = Where(repo, path, revision, app, namespace, kubeconfig, context, verify, trust, audit)
    act(where, ids, "escalate", reason=reason, to=to, as_json=json)


def act(
    where: Where,
    ids: Sequence[str],
    answer: str,
    *,
    reason: str = "",
    until: str = "",
    author: str = "",
    ask: bool = False,
    yes: bool = False,
    approve: str = "",
    push: bool = False,
    to: Path | None = None,
    as_json: bool,
) -> None:
    """Review, decide, show, ask where the cluster is written, carry out, tell."""
    from opslib.drift.carry import effects, prepare
    from opslib.drift.choices import decided
    from opslib.drift.model import Disposition
    from opslib.runbook.gates import person

    decision = decided(Disposition(answer), by=author or person(), reason=reason, until=until)
    session, taken = where.taken()
    drifts = [replace(one, decision=decision) for one in chosen(ids, taken.review)]
    acts = prepare(session, taken, drifts, author)
    if not as_json:
        out(plan_text(acts))
    if ask:
        approved(acts.hash, yes=yes, approve=approve, as_json=as_json)
    done = {name: effect() for name, effect, _ in effects(session, acts, push=push, folder=to)}
    document = {"hash": acts.hash, "decided": acts.counts, "done": done}
    emit(document, done_text(done), as_json=as_json)
    if not all(one.get("ok", True) for one in done.values()):
        raise typer.Exit(1)


def plan_text(acts: Acts) -> str:
    """Return what would be done, one line for each difference, and the hash that approves it."""
    from opslib.view.text import clean

    lines = [clean(line) for line in acts.consequences]
    if acts.proposal and acts.proposal.diff:
        lines += ["", clean(acts.proposal.diff)]
    return "\n".join([*lines, "", f"Answers: {acts.summary}.", f"Hash: {acts.hash}"])


def done_text(done: dict[str, Any]) -> str:
    """Return what was done, and what a person does next."""
    from opslib.view.text import clean

    lines = []
    for name, one in done.items():
        said = one.get("next") or ""
        lines.append(
            f"{name}: {said}" if one.get("ok", True) else f"{name}: NOT as decided: {said}"
        )
        lines += [f"  warning: {line}" for line in one.get("warnings") or ()]
        lines += [f"  {r['object']} {r['path']}: {r['why']}" for r in one.get("refused") or ()]
        lines += [f"  {r['object']}: {r['what']}" for r in one.get("failures") or ()]
    return clean("\n".join(lines))
