"""Apps that have to be there first: applied whole, and healthy now."""

from __future__ import annotations

from collections.abc import Sequence

from opslib.core.errors import InputError, OpslibError
from opslib.kube.client import Cluster
from opslib.kube.discovery import Discovery
from opslib.reconcile.app import App
from opslib.reconcile.health import Health
from opslib.reconcile.inventory import read_inventory
from opslib.reconcile.wait import health_of


class NotReady(OpslibError):
    """An app that this one depends on is not whole and healthy; nothing was written."""

    kind = "not-ready"


def not_ready(
    cluster: Cluster, discovery: Discovery, app: App, depends_on: Sequence[str]
) -> tuple[str, ...]:
    """Return why each app that ``app`` depends on is not ready; nothing when all are.

    An app is ready when one of its commits was applied whole and all that its inventory names
    is Current. Raises InputError for an app that depends on itself.
    """
    if app.name in depends_on:
        raise InputError(f"app {app.name} depends on itself", where="dependsOn")
    reasons = (_reason(cluster, discovery, App(name)) for name in depends_on)
    return tuple(reason for reason in reasons if reason)


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
