"""Verdicts and comparisons as text: the answer first, then why, then what to do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from opslib.bench import limits
from opslib.bench.changes import Episode
from opslib.bench.compare import Comparison
from opslib.bench.etcd import Metrics, Overlay
from opslib.bench.fio import Sweep
from opslib.bench.network import SOURCE, Trips
from opslib.bench.pulls import SETTING, Storm
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
    lines += ["", *_requests(verdict)] if verdict.rates else []
    lines += [""] if verdict.findings else []
    for one in verdict.findings:
        lines.append(f"  {'not believed' if one.grave else 'note'}: {clean(one.what)}")
    lines += ["", *(f"  {_where(one)}" for one in places), *_more(verdict)]
    lines += [f"  {limits.GUIDELINE}"]
    lines += [f"  {one.limit.name}: {one.limit.source}" for one in verdict.numbers]
    return "\n".join(lines)


def _requests(verdict: Verdict) -> list[str]:
    service = f"  service p99 {_number(verdict.numbers[0].point)} ms; request p99 "
    at = (f"{_number(one.p99)} ms at {one.rate:g}/s" for one in verdict.rates)
    return [service + ", ".join(at) + " (arriving at random, committed in groups)"]


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


def watch_text(found: Sequence[Episode], documents: Mapping[str, Any]) -> str:
    """Return when a disk was slower than usual, and whose doing it was."""
    seen = len(documents["blocks"])
    if not found:
        return f"no time of 1.5 times the usual latency in {seen} windows"
    rows = [
        (
            one.onset_utc[:19],
            f"{human_seconds(one.end - one.onset)}",
            f"{one.ratio:.1f} times slower",
            one.cause,
            one.evidence,
        )
        for one in found
    ]
    return "\n".join([f"{len(found)} in {seen} windows:", *columns(rows, indent="  ")])


def network_text(found: Sequence[Trips]) -> str:
    """Return round trips per target and what they ask of etcd's settings."""
    rows: list[tuple[str, ...]] = [
        ("target", "min", "p50", "p99", "jitter", "kernel's p50", "lost", "heartbeat/election")
    ]
    rows += [
        (
            clean(f"{one.target} ({one.address})"),
            *(f"{_number(ms)} ms" for ms in (one.shortest, one.p50, one.p99, one.jitter)),
            "?" if math.isnan(one.kernel_p50) else f"{_number(one.kernel_p50)} ms",
            f"{one.lost} of {one.count}",
            f"{one.heartbeat_ms:g}/{one.election_ms:g} ms" if one.count > one.lost else "?",
        )
        for one in found
    ]
    return "\n".join([*columns(rows), "", f"  {SOURCE}"])


def storm_text(found: Storm) -> str:
    """Return the log's p99 beside image pulls, and how many at once keep the verdict."""
    rows = [("pulls", "p99", "interval", "verdict", "to no pulls")]
    for one in found.levels:
        told = one.p99
        ratio = one.uplift
        rows.append(
            (
                str(one.pulls),
                f"{_number(told.point)} ms",
                f"[{_number(told.low)}, {_number(told.high)}]",
                str(one.answer),
                f"{_number(ratio.point)} times [{_number(ratio.low)}, {_number(ratio.high)}]"
                if ratio
                else "",
            )
        )
    most = found.most_pulls
    first = (
        "the log fails without any pull"
        if most is None
        else f"maxParallelImagePulls up to {most} keeps the verdict"
    )
    return "\n".join([first, "", *columns(rows, indent="  "), "", f"  {SETTING}"])


def sweep_text(found: Sweep) -> str:
    """Return a sweep over queue depths, the knee first."""
    direct = "direct" if found.direct else "through the page cache"
    rows = [("depth", "IOPS", "MB/s", "mean", "p99")]
    for one in found.points:
        lat = one.latency
        rows.append(
            (
                f"{one.depth}{' <- knee' if one.depth == found.knee else ''}",
                f"{lat.iops:,.0f}",
                f"{lat.mb_per_second:,.1f}",
                f"{_number(lat.mean)} ms",
                f"{_number(lat.percentiles.get(99.0))} ms",
            )
        )
    head = f"{found.pattern}, {found.state} file, {found.engine}, {direct}: knee at {found.knee}"
    return "\n".join([head, "", *columns(rows, indent="  ")])


def overlay_text(found: Overlay, during: Metrics) -> str:
    """Return a probe beside an etcd, at its buckets."""
    rows = [("up to", "probe", "etcd")]
    rows += [
        (f"{ms:g} ms", f"{100 * a:.1f} %", f"{100 * b:.1f} %")
        for ms, a, b in zip(found.bounds_ms, found.probe, found.etcd, strict=True)
    ]
    low, high = (1000 * one for one in during.backend.within(0.99))
    lines = [
        (
            f"largest gap {100 * found.largest_gap:.1f} points, means {found.mean_ratio:.2f} to 1, "
            f"over {found.fsyncs} fsyncs of etcd"
        ),
        "",
        *columns(rows, indent="  "),
        "",
        f"  etcd's backend commit p99: {_number(low)} to {_number(high)} ms",
    ]
    lines += [f"  etcd's {k.replace('_', ' ')}: {v:,.0f}" for k, v in during.counters.items()]
    return "\n".join(lines)


def answer(verdict: Verdict) -> None:
    """Show a verdict in a notebook as one sentence that stands out."""
    from opslib.view import show  # noqa: PLC0415  # pandas, which the verbs do without

    moods: dict[Answer, show.Mood] = {Answer.PASS: "good", Answer.FAIL: "bad"}
    sentence = f"{str(verdict.answer).upper()}: {clean(verdict.why)}"
    show.say(sentence, moods.get(verdict.answer, "note"))
