"""What to do about a disk, from its verdict, its findings and the machine's facts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from opslib.bench.verdict import Answer, Verdict
from opslib.core.clock import human_seconds


def advice(verdict: Verdict, document: Mapping[str, Any]) -> list[str]:
    """Return sentences, the most useful first; each says by what it was found."""
    return [*_of_verdict(verdict), *_of_place(document), *_of_machine(document)]


def _of_verdict(verdict: Verdict) -> Iterator[str]:
    if any(one.grave for one in verdict.findings):
        yield "Measure where etcd will write: what was measured here is not a disk's latency."
    elif verdict.answer is Answer.PASS:
        yield "Good enough by the p99. Watch it for a day (`opslib bench watch`) for neighbours."
    elif verdict.answer is Answer.FAIL:
        yield f"Do not put etcd here as it is: beyond the limit: {verdict.why}."
    waits = [one.more_seconds for one in verdict.numbers[:1] if one.more_seconds]
    if verdict.answer is Answer.INCONCLUSIVE and waits:
        yield f"Measure about {human_seconds(waits[0])} more, at another hour, and judge together."


def _of_place(document: Mapping[str, Any]) -> Iterator[str]:
    options = document["place"].get("mount_options") or ()
    if "discard" in options:
        yield (
            "Mounted with discard: freed blocks are trimmed within the sync. "
            "fstrim.timer does it once a week instead."
        )
    kinds = [str(one.get("kind")) for one in document["place"].get("layers") or ()]
    for mark, words in (
        ("network", "the network is in every sync: a local disk has it not"),
        ("loop", "the file system below is in every sync too"),
        ("dm-crypt", "encryption is in the path: try no_read_workqueue and no_write_workqueue"),
    ):
        if any(mark in kind for kind in kinds):
            yield f"The disk is {' on '.join(kinds)}: {words}."


def _of_machine(document: Mapping[str, Any]) -> Iterator[str]:
    facts = document.get("facts") or {}
    for name, queue in (facts.get("queue") or {}).items():
        if queue.get("rotational") == "0" and queue.get("scheduler") == "bfq":
            yield f"{name} has the scheduler bfq: none or mq-deadline costs less on a fast disk."
    source = str((facts.get("clock") or {}).get("source"))
    if source in {"hpet", "acpi_pm", "xen"}:
        yield f"The clock source is {source}: each time stamp is a slow call. tsc, if it is stable."
    steal = (facts.get("cpu") or {}).get("steal_percent_since_boot")
    if isinstance(steal, int | float) and steal >= 2:
        yield f"{steal:g} % of the CPU was stolen since boot: neighbours share it."
    if (facts.get("cgroup") or {}).get("io_limited"):
        yield "This process's own cgroup limits its I/O: that is measured, and etcd's may differ."
    busy = [one.get("busy_percent") for one in document["blocks"]]
    known = [float(one) for one in busy if one is not None]
    if known and sum(known) / len(known) > 80:
        yield "The CPUs were busy meanwhile: part of what was measured is waiting for them."
