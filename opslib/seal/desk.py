"""The place of one sealing: a commit of Git, and the clusters that it is for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opslib.core.clock import now, parse_duration
from opslib.core.errors import InputError, OpslibError
from opslib.core.model import Revision
from opslib.kube.client import Cluster, connect
from opslib.seal import committing, proposal, proposing, recipients, sealing
from opslib.seal.proposal import Change, Placed, Wish
from opslib.seal.recipients import Recipient
from opslib.seal.secretbytes import SecretBytes
from opslib.seal.wire import Scope
from opslib.source.branch import author_of
from opslib.source.mirror import Mirror, Source
from opslib.source.trees import Commit


@dataclass(frozen=True)
class Desk:
    """A pinned commit with the clusters to seal for; ``told`` is what a person should know."""

    mirror: Mirror
    base: Revision
    tree: Commit
    recipients: tuple[Recipient, ...]
    told: tuple[str, ...]

    def wish(
        self,
        secret: str,
        values: Mapping[str, SecretBytes],
        *,
        scope: str = "",
        kind: str = "",
        rotate_after: str = "",
        restart: bool = True,
        author: str = "",
    ) -> Wish:
        """Return what is to be sealed, as parameters say it.

        ``secret`` is NAMESPACE/NAME, ``kind`` the type of a new Secret, ``rotate_after`` a
        duration, ``author`` is "Name <mail>" or "" for whom git names. Raises InputError.
        """
        namespace, name = proposal.place(secret)
        who = author_of(author, self.mirror)
        today = now().date()
        rotate = None
        if rotate_after:
            seconds = parse_duration(rotate_after, name="rotate_after")
            rotate = sealing.rotate_after(today, seconds)
        noting = sealing.Noting(today, who.email, rotate)
        asked = Scope(scope) if scope else None
        return Wish(namespace, name, values, noting, asked, kind, restart, str(who))

    def propose(self, wish: Wish) -> Change:
        """Seal for each cluster; nothing is written. Raises InputError, see ``proposing``."""
        return proposing.propose(self.tree, self.base.commit, self.recipients, wish, self.told)

    def standing(self, secret: str, keys: Sequence[str] = ()) -> list[Placed]:
        """Return the SealedSecrets of a Secret as the commit has them, one for each cluster.

        ``keys`` are those that count; none: all. Raises InputError where one is not there.
        """
        namespace, name = proposal.place(secret)
        found = [
            proposing.standing(self.tree, one, namespace, name, keys) for one in self.recipients
        ]
        missing = [one.name for one, row in zip(self.recipients, found, strict=True) if row is None]
        if missing:
            raise InputError(
                f"Git has no SealedSecret {secret} for {', '.join(missing)}",
                where=f"{self.base.url} at {self.base.short}",
                hint="seal it first: mode = plan, then apply",
            )
        return [one for one in found if one is not None]

    def mark(self, one: Placed) -> str:
        """Return what the pod templates of Git have that are to restart with a Secret."""
        declared = one.declared
        folder = one.recipient.folder
        return proposing.mark_in(self.tree, folder, declared.namespace, declared.name)

    def commit(self, change: Change, *, push: bool = False) -> dict[str, Any]:
        """Commit a change on a branch of its own; return the commit for the record."""
        author = author_of(change.wish.author, self.mirror)
        return committing.commit(self.mirror, change, author, push=push)

    def find(self, change: Change) -> dict[str, Any] | None:
        """Look for the commit of a change that a run which was cut off may have made."""
        return committing.find(self.mirror, change)

    def about(self) -> dict[str, Any]:
        """Return what a record says of the cluster; of several, and of one away, the names."""
        if len(self.recipients) == 1:
            try:
                return dict(self.recipients[0].connect().about())
            except OpslibError:
                pass
        return {"name": ", ".join(one.name for one in self.recipients)}


def open_desk(
    source: Source,
    clusters: str = "",
    *,
    kubeconfig: Path | str | None = None,
    context: str | None = None,
) -> Desk:
    """Pin the newest commit, and find the certificates of the clusters.

    ``clusters`` are names of seal.yaml, separated by commas. ``context`` is for one cluster;
    of several each has its own in seal.yaml. Raises InputError, and what Git and the API
    servers raise.
    """
    names = proposal.names(clusters)
    mirror = Mirror.open(source)
    base = mirror.fetch()

    def at(pinned: str) -> Cluster:
        chosen = (pinned or context) if len(names) > 1 else (context or pinned)
        return connect(kubeconfig or None, chosen or None)

    tree = Commit(mirror, base.commit)
    found, told = recipients.recipients(tree, base.path, names, at)
    return Desk(mirror, base, tree, found, (*mirror.warnings, *told))
