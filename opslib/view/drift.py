"""A drift review for people: the first line, what matters first, and the diff with its blame.

As HTML it reads alike in JupyterLab and in a record, on light and on dark screens: colours are
tints over the page's own, and nothing is said by a colour alone. Everything in it is escaped.
Thousands of differences are shown as groups of alike ones, in pages; all of them are in the
review's JSON.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

from opslib.drift.encode import headline
from opslib.drift.model import Difference, Disposition, Drift, Review
from opslib.drift.order import (
    WEIGHTS,
    Group,
    ago,
    grouped,
    kind_of_actor,
    moment,
    named,
    ordered,
    weight,
    when,
    who,
)
from opslib.drift.remember import Remembered
from opslib.view import yamldiff
from opslib.view.show import say
from opslib.view.text import clean, columns, value

ALIKE_FROM = 101
"""From so many differences on alike ones are one row."""
PAGE, PAGES = 50, 10
OPEN_DIFFS, MOST_DIFFS = 15, 100
_HEAD = {"why first": 12, "what": 32, "Git → cluster": 22, "who": 17, "since": 17}
"""Columns with their widths in per cent."""


@cache
def style() -> str:
    """Return the rules for what is shown here, as an element."""
    rules = (resources.files("opslib.view") / "drift.css").read_text(encoding="utf-8")
    return f"<style>{rules}</style>"


def esc(text: object) -> str:
    """Return a text from Git or the cluster as HTML."""
    return html.escape(clean(str(text)))


def display(markup: str, plain: str) -> None:
    """Show HTML, and beside it the text for whoever has no page."""
    from IPython.display import display as show  # noqa: PLC0415  # only a kernel has it

    page = f'{style()}<div class="drift">{markup}</div>'
    show({"text/html": page, "text/plain": plain}, raw=True)


def summary(review: Review) -> None:
    """Show the first line, what the review is of, and what it could not see."""
    facts = [(name, text) for name, text in _facts(review) if text]
    rows = "".join(
        f'<tr><th class="short" scope="row">{esc(name)}</th><td>{esc(text)}</td></tr>'
        for name, text in facts
    )
    page = f'<p class="headline">{esc(headline(review))}</p><table>{rows}</table>'
    page += _explained(review.explained)
    lines = [headline(review), *columns([[name, clean(text)] for name, text in facts])]
    display(page, "\n".join([*lines, *map(clean, review.explained)]))
    for text in review.warnings:
        say(clean(text), "bad")
    for gap in review.unread:
        say(clean(f"Not reviewed: {gap.what}: {gap.why}"), "bad")


def since_last(found: Remembered) -> None:
    """Say what is new since the last review, what is gone, and how long things take."""
    for line in (*found.sentences(), *found.warnings):
        say(clean(line))
    if found.gone:
        items = "".join(f"<li>{esc(line)}</li>" for line in found.gone[:PAGE])
        left = len(found.gone) - PAGE
        more = f"<p>… {left} more</p>" if left > 0 else ""
        head = f"<summary>{len(found.gone)} gone since then</summary>"
        page = f"<details open>{head}<ul>{items}</ul>{more}</details>"
        display(page, clean("\n".join(found.gone[:PAGE])))


def _facts(review: Review) -> list[tuple[str, str]]:
    revision = review.revision
    commit = f"{revision.short} {revision.subject}".strip()
    place = f"{revision.url} {revision.path}".strip()
    planes = "; ".join(f"{name} {text}" for name, text in review.planes.items())
    return [
        ("App", review.app),
        ("Against", f"{commit} ({place})"),
        ("Cluster", review.server),
        ("Looked at", f"{review.objects} objects, {review.taken_at[:19].replace('T', ' ')}Z"),
        ("Who did it", review.audit or "without an audit log: field managers only, no users"),
        ("Planes", planes),
    ]


def _explained(lines: Sequence[str]) -> str:
    if not lines:
        return ""
    items = "".join(f"<li>{esc(line)}</li>" for line in lines[:500])
    more = f"<p>… {len(lines) - 500} more in the review's JSON</p>" if len(lines) > 500 else ""
    head = f"{len(lines)} more differ by right: by a rule, an autoscaler, or the server"
    return f"<details><summary>{head}</summary><ul>{items}</ul>{more}</details>"


def groups_of(drifts: Sequence[Drift]) -> list[Group]:
    """Return what a page shows as one row each, in order."""
    return grouped(drifts, alike_from=ALIKE_FROM)


def table(review: Review) -> None:
    """Show every difference, or group of alike ones, as a row; what matters comes first."""
    if not review.drifts:
        say("Nothing differs: the cluster is what Git says.", "good")
        return
    groups = groups_of(review.drifts)
    page = paged(groups, _HEAD, _row, "differences")
    note = "First what opens a door, then what runs, then settings; what people did before the rest"
    display(f'<p class="soft">{note}; the newest first.</p>{page}', table_text(groups))


def paged(
    items: Sequence[Any], head: Mapping[str, int], row: Callable[[Any], str], what: str
) -> str:
    """Return a table in pages that open without a script; the first one is open."""
    cells = "".join(
        f'<th scope="col" style="width:{width}%">{esc(name)}</th>' for name, width in head.items()
    )
    pages = []
    for start in range(0, min(len(items), PAGE * PAGES), PAGE):
        part = items[start : start + PAGE]
        body = "".join(map(row, part))
        one = f"<table class='rows'><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"
        if start:
            name = f"{start + 1} to {start + len(part)} of {len(items)}"
            one = f"<details><summary>{name}</summary>{one}</details>"
        pages.append(one)
    left = len(items) - PAGE * PAGES
    if left > 0:
        pages.append(f"<p>… {left} more rows of {what} are in the review's JSON only.</p>")
    return "".join(pages)


def _row(group: Group) -> str:
    one = group.first
    time = esc(moment(one)[0][:16].replace("T", " "))
    cells = [
        f'<td><span class="mark">{WEIGHTS[weight(one)]}</span><br><code>{one.id[:8]}</code></td>',
        f"<td>{what_html(group)}</td>",
        f"<td>{_values(group)}</td>",
        f"<td>{_who(group)}</td>",
        f"<td>{esc(ago(one))}<br><span class='soft'>{time}</span>{_answer(one)}</td>",
    ]
    return f"<tr>{''.join(cells)}</tr>"


def what_html(group: Group) -> str:
    """Return which field of which object, or of how many, differs in which way."""
    one = group.first
    field = f"<code>{_path(one.path)}</code> " if one.path else "the whole object "
    text = f"<b>{esc(_object(group))}</b><br>{field}<span class='soft'>{one.difference}</span>"
    plane = f"<br><span class='soft'>of {one.plane}</span>" if one.plane != "objects" else ""
    note = f"<br><span class='soft'>{esc(one.note)}</span>" if one.note else ""
    return text + plane + note


def _path(path: str) -> str:
    """Return a path as HTML that breaks between its steps."""
    return re.sub(r"(?<=[^.\[])([.\[])", r"<wbr>\1", esc(path))


def _object(group: Group) -> str:
    objects = group.objects
    if len(objects) == 1:
        return named(objects[0])
    names = ", ".join(one.name for one in objects[:3])
    return f"{len(objects)} {objects[0].kind} objects: {names}{', …' if len(objects) > 3 else ''}"


def _values(group: Group) -> str:
    one = group.first
    if one.difference in {Difference.MISSING, Difference.EXTRA}:
        return "gone" if one.difference is Difference.MISSING else "not in Git"
    pairs = {pair(each.declared, each.live) for each in group.drifts[:500]}
    if len(pairs) > 1:
        return f"<span class='soft'>{len(pairs)} different values</span>"
    left, right = pairs.pop()
    return f"<code>{esc(left)}</code> → <code>{esc(right)}</code>"


def pair(old: Any, new: Any, width: int = 70) -> tuple[str, str]:
    """Return both values on one line each, from where they begin to differ."""
    if isinstance(old, str) and isinstance(new, str):
        if "\n" in old or "\n" in new:
            return f"{len(old.splitlines())} lines", f"{len(new.splitlines())} lines, see below"
        same = next((at for at, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), 0)
        cut = max(old.rfind(mark, 0, same) for mark in "/ ,;") + 1
        if cut > 12:
            old, new = f"…{old[cut:]}", f"…{new[cut:]}"
    left, right = (value(one, width) for one in (old, new))
    return left, right


def _who(group: Group) -> str:
    names = list(dict.fromkeys(who(one) for one in group.drifts))
    more = f" and {len(names) - 1} others" if len(names) > 1 else ""
    actor = kind_of_actor(group.first)
    mark = f"<span class='mark'>{actor}</span> " if actor != "unknown" else ""
    one = group.first
    fight = f"<br><span class='soft'>{one.fight.count} times in turn: " if one.fight else ""
    fight += f"{esc(' and '.join(one.fight.writers))}</span>" if one.fight else ""
    return f"{mark}{esc(names[0])}{more}{fight}"


def _answer(one: Drift) -> str:
    told = one.decision
    if told.disposition is Disposition.OPEN:
        return ""
    until = f" until {esc(told.until)}" if told.until else ""
    return f"<br><b>{told.disposition}</b>{until} <span class='soft'>by {esc(told.by)}</span>"


def table_text(groups: Sequence[Group], limit: int = PAGE) -> str:
    """Return the table as text, the first rows of it: what, the values, who and since when."""
    rows: list[list[str]] = []
    for group in groups[:limit]:
        one = group.first
        many = f" ({len(group)} alike)" if len(group) > 1 else ""
        marks = [WEIGHTS[weight(one)], one.id[:8], str(one.difference)]
        lines = [f"{_object(group)} {one.path}".rstrip() + many]
        if one.path and one.difference not in {Difference.MISSING, Difference.EXTRA}:
            lines.append(" → ".join(pair(one.declared, one.live)))
        lines.append(", ".join(dict.fromkeys((who(one), when(one)))))
        lines += [one.note] if one.note else []
        rows.append([*marks, clean(lines[0])])
        rows += [["", "", "", f"  {clean(line)}"] for line in lines[1:]]
    text = columns(rows)
    if len(groups) > limit:
        text.append(f"… {len(groups) - limit} more rows; --json has all")
    return "\n".join(text)


def diffs(review: Review) -> None:
    """Show each object's differences as a diff of its YAML file, with blame on both sides."""
    found = list(_objects(review.drifts))
    if not found:
        return
    parts, plain = [], []
    for number, (drifts, alike) in enumerate(found[:MOST_DIFFS]):
        rows = yamldiff.lines(drifts)
        name = named(drifts[0].key) + (f" and {alike} more alike" if alike else "")
        opened = " open" if number < OPEN_DIFFS else ""
        parts.append(
            f"<details{opened}><summary><b>{esc(name)}</b></summary>{diff_html(rows)}</details>"
        )
        if opened:
            plain += [f"# {clean(str(drifts[0].key))}", *yamldiff.as_text(rows)]
    if len(found) > MOST_DIFFS:
        parts.append(f"<p>… {len(found) - MOST_DIFFS} more objects are in the review's JSON.</p>")
    display("".join(parts), "\n".join(plain))


def _objects(drifts: Sequence[Drift]) -> Iterable[tuple[list[Drift], int]]:
    """Yield the differences of one object each, in order; of alike objects those of the first."""
    by_object: dict[Any, list[Drift]] = {}
    for one in ordered(drifts):
        by_object.setdefault((one.plane, one.key), []).append(one)
    if len(drifts) < ALIKE_FROM:
        yield from ((found, 0) for found in by_object.values())
        return
    alike: dict[Any, list[list[Drift]]] = {}
    for found in by_object.values():
        fields = tuple(sorted((one.path, str(one.difference)) for one in found))
        kind = (found[0].plane, found[0].key.group, found[0].key.kind)
        alike.setdefault((kind, fields), []).append(found)
    yield from ((same[0], len(same) - 1) for same in alike.values())


def diff_html(found: Sequence[yamldiff.Line]) -> str:
    """Return the diff of one object: what Git says of a line, the line, what the cluster says."""
    rows = "".join(_line(found, at) for at in range(len(found)))
    head = "".join(
        f'<th scope="col">{name}</th>'
        for name in ("declared by", "- Git, + cluster", "set in the cluster by")
    )
    return f'<table class="yaml"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _line(found: Sequence[yamldiff.Line], at: int) -> str:
    """Return one line as a row; what is said of it stands beside all lines of its block."""
    line = found[at]
    tag = {"-": "del", "+": "ins"}.get(line.sign, "")
    code = f"<code>{line.sign} {html.escape(line.text)}</code>"
    text = f'<td class="line">{f"<{tag}>{code}</{tag}>" if tag else code}</td>'
    begins = bool(line.git or line.live or not tag)
    if not begins:
        before = found[:at][::-1]
        same = next((n for n, one in enumerate(before) if one.sign != line.sign or _says(one)), -1)
        if same >= 0 and before[same].sign == line.sign:
            return f'<tr class="{tag}">{text}</tr>'
    height = 1
    while tag and at + height < len(found) and found[at + height].sign == line.sign:
        if _says(found[at + height]):
            break
        height += 1
    git, live = (
        f'<td class="blame" rowspan="{height}">{html.escape(said)}</td>'
        for said in (line.git, line.live)
    )
    return f'<tr class="{tag}">{git}{text}{live}</tr>'


def _says(line: yamldiff.Line) -> bool:
    return bool(line.git or line.live)
