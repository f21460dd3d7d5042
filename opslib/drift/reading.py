"""Reading one object: one that may not be read is not one that is gone."""

from __future__ import annotations

from opslib.core.model import Manifest
from opslib.kube.client import Cluster
from opslib.kube.errors import ApiError
from opslib.reconcile.retry import retrying

_SECONDS = 5.0


def read_one(cluster: Cluster, path: str) -> Manifest | None:
    """Return an object; None only where the server says that there is none.

    Also of a cluster that is lenient (see ``Cluster.lenient``). Raises ApiError for all else.
    """
    try:
        return dict(retrying(lambda: cluster.get(path), seconds=_SECONDS))
    except ApiError as error:
        if error.code == 404:
            return None
        raise
