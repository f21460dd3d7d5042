"""Apps that have to be there first: applied whole, and healthy now."""

from __future__ import annotations

from collections.abc import Sequence

from opslib.core.errors import OpslibError
from opslib.kube.client import Cluster
from opslib.kube.discovery import Discovery
from opslib.reconcile.app import App
from opslib.reconcile.circles import Says, circle, spelled
from opslib.reconcile.health import Health
from opslib.reconcile.inventory import read_inventory
from opslib.reconcile.wait import health_of


class NotReady(OpslibError):
    """An app that this one depends on is not whole and healthy; nothing was written."""

    kind = "not-ready"


def not_ready(
    cluster: Cluster, discovery: Discovery, app: App, depends_on: Sequence[str], says: Says
) -> tuple[str, ...]:
    """Return why each app that ``app`` depends on is not ready; nothing when all are.

    An app is ready when one of its commits was applied whole and all that its inventory names
    is Current. One that waits for ``app`` in turn, or for itself, will not be ready by waiting:
    the circle is named with the reason, as far as ``says`` knows it.
    """
    found = {name: _reason(cluster, discovery, App(name)) for name in depends_on}
    unready = [name for name, reason in found.items() if reason]
    own = circle(app.name, says) if unready else ()
    return tuple(_told(found[name], name, own, says) for name in unready)


def _told(reason: str, name: str, own: Sequence[str], says: Says) -> str:
    """Return a reason, with the circle that the app is in, this app's own before others."""
    way = own if name in own else circle(name, says)
    if not way:
        return reason
    return f"{reason}, and apps wait for each other: {spelled(way)}; one has to let go"


def _reason(cluster: Cluster, discovery: Discovery, other: App) -> str:
    inventory = read_inventory(cluster, other)
    if not inventory.commit:
        return f"app {other.name} was never applied whole"
    kinds = {}
    for key, version in inventory.objects.items():
        kind = discovery.find(version, key.kind) or discovery.of_key(key)
        if kind is None:
            return f"app {other.name}: the API server has no {key.kind} any more"
        kinds[key] = kind
    states = health_of(cluster, kinds)
    bad = next((state for state in states if state.health is not Health.CURRENT), None)
    return f"app {other.name}: {bad.key} is {bad.health}: {bad.message}" if bad else ""
