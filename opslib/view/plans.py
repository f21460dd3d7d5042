"""A plan for people: as text in a terminal, as a table in a runbook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opslib.reconcile.plan import Action, Change, Plan
from opslib.reconcile.remains import parts_of
from opslib.view.text import clean, columns, styled, value

if TYPE_CHECKING:
    import pandas as pd

    from opslib.reconcile.planned import Planned
    from opslib.runbook import gates


_SIGNS = {
    Action.CREATE: ("+", "green"),
    Action.UPDATE: ("~", "yellow"),
    Action.REPLACE: ("±", "red"),
    Action.DELETE: ("-", "red"),
    Action.KEEP: ("!", "dim"),
    Action.UNCHANGED: (" ", "dim"),
}


def plan_text(planned: Planned, *, unchanged: bool = False) -> str:
    """Write a plan as text: each change with its fields and the line of Git, then the counts."""
    plan = planned.prepared.plan
    revision = plan.revision
    lines = [
        f"App      {plan.app}",
        f"Commit   {revision.short} {clean(revision.subject)}".rstrip(),
        *([f"Signed   {clean(revision.signed_by)}"] if revision.signed_by else []),
        f"Source   {clean(revision.url)}" + (f" ({revision.path})" if revision.path else ""),
        f"Cluster  {plan.server}",
        "",
    ]
    for change in plan.changes:
        if change.action is not Action.UNCHANGED or unchanged:
            lines += _change_lines(change)
    lines += _notes(planned)
    lines += [f"Plan: {summary(plan)}.", f"Hash: {plan.hash}"]
    return "\n".join(lines)


def summary(plan: Plan) -> str:
    """Return the counts in the words of ``terraform plan``."""
    counts = plan.counts
    text = (
        f"{counts['create']} to create, {counts['update']} to change, "
        f"{counts['delete']} to delete, {counts['unchanged']} unchanged"
    )
    if counts["replace"]:
        text += f", {counts['replace']} to delete and create"
    if counts["keep"]:
        text += f", {counts['keep']} kept that Git no longer has"
    if plan.problems:
        text += f", {len(plan.problems)} with problems"
    return text


def _change_lines(change: Change) -> list[str]:
    sign, style = _SIGNS[change.action]
    head = f"{sign} {change.action} {change.key}"
    where = f"  ({clean(str(change.origin))})" if change.origin else ""
    lines = [styled(clean(head), style) + where]
    if change.simulated:
        lines.append(f"    simulated: {change.simulated}")
    lines += [f"    {clean(note)}" for note in change.left_out]
    if change.takeovers:
        names = clean(", ".join(change.takeovers))
        lines.append(f"    fields of {names} become the app's; what Git does not declare goes")
    if change.reason:
        lines.append(f"    {clean(change.reason)}")
    rows = []
    for field in change.fields:
        left = "" if change.action is Action.CREATE else f"{value(field.before)} → "
        number = str(field.line or "").rjust(5)
        rows.append([number, clean(field.path), clean(left + value(field.after))])
    return [*lines, *columns(rows), ""]


def _notes(planned: Planned) -> list[str]:
    plan = planned.prepared.plan
    lines = [f"warning: {clean(text)}" for text in plan.warnings]
    for finding in planned.policy.findings:
        if str(finding.severity) in {"error", "warning"} and finding.exception is None:
            lines.append(
                f"policy {finding.severity}: {finding.origin}: {clean(finding.message)}"
                f" [{finding.rule}]"
            )
            lines.append(f"    to do: {clean(finding.fix)}")
    lines += [f"waits: {clean(text)}" for text in planned.waits]
    for problem in plan.problems:
        lines.append(f"problem: {problem.origin}: {problem.key}: {clean(problem.message)}")
        if problem.hint:
            lines.append(f"    to do: {clean(problem.hint)}")
    return [*lines, ""] if lines else []


def plan_view(planned: Planned) -> gates.Plan:
    """Return what the gate of a runbook has to know of a plan."""
    from opslib.runbook import gates  # noqa: PLC0415  # only runbooks have a gate

    plan = planned.prepared.plan
    gone = [c for c in plan.writes if c.action in {Action.DELETE, Action.REPLACE}]
    verbs = {Action.DELETE: "deletes", Action.REPLACE: "deletes and creates anew"}
    lines = [f"{verbs[change.action]} {change.key}" for change in gone]
    lines += [
        f"takes over fields of {', '.join(change.takeovers)} in {change.key}"
        for change in plan.writes
        if change.takeovers
    ]
    return gates.Plan(
        hash=plan.hash,
        summary=f"{summary(plan)}, on {plan.server}",
        target=plan.app,
        consequences=(*map(clean, lines), *map(clean, plan.warnings), *map(clean, planned.waits)),
        destructive=bool(gone),
        empty=not plan.writes,
        cluster=plan.cluster_uid,
        part_hashes=parts_of(planned.prepared),
    )


def plan_rows(plan: Plan) -> list[dict[str, Any]]:
    """Return one row per field that changes: action, object, field, before, after, origin."""
    rows: list[dict[str, Any]] = []
    for change in plan.changes:
        if change.action is Action.UNCHANGED:
            continue
        base = {"action": str(change.action), "object": str(change.key)}
        path = change.origin.path if change.origin else ""
        if change.action in {Action.UPDATE, Action.REPLACE}:
            rows += [
                {
                    **base,
                    "field": field.path,
                    "before": value(field.before),
                    "after": value(field.after),
                    "declared at": f"{path}:{field.line}" if field.line else "",
                }
                for field in change.fields
            ]
        else:
            note = change.reason or change.simulated
            count = f"{len(change.fields)} fields" if change.action is Action.CREATE else note
            rows.append(
                {
                    **base,
                    "field": "(whole object)",
                    "before": "(none)" if change.action is Action.CREATE else "live",
                    "after": count,
                    "declared at": str(change.origin or ""),
                }
            )
    return rows


def plan_table(plan: Plan) -> pd.DataFrame:
    """Return the plan as a table for a runbook, one row per changed field."""
    import pandas as pd  # noqa: PLC0415  # 0.4 s that only runbooks pay

    names = ["action", "object", "field", "before", "after", "declared at"]
    return pd.DataFrame(plan_rows(plan), columns=names)
