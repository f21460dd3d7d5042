"""Evidence before correction: what was live, on disk, before the first write."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from opslib.core.clock import now, stamp
from opslib.core.errors import OpslibError
from opslib.core.files import private_dir, write_atomic
from opslib.core.model import Manifest, ResourceKey
from opslib.core.settings import state_dir
from opslib.reconcile.mask import masked
from opslib.reconcile.plan import Plan


def keep_evidence(
    plan: Plan,
    live: Mapping[ResourceKey, Manifest],
    folder: Path | None = None,
    more: Mapping[str, Any] | None = None,
) -> Path | None:
    """Write the plan and every live object that it changes, whole, with managedFields; fsynced.

    Forced server-side apply takes the editor's name off the fields that it corrects, so this
    is the last moment at which it can be seen. Secret values are masked. Returns the file, or
    None where the plan only creates and there is no ``more``: what else is known of the
    differences, without secrets. Raises OpslibError where it cannot be kept, so that
    nothing is written without it.
    """
    touched = [change for change in plan.writes if change.key in live]
    if not touched and not more:
        return None
    document = {
        "format": "opslib.dev/evidence/v1",
        "taken_at": stamp(),
        "plan": plan.as_dict(),
        "live": [masked(live[change.key]) for change in touched],
        **(more or {}),
    }
    place = folder or state_dir() / "evidence" / plan.app
    path = place / f"{now():%Y%m%dT%H%M%S.%fZ}-{plan.hash[:12]}.json"
    try:
        private_dir(place)
        write_atomic(path, json.dumps(document, indent=1, ensure_ascii=False), mode=0o600)
    except OSError as error:
        raise OpslibError(
            f"the evidence cannot be kept, so nothing was written: {error.strerror}",
            where=str(path),
            hint="make room there, or set OPSLIB_STATE to a folder that has some",
        ) from error
    return path
