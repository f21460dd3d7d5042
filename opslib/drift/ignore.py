"""Ignore differences until a day, for a reason: a rule in the app's own file, as a commit."""

from __future__ import annotations

import glob
import posixpath
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from opslib.core.clock import now
from opslib.core.errors import InputError, OpslibError
from opslib.core.model import ResourceKey, Revision
from opslib.drift.commits import Adopted, Order, commit_proposal
from opslib.drift.edit import ORDER
from opslib.drift.ignoring import rules_of
from opslib.drift.model import Disposition, Drift
from opslib.drift.propose import Proposal, Refused, chosen
from opslib.policy.reading import API_VERSION
from opslib.reconcile.appfile import APP_FILE, KIND, load_appfile
from opslib.reconcile.fieldpath import parse_path
from opslib.reconcile.session import Session
from opslib.source.branch import author_of
from opslib.source.filediff import diff_of
from opslib.source.history import plain
from opslib.source.trees import Commit, Overlay
from opslib.source.yamledit import amend_document, documents

_NEW = f"# How this folder is handled: docs/app-file.md\napiVersion: {API_VERSION}\nkind: {KIND}\n"
_MOST_REASON = 500


def ignore(
    session: Session,
    drifts: Iterable[Drift],
    ids: Sequence[str],
    *,
    reason: str,
    until: str,
    author: str = "",
    branch: str = "",
    push: bool = False,
    folder: Path | None = None,
) -> Adopted:
    """Commit rules that explain the chosen differences until a day (its last one, YYYY-MM-DD).

    The rules go into the app's ``opslib.yaml``, one for each object; it counts once the branch
    is merged. Raises InputError for a reason that is none, a day that has passed, and ids that
    no difference has.
    """
    picked = chosen(drifts, ids)
    why, last = _reason(reason), _day(until)
    order = Order(
        Disposition.IGNORE, author_of(author, session.mirror), why, branch, push, folder,
        last.isoformat(),
    )  # fmt: skip
    base = session.mirror.resolve("")
    tree = Overlay(Commit(session.mirror, base.commit))
    proposal = ignoring_rules(tree, base, picked, why, last)
    return commit_proposal(session, base, proposal, order)


def ignoring_rules(
    tree: Overlay, base: Revision, drifts: Sequence[Drift], reason: str, until: date
) -> Proposal:
    """Return the edit of the app's file after which these differences are explained."""
    path = posixpath.join(base.path, APP_FILE).lstrip("/")
    text = tree.text(path) if path in tree.files(base.path) else _NEW
    load_appfile(text, path)
    named = [drift for drift in drifts if not _unnamed(drift)]
    refused = [Refused(drift, why) for drift in drifts if (why := _unnamed(drift))]
    value: Any = documents(text, path)[0][1].manifest
    rules = list(value.get("ignore") or ())
    for key in dict.fromkeys(drift.key for drift in named):
        _add(rules, _rule(key, [d for d in named if d.key == key], reason, until))
    if named:
        text = amend_document(text, 0, {**value, "ignore": rules}, names=_unordered)
    files = {path: text.encode()} if named else {}
    _prove(text, path, named)
    return Proposal(files, tuple(named), tuple(refused), diff_of(tree.base, files))


def _unordered(items: list[Any], path: tuple[Any, ...]) -> None:
    """Rules have no names."""
    del items, path


def _unnamed(drift: Drift) -> str:
    """Return why no rule can name a difference; "" where one can."""
    if not drift.path:
        return ""
    try:
        parse_path(_path(drift))
    except OpslibError as error:
        return f"no rule can name this field: {error.what}"
    return ""


def _path(drift: Drift) -> str:
    return drift.path.removesuffix(f" {ORDER}")


def _rule(key: ResourceKey, drifts: Sequence[Drift], reason: str, until: date) -> dict[str, Any]:
    """Return the rule for one object; without fields where the whole object is meant."""
    target = {"kind": glob.escape(key.kind)}
    place = key.name if (key.group, key.kind) == ("", "Namespace") else key.namespace
    if place:
        target["namespace"] = glob.escape(place)
    target["name"] = glob.escape(key.name)
    rule: dict[str, Any] = {"target": target}
    if all(drift.path for drift in drifts):
        rule["fields"] = list(dict.fromkeys(map(_path, drifts)))
    return {**rule, "reason": reason, "expires": until.isoformat()}


def _add(rules: list[Any], rule: dict[str, Any]) -> None:
    """Add a rule, or let one that is for the same fields end later."""
    for number, known in enumerate(rules):
        same = all(known.get(name) == rule.get(name) for name in ("target", "fields"))
        if isinstance(known, dict) and same:
            rules[number] = {**known, "reason": rule["reason"], "expires": rule["expires"]}
            return
    rules.append(rule)


def _prove(text: str, path: str, drifts: Sequence[Drift]) -> None:
    """Read the file as a review does; raises OpslibError where a difference is not covered."""
    rules = rules_of(load_appfile(text, path))
    for drift in drifts:
        if (drift.place or not drift.path) and not any(rule.covers(drift) for rule in rules):
            raise OpslibError(f"the rule does not cover {drift.path} of {drift.key}", where=path)


def _reason(text: str) -> str:
    why = " ".join(plain(text).split())
    if not why:
        raise InputError("a reason is missing", where="--reason", expected="why, and who knows")
    if len(why) > _MOST_REASON:
        raise InputError("the reason is too long", where="--reason", expected="500 characters")
    return why


def _day(text: str) -> date:
    expected = "the last day on which it is ignored, as 2027-03-31"
    try:
        found = date.fromisoformat(text)
    except ValueError:
        raise InputError(f"{text!r} is no day", where="--until", expected=expected) from None
    if found < now().date():
        raise InputError(f"{found} has passed", where="--until", expected=expected)
    return found
