"""What the machine is. A stub of the thin way."""

from __future__ import annotations

from typing import Any, Dict

from opslib.bench.probe import device, place


def read(where: place.Place) -> Dict[str, Any]:
    return {"queue": {name: device.queue(name) for name in where.disks}}


def of_place(where: place.Place) -> Dict[str, Any]:
    """Return where a folder lies, as the result's ``place``."""
    mount = where.mount
    return {
        "folder": where.folder,
        "filesystem": where.kind,
        "mount_point": mount.point if mount else device.UNREADABLE,
        "mount_options": list(mount.all_options) if mount else [],
        "source": mount.source if mount else device.UNREADABLE,
        "device": where.number,
        "layers": [{"name": one.name, "kind": one.kind} for one in where.layers],
        "disks": list(where.disks),
    }
