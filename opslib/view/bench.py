"""Verdicts and comparisons as text: the answer first, then why, then what to do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from opslib.bench import limits
from opslib.bench.compare import Comparison
from opslib.bench.verdict import Answer, Judged, Verdict
from opslib.core.clock import human_seconds
from opslib.view.text import clean, columns, styled

_COLOURS = {Answer.PASS: "green", Answer.FAIL: "red", Answer.INCONCLUSIVE: "yellow"}


def verdict_text(verdict: Verdict, places: Sequence[Mapping[str, Any]]) -> str:
    """Return a verdict for people: `places` are the result documents that it is of."""
    answer = styled(str(verdict.answer).upper(), _COLOURS[verdict.answer])
    lines = [f"{answer}: {clean(verdict.why)}", ""]
    lines += columns([_judged(one) for one in verdict.numbers], indent="  ")
    lines += ["", *columns([_quantile(one.as_dict()) for one in verdict.quantiles], indent="  ")]
    lines += [""] if verdict.findings else []
    for one in verdict.findings:
        lines.append(f"  {'not believed' if one.grave else 'note'}: {clean(one.what)}")
    lines += ["", *(f"  {_where(one)}" for one in places), *_more(verdict)]
    lines += [f"  {limits.GUIDELINE}"]
    lines += [f"  {one.limit.name}: {one.limit.source}" for one in verdict.numbers]
    return "\n".join(lines)


def _judged(one: Judged) -> tuple[str, ...]:
    unit = one.limit.unit
    return (
        one.limit.name,
        str(one.answer),
        f"{_number(one.point)} [{_number(one.low)}, {_number(one.high)}] {unit}",
        f"limit {one.limit.value:g} {unit}",
        one.why,
    )


def _quantile(one: Mapping[str, Any]) -> tuple[str, ...]:
    low, high = one["low"], one["high"]
    ends = f"[{_number(low)}, {_number(math.inf if high is None else high)}]"
    return (
        f"p{100 * one['quantile']:g}",
        f"{_number(one['point'])} ms",
        f"{ends} of {one['samples']:,} samples, worth {one['effective_samples']:,.0f}",
    )


def _number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "?"
    if math.isinf(value):
        return "not known"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _where(document: Mapping[str, Any]) -> str:
    where, facts = document["place"], document.get("facts") or {}
    layers = " on ".join(f"{one['name']} ({one['kind']})" for one in where.get("layers") or ())
    partial = "" if document["complete"] else f"; PARTIAL: {document.get('why')}"
    host = facts.get("hostname") or "?"
    return clean(
        f"{host}: {where.get('folder')}, {where.get('filesystem')} on {layers or 'no disk'}, "
        f"{document['samples']:,} samples from {str(document['started'])[:19]} UTC{partial}"
    )


def _more(verdict: Verdict) -> list[str]:
    out = []
    for one in verdict.numbers:
        if one.answer is not Answer.INCONCLUSIVE:
            continue
        if one.more_seconds is None:
            out.append(f"  {one.limit.name}: no run of a week would tell")
        else:
            longer = human_seconds(one.more_seconds)
            out.append(f"  {one.limit.name}: about {longer} more would tell")
    return out


def comparison_text(found: Comparison) -> str:
    """Return a comparison for people: what it comes to first."""
    lines = [found.said, ""]
    rows = [
        (
            f"p{100 * one.quantile:g}",
            f"A is {_number(one.point)} times B",
            f"[{_number(one.low)}, {_number(one.high)}]",
            str(one.said),
        )
        for one in found.ratios
    ]
    lines += columns(rows, indent="  ")
    lines += ["", f"  margin {found.margin:g}, level {found.level:g}, both quantiles together"]
    lines += [f"  note: {clean(one)}" for one in found.warnings]
    return "\n".join(lines)
