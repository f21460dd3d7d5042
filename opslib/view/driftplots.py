"""When drift began, by whom, in which object: one picture that needs no script.

An SVG within the page, in the page's own colours: it is the same in JupyterLab, in a record
that is read without scripts, and in print. Time is drawn by age, the last hours wider than the
last year, because what is new is looked at closely.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from opslib.core.clock import now, parse_stamp
from opslib.drift.model import Drift
from opslib.drift.order import kind_of_actor, moment, named, ordered, when, who
from opslib.view.drift import display, esc
from opslib.view.text import clean

MOST_OBJECTS = 30
_LEFT, _WIDTH, _ROW, _TOP = 330, 1000, 26, 34
_SOON, _NEAR = 60.0, 22
"""Seconds under which all is now; pixels within which marks of one object are one."""
_COLOURS = {"person": "#E69F00", "program": "#0072B2", "unknown": "#999999"}
"""As in ``plots``, which draws with plotly: nothing here waits for that."""
_WORDS = {"person": "a person", "program": "a program", "unknown": "nobody knows who"}
_HOUR, _DAY = 3600.0, 86400.0
_TICKS = {
    "now": _SOON,
    "10 minutes": 600.0,
    "1 hour": _HOUR,
    "6 hours": 6 * _HOUR,
    "1 day": _DAY,
    "1 week": 7 * _DAY,
    "1 month": 30 * _DAY,
    "3 months": 91 * _DAY,
    "1 year": 365 * _DAY,
    "3 years": 1095 * _DAY,
}


@dataclass
class _Mark:
    """Differences of one object at about the same time, of one kind of actor."""

    x: float
    actor: str
    proven: bool
    drifts: list[Drift]


def timeline(drifts: Sequence[Drift]) -> None:
    """Show when each difference began, one line per object, those that matter first.

    Shape and colour say who: a circle is a person, a square a program, a diamond unknown. A
    hollow mark with a tail is an upper bound: it began then or before.
    """
    known = [one for one in ordered(drifts) if _age(one) is not None]
    if not known:
        return
    objects: dict[str, list[Drift]] = {}
    for one in known:
        objects.setdefault(named(one.key), []).append(one)
    shown = dict(list(objects.items())[:MOST_OBJECTS])
    left = len(objects) - len(shown)
    more = f"<p class='soft'>{left} more objects are in the table only.</p>" if left else ""
    lines = [f"{when(one)}: {who(one)}: {one.key} {one.path}" for one in known[: 2 * MOST_OBJECTS]]
    display(svg(shown) + more, clean("\n".join(lines)))


def svg(objects: dict[str, list[Drift]]) -> str:
    """Return the picture of some objects' differences."""
    oldest = max(_age(one) or _SOON for drifts in objects.values() for one in drifts)
    scale = _Scale(max(oldest * 1.3, 2 * _HOUR))
    height = _TOP + _ROW * len(objects) + 56
    body = [*_axis(scale, height), *_legend(height)]
    for number, (name, drifts) in enumerate(objects.items()):
        body += _line(name, drifts, scale, _TOP + _ROW * number + _ROW / 2)
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" width="100%" role="img" font-size="13" '
        f'fill="currentColor" style="max-width:{_WIDTH}px;font-family:inherit">'
        f"<title>When each difference began, by object</title>{''.join(body)}</svg>"
    )


class _Scale:
    """Ages as places from left (long ago) to right (now), by their logarithm."""

    def __init__(self, oldest: float) -> None:
        self.oldest = oldest
        self._span = math.log(oldest / _SOON)

    def x(self, age: float) -> float:
        share = math.log(max(age, _SOON) / _SOON) / self._span
        return round(_WIDTH - 40 - share * (_WIDTH - 80 - _LEFT), 1)


def _axis(scale: _Scale, height: int) -> Iterator[str]:
    bottom, last = height - 50, math.inf
    moment_now = now()
    for name, age in _TICKS.items():
        x = scale.x(age)
        if age > scale.oldest or last - x < 100:
            continue
        last = x
        at = moment_now - timedelta(seconds=0 if name == "now" else age)
        day = f"{at:%H:%M}" if age < _DAY else f"{at:%Y-%m-%d}"
        yield (
            f'<line x1="{x}" x2="{x}" y1="{_TOP}" y2="{bottom}" stroke="currentColor" '
            'stroke-opacity=".25" stroke-dasharray="2 4"/>'
            f'<text x="{x}" y="13" text-anchor="middle">{name}{"" if name == "now" else " ago"}'
            f'</text><text x="{x}" y="28" text-anchor="middle" fill-opacity=".75" '
            f'font-size="11">{day}</text>'
        )


def _legend(height: int) -> Iterator[str]:
    x, y = float(_LEFT), height - 18
    for actor, words in _WORDS.items():
        yield _shape(x, y, actor, proven=True)
        yield f'<text x="{x + 12}" y="{y + 4}">{words}</text>'
        x += 40 + 7 * len(words)
    yield _shape(x + 18, y, "unknown", proven=False)
    yield f'<text x="{x + 30}" y="{y + 4}">hollow, with a tail: then or before</text>'
    yield f'<text x="0" y="{y + 4}" fill-opacity=".75">UTC; a number: so many at once</text>'


def _line(name: str, drifts: list[Drift], scale: _Scale, y: float) -> Iterator[str]:
    text = clean(name)
    short = text if len(text) <= 42 else f"{text[:18]}…{text[-23:]}"
    yield (
        f'<line x1="{_LEFT}" x2="{_WIDTH - 20}" y1="{y}" y2="{y}" stroke="currentColor" '
        f'stroke-opacity=".18"/><text x="{_LEFT - 12}" y="{y + 4}" text-anchor="end">{esc(short)}'
        f"<title>{esc(text)}</title></text>"
    )
    for mark in _marks(drifts, scale):
        said = "\n".join(
            f"{one.path or 'object'}: {who(one)}, {when(one)}" for one in mark.drifts[:8]
        )
        more = f"\n… {len(mark.drifts) - 8} more" if len(mark.drifts) > 8 else ""
        count = len(mark.drifts)
        number = f'<text x="{mark.x + 11}" y="{y - 3}" font-size="11">{count}</text>'
        yield (
            f"<g><title>{esc(said + more)}</title>"
            f"{_shape(mark.x, y, mark.actor, proven=mark.proven)}{number if count > 1 else ''}</g>"
        )


def _marks(drifts: list[Drift], scale: _Scale) -> list[_Mark]:
    marks: list[_Mark] = []
    for one in drifts:
        x, actor, proven = scale.x(_age(one) or _SOON), kind_of_actor(one), not moment(one)[1]
        near = (
            mark
            for mark in marks
            if (mark.actor, mark.proven) == (actor, proven) and abs(mark.x - x) < _NEAR
        )
        found = next(near, None)
        if found:
            found.drifts.append(one)
        else:
            marks.append(_Mark(x, actor, proven, [one]))
    return marks


def _shape(x: float, y: float, actor: str, *, proven: bool) -> str:
    """Return a mark: its form says who, its filling whether the time is proven."""
    fill = _COLOURS[actor] if proven else "none"
    look = f'fill="{fill}" stroke="currentColor" stroke-width="1.4"'
    tail = ""
    if not proven:
        tail = (
            f'<line x1="{x - 26}" x2="{x - 7}" y1="{y}" y2="{y}" stroke="currentColor" '
            'stroke-width="1.6" stroke-dasharray="3 3"/>'
        )
    if actor == "person":
        return f'{tail}<circle cx="{x}" cy="{y}" r="6.5" {look}/>'
    turn = f' transform="rotate(45 {x} {y})"' if actor == "unknown" else ""
    return f'{tail}<rect x="{x - 5.5}" y="{y - 5.5}" width="11" height="11" {look}{turn}/>'


def _age(one: Drift) -> float | None:
    """Return how many seconds ago a difference began, as far as is known."""
    time = moment(one)[0]
    try:
        return max(_SOON, (now() - parse_stamp(time)).total_seconds()) if time else None
    except ValueError:
        return None
