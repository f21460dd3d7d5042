"""From the writes to one object to who set a field, deleted it or created it, and how sure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from opslib.drift.audit import Coverage
from opslib.drift.cases import Case
from opslib.drift.model import Actor
from opslib.drift.moments import SECOND, Moment, shown
from opslib.drift.owners import agrees, changed_it, contradictions
from opslib.drift.refute import held_since
from opslib.drift.setters import BEFORE, UNLOGGED, Setters, State, Step, by_time, follow
from opslib.drift.track import FOREVER, Track, Write
from opslib.drift.wants import (
    CAN,
    LEAVE,
    NO_NO,
    NO_YES,
    SET,
    YES_NO,
    YES_YES,
    Effect,
    Want,
    joined,
)

LOOSE: Moment = 2 * SECOND
"""By how much a missing line may be out of the order of the others."""

MOST_OTHERS = 5


@dataclass(frozen=True)
class Horizon:
    """What the log covers, and until when it has to: the moment the objects were read."""

    coverage: Coverage
    needed: Moment

    @property
    def holes(self) -> list[Step]:
        """Return the times in which anything may have happened without being in the log."""
        found = [
            Step(start - LOOSE, end + LOOSE if end else FOREVER, CAN.plain, UNLOGGED)
            for start, end in self.coverage.gaps
        ]
        if self.coverage.end < self.needed:
            found.append(Step(self.coverage.end + 1, FOREVER, CAN.plain, UNLOGGED))
        return found


@dataclass(frozen=True)
class Verdict:
    """Which write is behind a difference; None where the log does not tell."""

    write: Write | None = None
    certain: bool = False
    why: str = ""
    others: tuple[Actor, ...] = ()


@dataclass
class Life:
    """The writes to the live object since it was created, or since the log begins."""

    writes: list[Write]
    starts: tuple[State, ...]
    created: bool
    doubts: list[str] = field(default_factory=list)


NOT_YET: State = (False, BEFORE)
ALREADY: State = (True, BEFORE)


def life_of(track: Track, horizon: Horizon) -> Life:
    """Return the writes that count for the live object, and what is known of their beginning."""
    writes = [one for one in by_time(track.writes.values()) if one.received >= track.cut]
    second = track.born // SECOND
    births = [
        number
        for number, one in enumerate(writes)
        if one.creates and one.received // SECOND <= second <= one.done // SECOND
    ]
    begin = horizon.coverage.start
    if births and second:
        life = Life(writes[births[-1] :], (NOT_YET,), created=True)
    else:
        later = [one for one in writes if one.done >= track.born]
        life = Life(later, (NOT_YET, ALREADY), created=False)
        if second and begin < track.born and not track.cut:
            life.doubts.append("the log does not have the object's creation")
    life.doubts += contradictions(track, max(begin, track.cut), created=life.created)
    return life


def field_setter(case: Case, horizon: Horizon) -> Verdict:
    """Return who set the value that the field has now; of several parts, who set the newest."""
    if not case.wants:
        return Verdict(why="the field's path cannot be read")
    life = life_of(case.track, horizon)
    verdicts = [_setter(case.track, number, life, horizon) for number in case.wants]
    found = [(one.write, one) for one in verdicts if one.write is not None]
    if not found:
        return verdicts[0]
    newest, told = max(found, key=lambda pair: pair[0].received)
    users = {write.actor.user for write, _ in found}
    certain = len(users) == 1 and all(one.certain for one in verdicts)
    why = told.why
    if len(users) > 1:
        why = "several users set parts of it"
    elif not certain:
        why = next(one.why for one in verdicts if not one.certain)
    others = [actor for write, one in found for actor in (write.actor, *one.others)]
    return Verdict(newest, certain, why, _distinct(others, newest))


def _setter(track: Track, number: int, life: Life, horizon: Horizon) -> Verdict:
    want = track.wants[number]
    effects = resolved(track, life, number)
    found = _followed(life, effects, want, horizon)
    writes = life.writes
    if found.only is not None:
        write = writes[found.only]
        if agrees(track, want, write):
            return Verdict(write, certain=True, why=_certainly(life, write))
        return Verdict(write, why="managedFields name another manager than the log")
    chosen = _likely(track, want, effects, found, writes)
    possible = [writes[i].actor for i in sorted(found.possible, reverse=True) if i >= 0]
    best = writes[chosen] if chosen is not None else None
    return Verdict(best, why=_doubt(life, found, horizon), others=_distinct(possible, best))


def resolved(track: Track, life: Life, number: int) -> list[Effect]:
    """Return the effects of the writes on one want, with what is known from elsewhere.

    A server-side apply that does not mention a field any more takes it away, where its manager
    applied it before. What a manager has had all the time did not change since.
    """
    want = track.wants[number]
    applied: dict[str, bool] = {}
    held = held_since(track.live, want)
    trusted = track.trusts(held)
    found = []
    for place, write in enumerate(life.writes):
        effect = write.effects[number]
        if write.merged and track.trusts(write.refuted):
            effect = write.merged[number]
        if place == 0 and life.created and effect in {LEAVE, want.touch}:
            # What was not given when it was created has its default; items of lists have none.
            items = effect == LEAVE and any(not isinstance(step, str) for step in want.place)
            effect = want.gone if items else want.reset
        elif write.apply:
            silent = effect in {LEAVE, want.touch}
            before = applied.get(write.manager, not life.created or track.granted)
            if silent and before:
                effect = joined(effect, want.reset)
            applied[write.manager] = not silent
        if not life.created and effect == SET and changed_it(track, number, write):
            effect = Effect(NO_YES, NO_YES)
        late = write.received // SECOND > held // SECOND
        found.append(LEAVE if trusted and late else effect)
    return found


def _followed(
    life: Life, effects: Sequence[Effect], want: Want, horizon: Horizon, *, negated: bool = False
) -> Setters:
    possible: set[int] = set()
    ways = [[e.plain for e in effects]]
    if want.may_default:
        ways.append([e.default for e in effects])
    for masks in ways:
        possible |= follow(_steps(life, masks, horizon, negated=negated), life.starts).possible
    if life.doubts or not possible:
        possible.add(UNLOGGED)
    return Setters(frozenset(possible))


def _steps(life: Life, masks: Sequence[int], horizon: Horizon, *, negated: bool) -> Iterable[Step]:
    begin = life.writes[0].received if life.created and life.writes else 0
    for number, (write, mask) in enumerate(zip(life.writes, masks, strict=True)):
        if mask == LEAVE.plain:
            continue
        late = write.done > horizon.needed
        whole = mask | LEAVE.plain if late else mask  # the object may have been read before
        yield Step(write.received, write.done, _negated(whole) if negated else whole, number)
    yield from (hole for hole in horizon.holes if hole.end > begin)


def _negated(mask: int) -> int:
    pairs = ((NO_NO, YES_YES), (NO_YES, YES_NO), (YES_NO, NO_YES), (YES_YES, NO_NO))
    return sum(new for old, new in pairs if mask & old)


def _likely(
    track: Track, want: Want, effects: Sequence[Effect], found: Setters, writes: Sequence[Write]
) -> int | None:
    """Return the write that fits best: the one after which the value stayed, as far as known."""
    chosen = _stayed(effects)
    if chosen is not None and (chosen in found.possible or not found.possible):
        return chosen
    named = [n for n in sorted(found.possible, reverse=True) if n >= 0]
    if want.present and track.live:
        owned = [n for n in named if agrees(track, want, writes[n])]
        named = owned or named
    return named[0] if named else chosen


def _stayed(effects: Sequence[Effect]) -> int | None:
    """Return the last write that surely gave the value where it was not, and after which it stayed.

    One that only may have does not count: a patch that says nothing of a field would have taken
    it away, had it been a merge patch.
    """
    has, chosen = False, None
    for number, effect in enumerate(effects):
        if effect.plain & NO_YES and not effect.plain & (NO_NO | YES_NO):
            if not has:
                has, chosen = True, number
        elif not effect.plain & YES_YES:
            has, chosen = False, None
    return chosen


def _certainly(life: Life, write: Write) -> str:
    where = "since the object was created" if life.created else "since another value was there"
    return f"the log has all writes to it {where}; none after audit id {write.id} set it"


def _doubt(life: Life, found: Setters, horizon: Horizon) -> str:
    """Say why it is not certain."""
    if life.doubts:
        return life.doubts[0]
    if UNLOGGED in found.possible:
        if horizon.coverage.end < horizon.needed:
            return f"the log ends at {shown(horizon.coverage.end)}, before the object was read"
        if horizon.coverage.gaps:
            return "the log has gaps"
        return "no write in the log gives it this value"
    if BEFORE in found.possible:
        return "it may have had this value before the log begins"
    return "several writes in the log may have set it"


def _distinct(actors: Iterable[Actor], write: Write | None) -> tuple[Actor, ...]:
    """Return actors of other users than the write's, each once, the newest first."""
    known = {write.actor.user} if write else set()
    found: list[Actor] = []
    for actor in sorted(actors, key=lambda one: one.time, reverse=True):
        if actor.user not in known:
            known.add(actor.user)
            found.append(actor)
    return tuple(found[:MOST_OTHERS])


def onset(case: Case, horizon: Horizon, verdict: Verdict) -> str:
    """Return since when the field differs from Git, as far as the log proves it; "" if not."""
    if verdict.write is None:
        return ""
    if case.declared is not None:
        life = life_of(case.track, horizon)
        want = case.track.wants[case.declared]
        effects = resolved(case.track, life, case.declared)
        found = _followed(life, effects, want, horizon, negated=True)
        if found.only is not None:
            return life.writes[found.only].actor.time
    return verdict.write.actor.time if verdict.certain else ""


def created(track: Track, horizon: Horizon) -> Verdict:
    """Return who created the live object."""
    second = track.born // SECOND
    uid = str(((track.live or {}).get("metadata") or {}).get("uid") or "")
    found = [
        one
        for one in by_time(track.writes.values())
        if one.creates
        and one.received // SECOND <= second <= one.done // SECOND
        and one.uid in {"", uid}
    ]
    if not found:
        return Verdict(why="the log does not have its creation")
    write = found[-1]
    if len(found) > 1:
        return Verdict(
            write,
            why="it was created more than once in that second",
            others=_distinct([one.actor for one in found], write),
        )
    open_then = [h for h in horizon.holes if h.start <= track.born + SECOND and h.end >= track.born]
    if open_then and not write.uid:
        return Verdict(write, why="the log has gaps at that time")
    return Verdict(write, certain=True, why=f"its creation is in the log, audit id {write.id}")


def deleted(track: Track, horizon: Horizon) -> Verdict:
    """Return who deleted an object that is gone: it, all of its kind, or its namespace."""
    writes = [one for one in by_time(track.writes.values()) if one.received >= track.cut]
    writes = [one for one in writes if one.creates or one.deletes]
    life = Life(writes, (NOT_YET, ALREADY), created=False)
    masks = [_ending(one) for one in writes]
    found = follow(_steps(life, masks, horizon, negated=False), life.starts)
    possible = [n for n in sorted(found.possible, reverse=True) if n >= 0]
    if not possible:
        return Verdict(why="the log does not have its deletion")
    if found.only is not None:
        write = writes[found.only]
        return Verdict(write, certain=True, why=_how(write))
    write = writes[_first_deletion(writes, possible)]
    others = _distinct([writes[n].actor for n in possible], write)
    return Verdict(write, why=_doubt(life, found, horizon), others=others)


def _how(write: Write) -> str:
    how = write.cascade or "by its name"
    return f"it was deleted {how}, audit id {write.id}"


def _first_deletion(writes: Sequence[Write], possible: Sequence[int]) -> int:
    """Return the deletion that fits best: the first since the last creation, a sure one if any."""
    born = max((n for n, write in enumerate(writes) if write.creates), default=-1)
    later = sorted(n for n in possible if n > born) or sorted(possible)
    return next((n for n in later if writes[n].sure), later[0])


def _ending(write: Write) -> int:
    """Return what a write does to the answer whether the object is gone, or is going."""
    if write.creates:
        return NO_NO | YES_NO if write.sure else CAN.plain & ~NO_YES
    if write.gone and write.sure and not write.cascade:
        return NO_YES  # it was there, and not waiting for anything
    mask = NO_YES | YES_YES
    return mask if write.sure else mask | NO_NO
