"""The sealing of a value for people: for whom, the diff, the commit, how far it has come."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from opslib.view import show
from opslib.view.text import clean, columns

if TYPE_CHECKING:
    from opslib.rollout.arrival import Arrival
    from opslib.seal.desk import Desk
    from opslib.seal.proposal import Change

_LONG = re.compile(r"[A-Za-z0-9+/=]{120,}")
_MOST_LINES, _KEPT = 400, 2


def recipients(desk: Desk) -> None:
    """Show the commit, and each cluster with the key that its values are sealed for."""
    base = desk.base
    show.say(clean(f"Commit {base.short} of {base.url}: {base.subject}"))
    head = ("cluster", "key", "valid until", "pinned in Git", "folder")
    rows = [
        (
            one.name,
            one.certificate.fingerprint,
            f"{one.certificate.not_after:%Y-%m-%d}",
            "yes" if one.pinned else "no",
            one.folder or "(root)",
        )
        for one in desk.recipients
    ]
    _table(head, rows)
    for text in desk.told:
        show.say(clean(text), "bad")


def change(one: Change) -> None:
    """Show what the commit changes: in one line, what restarts, and the diff itself."""
    show.say(clean(f"Plan: {one.summary}."), "note" if one.files else "good")
    for line in one.consequences[: len(one.consequences) - len(one.told)]:
        show.say(clean(line))
    for line in one.told:
        show.say(clean(line), "bad")
    if one.diff:
        lines = list(_shortened(one.diff))
        page = "".join(f'<span class="{_sign(line)}">{esc(line)}</span>\n' for line in lines)
        _display(f'{_STYLE}<pre class="seal">{page}</pre>', clean("\n".join(lines)))


_STYLE = """<style>
.seal span { display: inline-block; min-width: 100%; }
.seal .new { background: #1a7f3726; } .seal .old { background: #b4231826; }
.seal .place { font-weight: 600; } .seal { overflow-x: auto; }
</style>"""


def _sign(line: str) -> str:
    if line.startswith(("+++", "---", "@@", "diff ")):
        return "place"
    return {"+": "new", "-": "old"}.get(line[:1], "same")


def _shortened(diff: str) -> Iterator[str]:
    """Yield the lines of a diff; of a ciphertext its length: nobody reads the rest."""

    def cut(found: re.Match[str]) -> str:
        return f"{found[0][:_KEPT]}…({len(found[0])} characters)"

    lines = diff.splitlines()
    for line in lines[:_MOST_LINES]:
        yield _LONG.sub(cut, line)
    if len(lines) > _MOST_LINES:
        yield f"… and {len(lines) - _MOST_LINES} lines more"


def done(result: Mapping[str, Any]) -> None:
    """Tell where the commit is, and what a person does next."""
    text = f"Committed {result['commit'][:12]} to {result['branch']}; next: {result['next']}"
    show.say(clean(text), "good")


def arrived(found: Sequence[Arrival]) -> None:
    """Tell how far the value has come in each cluster, and of each workload that reads it."""
    for one in found:
        mood: show.Mood = "good" if one.done else "bad" if one.state == "refused" else "note"
        since = f", since {one.changed[:19]}Z" if one.changed else ""
        show.say(clean(f"{one.cluster}: {one.message}{since}."), mood)
        rows = [
            (row.workload, ", ".join(row.uses), row.state, row.since[:19], row.why)
            for row in one.restarts
        ]
        if rows:
            _table(("workload", "reads it as", "state", "started (UTC)", "why"), rows)
        elif one.state == "synced":
            show.say("No Deployment, StatefulSet or DaemonSet of its namespace reads it.")


def not_followed(why: str) -> None:
    """Say why nobody looks at a cluster here."""
    show.say(clean(why))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    top = "".join(f"<th>{esc(name)}</th>" for name in head)
    body = "".join(f"<tr>{''.join(f'<td>{esc(cell)}</td>' for cell in row)}</tr>" for row in rows)
    page = f'<table class="dataframe"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'
    plain = columns([list(head), *([clean(cell) for cell in row] for row in rows)])
    _display(page, "\n".join(plain))


def esc(text: object) -> str:
    """Return a text from Git or the cluster as HTML."""
    return html.escape(clean(str(text)))


def _display(page: str, plain: str) -> None:
    from IPython.display import display  # noqa: PLC0415  # only a kernel has it

    display({"text/html": page, "text/plain": plain}, raw=True)
