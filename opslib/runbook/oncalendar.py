"""Cron's five fields as systemd's calendar events: systemd.time(7), "CALENDAR EVENTS".

cron(8) takes either day when day of month and weekday are both given; systemd takes both, so
that such a line becomes two events.
"""

from __future__ import annotations

from collections.abc import Iterable

_DAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
_NAMES = {name.upper(): number for number, name in enumerate(_DAYS)}
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


def on_calendar(cron: str, timezone: str) -> list[str]:
    """Return the calendar events, one or two, of a checked cron expression."""
    minute, hour, day, month, weekday = cron.upper().split()
    weekdays = _weekdays(weekday)
    date = f"*-{_field(_numbers(month, 1, 12, _months()), 1, 12)}"
    days = _field(_numbers(day, 1, 31), 1, 31)
    clock = f"{_field(_numbers(hour, 0, 23), 0, 23)}:{_field(_numbers(minute, 0, 59), 0, 59)}:00"
    end = f"{clock} {timezone}"
    if day != "*" and weekday != "*":
        return [f"{date}-{days} {end}", f"{weekdays} {date}-* {end}"]
    return [f"{weekdays} {date}-{days} {end}".lstrip()]


def _months() -> dict[str, int]:
    return {name: number for number, name in enumerate(_MONTHS, start=1)}


def _numbers(field: str, low: int, high: int, names: dict[str, int] | None = None) -> list[int]:
    """Return every number that a field of cron stands for, sorted."""
    known = names or {}
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        if span == "*":
            begin, end = low, high
        else:
            begin = known[first] if first in known else int(first)
            end = (known[last] if last in known else int(last)) if last else begin
            end = high if step and not last else end
        found.update(range(begin, end + 1, int(step or 1)))
    return sorted(found)


def _weekdays(field: str) -> str:
    numbers = sorted({one % 7 for one in _numbers(field, 0, 7, _NAMES)})
    if len(numbers) == 7:
        return ""
    monday_first = sorted(numbers, key=lambda one: (one - 1) % 7)
    places = [(one - 1) % 7 for one in monday_first]
    names = [_DAYS[(place + 1) % 7] for place in places]
    if len(names) > 2 and places == list(range(places[0], places[0] + len(places))):
        return f"{names[0]}..{names[-1]}"
    return ",".join(names)


def _field(numbers: list[int], low: int, high: int) -> str:
    """Return numbers in systemd's shortest form: all, a step to the end, a range, a list."""
    if numbers == list(range(low, high + 1)):
        return "*"
    step = numbers[1] - numbers[0] if len(numbers) > 2 else 0
    if step > 1 and numbers == list(range(numbers[0], high + 1, step)):
        return f"{numbers[0]:02}/{step}"
    return ",".join(_runs(numbers))


def _runs(numbers: Iterable[int]) -> Iterable[str]:
    spans: list[list[int]] = []
    for one in numbers:
        if spans and one == spans[-1][-1] + 1:
            spans[-1].append(one)
        else:
            spans.append([one])
    for span in spans:
        if len(span) > 2:
            yield f"{span[0]:02}..{span[-1]:02}"
        else:
            yield from (f"{one:02}" for one in span)
