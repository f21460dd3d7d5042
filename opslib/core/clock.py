"""Time: UTC stamps as Kubernetes writes them, durations as Go and kubectl read them."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

from opslib.core.errors import InputError

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def now() -> datetime:
    """Return the present time in UTC."""
    return datetime.now(UTC)


def awake() -> float:
    """Return seconds of a clock that nobody sets and that goes on while the machine sleeps.

    A term that another machine counts, as that of a lease, ends during a suspend too; Linux's
    monotonic clock stands still in one, and its boot-time clock does not
    (https://man7.org/linux/man-pages/man2/clock_gettime.2.html). Elsewhere: the monotonic clock.
    """
    which: int | None = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if which is None else time.clock_gettime(which)


def stamp(moment: datetime | None = None) -> str:
    """Format a time as RFC 3339 in UTC with microseconds, ending in Z."""
    return (moment or now()).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_stamp(text: str) -> datetime:
    """Parse an RFC 3339 time as the API server writes it (seconds or microseconds)."""
    return datetime.fromisoformat(text).astimezone(UTC)


def parse_duration(text: str, *, name: str = "duration") -> float:
    """Parse "90", "5m", "1h30m" or "250ms" into seconds; a bare number is seconds."""
    clean = text.strip()
    if re.fullmatch(r"\d+(\.\d+)?", clean):
        return float(clean)
    parts = _PART.findall(clean)
    if not parts or "".join(a + b for a, b in parts) != clean:
        raise InputError(
            f"{name} {text!r} is not a duration",
            where=name,
            expected="a number with ms, s, m, h or d, such as 30s, 5m or 1h30m",
        )
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def human_seconds(seconds: float) -> str:
    """Format a duration the way kubectl prints ages: 0.4s, 12s, 3m20s, 2h5m, 4d."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    total = round(seconds)
    if total < 60:
        return f"{total}s"
    if total < 3600:
        return f"{total // 60}m{total % 60}s" if total % 60 else f"{total // 60}m"
    if total < 86400:
        minutes = total % 3600 // 60
        return f"{total // 3600}h{minutes}m" if minutes else f"{total // 3600}h"
    return f"{total // 86400}d"


_SPANS = (("year", 365.25 * 86400), ("month", 30.44 * 86400), ("day", 86400.0), ("hour", 3600.0))


def human_age(seconds: float) -> str:
    """Say how long ago something was, in the largest unit that is there twice: 3 months.

    Under two days hours are told, under two hours minutes, under two months days.
    """
    for name, length in (*_SPANS, ("minute", 60.0)):
        if seconds >= 1.95 * length:
            return f"{round(seconds / length)} {name}s"
    return "1 minute" if seconds >= 59.5 else "less than a minute"
