"""Escalate differences: one file for the ticket, with all that is known and no secret in it."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from opslib.core.clock import human_seconds, now, parse_stamp
from opslib.core.files import private_dir, write_atomic
from opslib.core.hashes import digest
from opslib.core.model import Manifest, ResourceKey
from opslib.drift.commits import shown
from opslib.drift.encode import review_document
from opslib.drift.model import Drift, Review
from opslib.drift.propose import chosen
from opslib.reconcile.mask import masked
from opslib.source.history import plain
from opslib.source.yamltree import CannotEdit
from opslib.source.yamlwrite import Layout, lines_of

MOST_AUDIT = 10_000
"""Entries of the audit log in one bundle."""
_EPOCH = (1980, 1, 1, 0, 0, 0)
_LAYOUT = Layout()
_BODIES = ("requestObject", "responseObject")


def escalate(
    review: Review,
    ids: Sequence[str],
    folder: Path,
    *,
    live: Mapping[ResourceKey, Manifest] | None = None,
    audit: Iterable[Mapping[str, Any]] = (),
    by: str = "",
    reason: str = "",
) -> Path:
    """Write the bundle of some differences into a folder, and return it: one zip file.

    In it: README.md for people, review.json (only these differences), each live object as YAML,
    its managedFields, and the entries of the audit log. ``live`` are the objects as they were
    reviewed. Values of Secrets are tokens. The same content gives the same file. Raises
    InputError for ids that no difference has, OSError where it cannot be written.
    """
    picked = chosen(review.drifts, ids)
    part = replace(review, drifts=tuple(picked))
    document = review_document(part)
    files = {
        "README.md": _readme(part, by, reason),
        "review.json": json.dumps(document, indent=1, ensure_ascii=False) + "\n",
    }
    for key in dict.fromkeys(drift.key for drift in picked):
        if one := (live or {}).get(key):
            files |= _object(key, masked(one))
    entries = [_entry(one) for _, one in zip(range(MOST_AUDIT), audit, strict=False)]
    if entries:
        lines = (json.dumps(one, ensure_ascii=False) for one in entries)
        files["audit.jsonl"] = "\n".join(lines) + "\n"
    name = f"drift-{review.app}-{review.taken_at[:19].replace(':', '')}Z-{_short(picked)}.zip"
    path = private_dir(folder) / name
    write_atomic(path, _zip(files), mode=0o600)
    return path


def _short(drifts: Sequence[Drift]) -> str:
    return digest(sorted(drift.id for drift in drifts))[:8] if len(drifts) > 1 else drifts[0].id


def _zip(files: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), text, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _object(key: ResourceKey, live: Manifest) -> dict[str, str]:
    metadata = {k: v for k, v in live["metadata"].items() if k != "managedFields"}
    stem = re.sub(r"[^A-Za-z0-9.-]+", "-", f"{key.kind}-{key.namespace}-{key.name}")[:120]
    stem = f"{stem}-{digest(key.as_dict())[:6]}"
    bare = {**live, "metadata": metadata}
    try:
        text = "\n".join(lines_of(bare, 0, layout=_LAYOUT)) + "\n"
    except CannotEdit:  # a number that YAML reads as another one: JSON is YAML, too
        text = json.dumps(bare, indent=1) + "\n"
    owners = json.dumps(live["metadata"].get("managedFields") or [], indent=1) + "\n"
    return {f"objects/{stem}.yaml": text, f"managed-fields/{stem}.json": owners}


def _entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry of the audit log; of a Secret without what was sent and answered."""
    about = entry.get("objectRef")
    resource = about.get("resource") if isinstance(about, dict) else None
    hidden = _BODIES if resource in {"secrets", "tokenreviews", None} else ()
    return {name: value for name, value in entry.items() if name not in hidden}


def _readme(review: Review, by: str, reason: str) -> str:
    revision = review.revision
    about = f"{_md(revision.subject)}, {_md(revision.author)}"
    at = f"{review.taken_at[:19]}Z"
    lines = [
        f"# Drift of {review.app}: {len(review.drifts)} for a decision",
        "",
        f"Reviewed at {at} against commit {revision.commit} ({about}).",
        f"Cluster: {review.server}",
        "",
    ]
    if reason or by:
        who = f" by {_md(by)}" if by else ""
        lines += [f"Escalated{who}: {_md(reason)}", ""]
    for drift in review.drifts:
        lines += _section(drift)
    if review.warnings or review.unread:
        lines += ["## What else the review says", ""]
        lines += [f"- {_md(text)}" for text in review.warnings]
        lines += [f"- not read: {_md(gap.what)}: {_md(gap.why)}" for gap in review.unread]
        lines.append("")
    lines += [
        "In this file: review.json is the same for programs, objects/ are the live objects,",
        "managed-fields/ say who owns which field, audit.jsonl the requests that are known.",
        "",
    ]
    return "\n".join(lines)


def _section(drift: Drift) -> list[str]:
    title = _md(f"{drift.key} {drift.path}".strip())
    since = drift.since or drift.first_seen
    age = (now() - parse_stamp(since)).total_seconds() if since else None
    rows = [
        ("difference", str(drift.difference)),
        ("id", drift.id),
        ("Git", shown(drift.declared)),
        ("live", shown(drift.live)),
        ("declared at", str(drift.origin) if drift.origin else ""),
        ("committed by", f"{drift.git.author}, {drift.git.commit[:12]}" if drift.git else ""),
        ("changed by", drift.attribution.sentence()),
        ("how that is known", f"{drift.attribution.confidence}: {drift.attribution.why}"),
        ("since", f"{since} ({human_seconds(max(0.0, age))})" if age is not None else ""),
        ("fight", f"{' and '.join(drift.fight.writers)}" if drift.fight else ""),
        ("note", drift.note),
    ]
    told = [f"- {name}: {_md(text)}" for name, text in rows if text]
    return [f"## {title}", "", *told, ""]


def _md(text: str) -> str:
    """Return a text that Markdown shows as it is, on one line: names and values are hostile."""
    return re.sub(r"([\\`*_{}\[\]<>#|!&])", r"\\\1", plain(str(text).replace("\n", "⏎")))
