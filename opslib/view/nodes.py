"""A node check for people: lines for a terminal, frames and sentences for a runbook."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from opslib.core.errors import DriftFound
from opslib.node.values import plain
from opslib.view import nodetables, show
from opslib.view.text import clean, columns

if TYPE_CHECKING:
    import pandas as pd

    from opslib.node.model import Difference, NodeCheck, Told
    from opslib.node.review import NodeReview
    from opslib.view.show import Mood

_WIDTH = 40
MOST_NODES, MOST_REPORTED = 50, 500
MOST_ROWS = 200
"""Differences of a node in the page; all are in the attached check.json."""


def review_text(found: NodeReview) -> str:
    """Return a review for a terminal: the headline, then each node with its differences."""
    lines = [clean(found.headline)]
    for one in found.checks:
        lines += ["", *_node_lines(one)]
    return "\n".join(lines)


def _node_lines(one: NodeCheck) -> list[str]:
    pool = f" ({one.pool})" if one.pool else ""
    about = f"{one.checked} rules, {one.compared} facts, {one.peers} peers"
    lines = [clean(f"{one.name}{pool}: {one.verdict}; {about}")]
    for item in one.differences:
        lines += [f"  {item.severity:8}{clean(item.key)}  [{', '.join(item.planes)}]"]
        rows = [["what", item.what], ["why", item.why], ["to do", item.todo]]
        rows += [["changed", told(item.changed)], ["declared", declared(item)]]
        rows += [["source", item.source]]
        lines += columns([[a, clean(b)] for a, b in rows if b], indent="          ")
    for gap in one.unknown:
        lines.append(clean(f"  unknown {gap.key}: {gap.why} (asked for: {gap.desired})"))
    lines += [clean(f"  note: {text}") for text in one.notes]
    return lines


def told(commit: Told | None) -> str:
    """Return who changed a value, when, and from what; "" where nobody knows."""
    if commit is None:
        return ""
    was = _cell(commit.before) if commit.before else ""
    at = f"{commit.commit[:12]} {commit.when[:10]} {commit.author}: {commit.subject}"
    if commit.after:
        return f"after {at}, which had {was or 'nothing'}"
    return f"{at}, from {was}" if was else at


def declared(one: Difference) -> str:
    """Return where a rule stands, and who wrote it."""
    if not one.rule:
        return ""
    by = f", {told(one.declared)}" if one.declared else ""
    return f"{one.baseline} ({one.rule}){by}"


def nodes_frame(found: NodeReview) -> pd.DataFrame:
    """Return a row per node: the verdict, and how many differences each plane shows."""
    import pandas as pd  # noqa: PLC0415  # the terminal does without

    names = {"running": "kernel", "persisted": "files", "snapshot": "since snapshot"}
    rows = [{names.get(key, key): value for key, value in row.items()} for row in found.planes()]
    return pd.DataFrame(rows)


_PLANES = ("severity", "key", "desired (Git)", "files", "kernel", "peers", "last changed")


def planes_frame(one: NodeCheck) -> pd.DataFrame:
    """Return a node's differences with the four planes side by side, the gravest first.

    A value that disagrees begins with ≠.
    """
    return _filled([_planes_row(item) for item in one.differences[:MOST_ROWS]], _PLANES)


def _planes_row(item: Difference) -> tuple[str, ...]:
    return (
        item.severity,
        clean(item.key),
        clean(item.desired or ""),
        _sign("persisted", item) + _cell(item.persisted),
        _sign("running", item) + _cell(item.running),
        _sign("peers", item) + clean(item.peers or ""),
        clean(told(item.changed)),
    )


def _sign(plane: str, item: Difference) -> str:
    """Return the mark of a plane that disagrees; a peer's majority marks the kernel's value."""
    if plane == "running":
        return "≠ " if {"running", "peers", "snapshot"} & set(item.planes) else ""
    return "≠ " if plane in item.planes and plane != "peers" else ""


def planes_html(one: NodeCheck) -> str:
    """Return ``planes_frame`` as HTML."""
    frame = planes_frame(one)
    rows = [
        [
            nodetables.name(cell)
            if column == "key"
            else nodetables.marked(cell[2:])
            if cell.startswith("≠ ")
            else html.escape(cell)
            for column, cell in zip(frame.columns, row, strict=True)
        ]
        for row in frame.itertuples(index=False)
    ]
    return nodetables.table(list(frame.columns), rows)


_TO_DO = ". To do: "
_TODO = ("severity", "key", "nodes", "what, and to do", "why", "source")


def todo_frame(checks: Iterable[NodeCheck]) -> pd.DataFrame:
    """Return what to do, once for all nodes that need the same: the gravest first."""
    import pandas as pd  # noqa: PLC0415  # the terminal does without

    found: dict[tuple[str, ...], list[str]] = {}
    for one in checks:
        for item in one.differences:
            said = clean(f"{item.what}{_TO_DO}{item.todo}")
            row = (item.severity, clean(item.key), said, clean(item.why), clean(item.source))
            found.setdefault(row, []).append(one.name)
    rank = {"error": 0, "warning": 1, "info": 2}
    rows = [
        (row[0], row[1], clean(_few(names)), *row[2:])
        for row, names in sorted(found.items(), key=lambda pair: (rank[pair[0][0]], pair[0][1]))
    ]
    return pd.DataFrame(rows[:MOST_ROWS], columns=list(_TODO))


def todo_html(frame: pd.DataFrame) -> str:
    """Return ``todo_frame`` as HTML: what to do on a line of its own, the source under the why."""
    rows = []
    for severity, key, nodes, said, why, source in frame.itertuples(index=False):
        what, _, act = said.partition(_TO_DO)
        rows.append(
            [
                html.escape(severity),
                nodetables.name(key),
                html.escape(nodes),
                f"{html.escape(what)}.<br><b>{_TO_DO.strip(' .')}</b> {html.escape(act)}",
                f"{html.escape(why)}<br>{nodetables.link(source)}" if why else "",
            ]
        )
    return nodetables.table([*_TODO[:4], "why, and who says so"], rows)


def unknown_frame(checks: Iterable[NodeCheck]) -> pd.DataFrame:
    """Return what could not be read: it is not known to be right."""
    import pandas as pd  # noqa: PLC0415  # the terminal does without

    rows = [
        (one.name, clean(gap.key), clean(gap.desired), clean(gap.why))
        for one in checks
        for gap in one.unknown
    ]
    return pd.DataFrame(rows, columns=["node", "key", "desired (Git)", "not read because"])


def _filled(rows: Sequence[Sequence[str]], names: Sequence[str]) -> pd.DataFrame:
    """Return rows as a frame without the columns that are empty throughout."""
    import pandas as pd  # noqa: PLC0415  # the terminal does without

    frame = pd.DataFrame(rows, columns=list(names))
    return frame[[name for name in names if frame.empty or frame[name].astype(bool).any()]]


def _cell(value: str | None) -> str:
    if value is None:
        return "-"
    text = clean(plain(value))
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"


def _few(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def summary(found: NodeReview) -> None:
    """Show the verdict, and what it was compared with."""
    mood: Mood = "bad" if found.differences else "note" if found.verdict != "clean" else "good"
    show.say(clean(found.headline), mood)
    about = found.revision
    if about:
        show.say(clean(f"Git: {about.url}, {about.short} by {about.author}: {about.subject}"))
    for line in found.warnings:
        show.say(clean(line))


def table(found: NodeReview) -> None:
    """Show each node with the differences of each plane."""
    show.table(nodes_frame(found))


def planes(found: NodeReview) -> None:
    """Show each node's keys with their planes side by side; nodes that are right are one line."""
    for one in [check for check in found.checks if check.differences][:MOST_NODES]:
        pool = f", pool {one.pool}" if one.pool else ""
        about = f"{one.checked} rules, {one.compared} facts, {one.peers} peers"
        show.say(clean(f"{one.name}{pool}: {about}"), "bad")
        _shown(planes_frame(one), planes_html(one))
        for text in one.notes:
            show.say(clean(text))
    right = [one.name for one in found.checks if not one.differences]
    if right:
        show.say(clean(f"as declared: {_few(right)}"), "good")


def todo(found: NodeReview) -> None:
    """Show what to do, the gravest first, once for all nodes that need the same."""
    frame = todo_frame(found.checks)
    if frame.empty:
        show.say("nothing to do", "good")
    else:
        _shown(frame, todo_html(frame))


def _shown(frame: pd.DataFrame, page: str) -> None:
    from IPython.display import display  # noqa: PLC0415  # only a kernel has it

    display({"text/plain": frame.to_string(index=False), "text/html": page}, raw=True)


def unknown(found: NodeReview) -> None:
    """Show what could not be read."""
    show.table(unknown_frame(found.checks), empty="everything that a rule names could be read")


def report(found: NodeReview) -> dict[str, Any]:
    """Return what ``runbook.report`` takes: the headline, counts, and the rows of the nodes."""
    rows = [
        {
            "node": one.name,
            "key": item.key,
            "planes": list(item.planes),
            "severity": item.severity,
            "what": item.what,
            "todo": item.todo,
        }
        for one in found.checks
        for item in one.differences
    ]
    return {
        "headline": found.headline,
        "verdict": found.verdict,
        "revision": found.revision.commit if found.revision else None,
        "nodes": found.planes(),
        "differences": rows[:MOST_REPORTED],
    }


def beside(repo: str, wanted: str) -> NodeReview | None:
    """Show how nodes are, for a review of something else; None where no node is asked for.

    ``wanted`` names nodes with a snapshot in Git, with commas; ``*`` is all of them.
    """
    from opslib.node.review import Asked, review, several  # noqa: PLC0415  # only who asks pays

    if not wanted.strip():
        show.say("no nodes were asked for")
        return None
    found = review(Asked(repo=repo, nodes=several(wanted)))
    summary(found)
    table(found)
    return found


def alarm(found: NodeReview | None, *, on: bool) -> None:
    """Raise DriftFound (exit 4) while something differs, if asked to."""
    if on and found and found.differences:
        raise DriftFound(found.headline, hint="what to do stands beside each difference")
