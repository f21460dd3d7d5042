"""Who is behind each difference, since when, and how sure that is.

The audit log is read once for all objects. Certain is only what every reading of the log
agrees on (see ``setters``), with the log whole from the object's creation, or from a known
value on, to the moment the object was read, and not contradicted by managedFields. Those
alone give a manager's name and an upper bound of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from opslib.core.clock import parse_stamp, stamp
from opslib.core.model import Manifest, ResourceKey
from opslib.drift.audit import AuditSource, Coverage
from opslib.drift.cases import Case, cases_of
from opslib.drift.fights import fight_in
from opslib.drift.model import Attribution, Confidence, Difference, Drift
from opslib.drift.moments import SECOND, moment_of, shown
from opslib.drift.owners import candidates_of, latest
from opslib.drift.refute import entries_of, owners_of
from opslib.drift.replay import Replay, tracks_named
from opslib.drift.request import is_person
from opslib.drift.verdicts import Horizon, Verdict, created, deleted, field_setter, onset
from opslib.kube.discovery import Discovery, Kind

Kinds = Mapping[tuple[str, str], Kind] | Discovery | None


def attribute(
    drifts: Sequence[Drift],
    live: Mapping[ResourceKey, Manifest],
    *,
    app_manager: str,
    log: AuditSource | str | Path | Sequence[str] | None = None,
    kinds: Kinds = None,
    read_at: str = "",
    skew: float = 0.0,
) -> tuple[tuple[Drift, ...], str]:
    """Return the drifts with who is behind them, since when, and fights; and what the log covers.

    ``live`` are the objects as they were compared, with managedFields. ``read_at`` is this
    machine's time right before the first of them was read (default: now); where the log ends
    before it, nothing is certain. ``skew``: seconds that the server's clock is ahead of this
    machine's. ``log`` may be missing, cut or large; nothing is raised for that.
    """
    source = AuditSource.of(log)
    needed = round((parse_stamp(read_at or stamp()).timestamp() + skew) * SECOND)
    cases = cases_of(drifts, live)
    tracks = {case.track.key: case.track for case in cases.values()}
    coverage = Coverage()
    if source is not None and tracks:
        coverage = Replay(tracks_named(tracks.values(), plurals(kinds))).read(source)
    horizon = Horizon(coverage, needed)
    told = tuple(
        _told(one, cases[number], horizon, app_manager) if number in cases else one
        for number, one in enumerate(drifts)
    )
    return told, _summary(source, coverage, needed)


def _told(drift: Drift, case: Case, horizon: Horizon, app_manager: str) -> Drift:
    verdict = _verdict(drift, case, horizon) if not horizon.coverage.is_empty else Verdict()
    found = _attribution(drift, case, verdict, app_manager)
    since = onset(case, horizon, verdict) if verdict.write else ""
    fight = fight_in(case) if case.wants else None
    return replace(drift, attribution=found, since=since or drift.since, fight=fight or drift.fight)


def _verdict(drift: Drift, case: Case, horizon: Horizon) -> Verdict:
    if drift.difference is Difference.MISSING:
        return deleted(case.track, horizon)
    if drift.difference is Difference.EXTRA:
        return created(case.track, horizon)
    return field_setter(case, horizon)


def _attribution(drift: Drift, case: Case, verdict: Verdict, app_manager: str) -> Attribution:
    candidates = _candidates(drift, case, app_manager)
    bound = latest(candidates)
    if drift.difference is Difference.EXTRA:
        bound = shown(case.track.born + SECOND) if case.track.born else bound
    if verdict.write is None:
        confidence = Confidence.UPPER_BOUND if candidates else Confidence.UNKNOWN
        why = verdict.why or _why_without(drift, case, candidates)
        return Attribution(confidence, None, candidates, bound, why, None, verdict.others)
    actor = verdict.write.actor
    confidence = Confidence.CERTAIN if verdict.certain else Confidence.LIKELY
    if verdict.certain:
        bound = shown(verdict.write.done + SECOND)
    person = is_person(actor)
    return Attribution(confidence, actor, candidates, bound, verdict.why, person, verdict.others)


def _candidates(drift: Drift, case: Case, app_manager: str) -> Any:
    live = case.track.live
    if drift.difference is Difference.EXTRA:
        born = case.track.born
        first = [e for e in entries_of(live) if moment_of(e.get("time")) == born]
        return candidates_of(first or entries_of(live), app_manager)
    found = [entry for want in case.setters if want.present for entry in owners_of(live, want)]
    unique = [entry for n, entry in enumerate(found) if entry not in found[:n]]
    return candidates_of(unique, app_manager)


def _why_without(drift: Drift, case: Case, candidates: Any) -> str:
    if candidates:
        return "managedFields only: names of managers are chosen by clients"
    if drift.difference is Difference.MISSING:
        return "an object that is gone leaves no trace but in the audit log"
    if drift.difference is Difference.REMOVED:
        return "a field that is gone leaves no trace in managedFields"
    if not entries_of(case.track.live):
        return "the object has no managedFields"
    return "no manager but the app's own has this field"


def plurals(kinds: Kinds) -> Callable[[ResourceKey], str]:
    """Return what gives the name of a kind's resource in the API."""
    known: Mapping[Any, Any] = kinds.all() if isinstance(kinds, Discovery) else kinds or {}
    names = {(one.group, one.kind): one.plural for one in reversed(list(known.values()))}

    def plural(key: ResourceKey) -> str:
        return names.get((key.group, key.kind)) or _guessed(key.kind)

    return plural


def _guessed(kind: str) -> str:
    """Form the plural as the API does by default, for a kind that the server does not have now."""
    word = kind.lower()
    if word.endswith(("s", "x", "ch", "sh")):
        return word if word == "endpoints" else f"{word}es"
    return f"{word[:-1]}ies" if word.endswith("y") and word[-2:-1] not in "aeiou" else f"{word}s"


def _summary(source: AuditSource | None, coverage: Coverage, needed: int) -> str:
    if source is None:
        return "no audit log: managers and upper bounds of times only, users unknown"
    text = coverage.text()
    if coverage.is_empty:
        return f"{text}: users unknown"
    if coverage.end < needed:
        late = (needed - coverage.end) / SECOND
        text += f"; it ends {late:.1f} s before the objects were read, so nothing is certain"
    ahead = (coverage.end - moment_of(stamp())) / SECOND
    if ahead > 1:
        text += f"; the server's clock is at least {ahead:.0f} s ahead of this machine's"
    return text
