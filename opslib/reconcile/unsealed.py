"""What reads a sealed value starts when it is unsealed, not a moment before.

A pod takes a Secret as it is at its start. Where one commit changes a SealedSecret and restarts
what reads it, the new pods would race with the controller, and may keep the old value for ever.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from opslib.core.model import ResourceKey
from opslib.core.progress import SILENT, Progress
from opslib.kube.client import Cluster
from opslib.kube.discovery import Kind
from opslib.seal.synced import said

GROUP, KIND = "bitnami.com", "SealedSecret"
SECONDS = 10.0
"""How long its controller may take; it takes a tenth of a second where it runs. What it has not
answered by then holds nothing up: the health of the whole tells of it."""
_PAUSE = 0.1


def is_sealed(key: ResourceKey) -> bool:
    """Tell a SealedSecret."""
    return (key.group, key.kind) == (GROUP, KIND)


def wait_unsealed(
    cluster: Cluster,
    kinds: Mapping[ResourceKey, Kind],
    seconds: float,
    *,
    go_on: Callable[[], bool] = lambda: True,
    progress: Progress = SILENT,
) -> list[ResourceKey]:
    """Wait until the controller has looked at these SealedSecrets as they are now.

    Returns those that it said nothing of within ``seconds``; whether it could unseal the
    others is for their health to say. Raises ApiError and Unreachable.
    """
    end = time.monotonic() + seconds
    left = list(kinds)
    while True:
        paths = {key: kinds[key].path(key.namespace, key.name) for key in left}
        left = [key for key, path in paths.items() if not _answered(cluster.find(path))]
        if not left or time.monotonic() > end or not go_on():
            return left
        progress.update("waiting until values are unsealed", len(kinds) - len(left), len(kinds))
        time.sleep(_PAUSE)


def _answered(live: Mapping[str, Any] | None) -> bool:
    """Tell whether the controller has said Synced, or not; of one that is gone it never will."""
    return live is None or bool(said(live))
