"""The folder that is measured: is it a disk, is there room, and is nobody else measuring it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import socket
import struct
import sys
from dataclasses import dataclass
from typing import Iterator, Optional, Tuple

from opslib.bench.probe import device
from opslib.core.errors import InputError, LockBusy

FILES = "opslib-bench-"
"""How the names of all folders of the probe begin, so that what a killed one left is known."""

IN_MEMORY = {"tmpfs", "ramfs", "devtmpfs", "hugetlbfs"}
OVERLAYS = {"overlay", "aufs", "fuse.fuse-overlayfs"}
OVER_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "virtiofs", "glusterfs", "lustre"}


@dataclass(frozen=True)
class Place:
    """A folder, resolved down to its disks."""

    folder: str
    mount: Optional[device.Mount]
    number: str
    layers: Tuple[device.Layer, ...]
    disks: Tuple[str, ...]

    @property
    def kind(self) -> str:
        """The file system's type, as the kernel names it."""
        return self.mount.kind if self.mount else device.UNREADABLE

    @property
    def lock_name(self) -> str:
        """What two probes must not share: the disks, or the file system where there are none."""
        return "+".join(sorted(self.disks)) or f"device {self.number}"


def look(folder: str) -> Place:
    """Resolve a folder, which must exist. Raises InputError."""
    if not os.path.isdir(folder):
        what = "is not a folder" if os.path.exists(folder) else "does not exist"
        raise InputError(f"the folder to measure {what}", where=folder)
    real = os.path.realpath(folder)
    mount = device.mount_of(real)
    number = device.device_number(real, mount)
    layers = device.stack(number)
    return Place(real, mount, number, layers, device.disks(layers))


def refuse_what_is_no_disk(place: Place) -> None:
    """Raise InputError for a folder in memory or on a container's overlay."""
    hint = (
        "name a folder on the disk that etcd uses (in a pod: a hostPath volume); "
        "--any-filesystem measures this one anyway, and it never passes"
    )
    if place.kind in IN_MEMORY:
        what = f"this folder is on {place.kind}: it is memory, not a disk"
    elif place.kind in OVERLAYS:
        what = f"this folder is on {place.kind}, a container's own layer: etcd does not write there"
    else:
        return
    raise InputError(what, where=place.folder, expected="a folder on a disk", hint=hint)


def need_room(place: Place, needed: int) -> None:
    """Raise InputError where a folder cannot be written to or has less than ``needed`` bytes."""
    found = os.statvfs(place.folder)
    if found.f_flag & os.ST_RDONLY:
        raise InputError("the file system is mounted read-only", where=place.folder)
    if not os.access(place.folder, os.W_OK | os.X_OK):
        raise InputError("the folder cannot be written to", where=place.folder)
    free = found.f_bavail * found.f_frsize
    if free < needed:
        raise InputError(
            f"too little space: {free / 1e6:,.0f} MB are free, {needed / 1e6:,.0f} MB are needed",
            where=place.folder,
            hint="make room there; nothing was written",
        )


@contextlib.contextmanager
def alone(place: Place) -> Iterator[None]:
    """Hold the disk: of two probes on one disk the second is told who has it.

    The lock is a name in the kernel (unix(7), abstract sockets): nothing is left behind, no right
    to any file is needed, and it is free when its process is gone. It sees the processes of one
    network namespace; an flock(2) on the folder sees those of all containers that share it.
    """
    with contextlib.ExitStack() as held:
        if sys.platform == "linux":
            held.enter_context(_name(place.lock_name))
        handle = os.open(place.folder, os.O_RDONLY | os.O_DIRECTORY)
        held.callback(os.close, handle)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _busy(place.folder, "another process") from None
        yield


@contextlib.contextmanager
def _name(name: str) -> Iterator[None]:
    address = "\0opslib-bench " + name[:80]
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as lock:
        try:
            lock.bind(address)
        except OSError:
            raise _busy(name, _holder(address)) from None
        lock.listen(8)
        yield


def _holder(address: str) -> str:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        try:
            asking.connect(address)
            told = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        except OSError:
            return "another process"
    return f"process {struct.unpack('3i', told)[0]}"


def _busy(where: str, holder: str) -> LockBusy:
    return LockBusy(
        f"this disk is being measured by {holder}: two probes would measure each other",
        where=where,
        hint="wait for it to end, or stop that process",
    )


@contextlib.contextmanager
def own_folder(place: Place) -> Iterator[str]:
    """Make a folder for the files of one run and remove it however the run ends."""
    _clear_left(place.folder)
    path = os.path.join(place.folder, f"{FILES}{os.getpid()}")
    try:
        os.mkdir(path, 0o700)
    except OSError as error:
        raise InputError(
            f"the folder cannot be written to: {error.strerror}", where=place.folder
        ) from None
    try:
        yield path
    finally:
        remove(path)


def remove(path: str) -> None:
    """Remove a folder of the probe with all that is in it; one that is gone is fine."""
    shutil.rmtree(path, ignore_errors=True)


def _clear_left(folder: str) -> None:
    """Remove what a probe left that was killed; the lock is held, so none of them lives."""
    for entry in os.scandir(folder):
        own = entry.name.startswith(FILES) and entry.name[len(FILES) :].isdigit()
        if own and entry.is_dir(follow_symlinks=False) and entry.stat().st_uid == os.getuid():
            remove(entry.path)
