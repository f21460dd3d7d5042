"""Adopt differences into Git: a commit on a branch of its own, for somebody to review and merge."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from opslib.core.errors import ConflictError
from opslib.core.model import Manifest, ResourceKey
from opslib.drift.bounds import bounded
from opslib.drift.commits import Adopted, Order, commit_proposal
from opslib.drift.model import Difference, Disposition, Drift
from opslib.drift.propose import chosen, propose
from opslib.reconcile.diff import comparable
from opslib.reconcile.fieldpath import value_at
from opslib.reconcile.mask import masked
from opslib.reconcile.repofiles import policy_at
from opslib.reconcile.session import Session
from opslib.source.branch import author_of
from opslib.source.trees import Commit
from opslib.source.yamledit import same


def adopt(
    session: Session,
    drifts: Iterable[Drift],
    ids: Sequence[str],
    *,
    author: str = "",
    reason: str = "",
    branch: str = "",
    push: bool = False,
    folder: Path | None = None,
) -> Adopted:
    """Commit what is live on the chosen differences, onto the newest commit of the source.

    ``author`` is "Name <mail>" (default: whom git's settings name), ``reason`` why, ``branch``
    the branch's name (default: made of the ids). A source that is an address gets the commit
    as a patch file in ``folder`` (default: of the state), and with ``push`` the branch.
    Raises InputError for ids that no difference has, and ConflictError where an object is not
    what the review saw.
    """
    picked = chosen(drifts, ids)
    who = author_of(author, session.mirror)
    base = session.mirror.resolve("")
    proposal = propose(
        Commit(session.mirror, base.commit),
        base.path,
        picked,
        read_live(session, picked),
        namespace=session.namespace,
        policy=policy_at(session.mirror, base),
    )
    order = Order(Disposition.ADOPT, who, reason, branch, push, folder)
    return commit_proposal(session, base, proposal, order)


def read_live(session: Session, drifts: Sequence[Drift]) -> dict[ResourceKey, Manifest]:
    """Read the objects anew. Raises ConflictError where one is not what the review saw."""
    found: dict[ResourceKey, Manifest] = {}
    for drift in drifts:
        if drift.key not in found:
            kind = session.discovery.find(drift.api_version, drift.key.kind)
            path = kind.path(drift.key.namespace, drift.key.name) if kind else ""
            one = session.cluster.find(path) if path else None
            if one:
                found[drift.key] = one
        if moved := _moved(drift, found.get(drift.key)):
            raise ConflictError(
                f"{drift.key}: {moved} since the review",
                where=drift.path or None,
                hint="review again, and decide on what is there now",
            )
    return found


def _moved(drift: Drift, live: Manifest | None) -> str:
    """Return how a live object is not what the review saw; "" where it is."""
    if drift.difference is Difference.MISSING:
        return "it was made again" if live else ""
    if live is None:
        return "it was deleted"
    if drift.uid and live["metadata"]["uid"] != drift.uid:
        return "it was deleted and made anew"
    return _changed(drift, live) if drift.place and drift.place[-1] != "(order)" else ""


def _changed(drift: Drift, live: Manifest) -> str:
    there, value = value_at(comparable(masked(live)), drift.place)
    if drift.difference is Difference.REMOVED:
        return "the field is there again" if there and value is not None else ""
    if not there:
        return "the field is gone"
    return "" if same(bounded(value), drift.live) else "the value changed"
