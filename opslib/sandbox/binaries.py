"""Where the control plane's programs come from.

In this order, for each program by itself: its own setting (OPSLIB_ETCD, OPSLIB_KUBE_APISERVER,
…), the folder that KUBEBUILDER_ASSETS names, the cache, the official release, a build with Go.
The reason for each step down is told to the progress; a wrong checksum is never a reason to go
on, it is an error.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from opslib.core.errors import InputError, OpslibError
from opslib.core.proc import run
from opslib.core.progress import SILENT, Progress
from opslib.sandbox import golang
from opslib.sandbox.download import DownloadError, fetch
from opslib.sandbox.pins import expected_sum
from opslib.sandbox.tools import (
    CONTROL_PLANE,
    KUBECTL,
    KUBERNETES,
    VAULT_SERVER,
    Tool,
    artefact,
)

_ASSETS = "KUBEBUILDER_ASSETS"
_ASSET_NAMES = frozenset({"etcd", "kube-apiserver", "kubectl"})


@dataclass(frozen=True)
class Binaries:
    """The programs of one control plane. ``origin`` tells from where each came."""

    etcd: Path
    kube_apiserver: Path
    kube_controller_manager: Path
    kube_scheduler: Path
    kwok: Path
    kwokctl: Path
    origin: str


def resolve(progress: Progress = SILENT) -> Binaries:
    """Find, download or build the programs of the control plane.

    Raises InputError for a setting that names nothing usable, ChecksumError for a download
    that is not the pinned file, OpslibError where nothing is left to try.
    """
    found = _resolve(CONTROL_PLANE, progress)
    paths = {name.replace("-", "_"): path for name, (path, _) in found.items()}
    origin = ", ".join(f"{name}: {where}" for name, (_, where) in found.items())
    return Binaries(**paths, origin=origin)


def kubectl(progress: Progress = SILENT) -> Path:
    """Return kubectl: OPSLIB_KUBECTL, then PATH, then as ``resolve`` does.

    kubectl works with API servers one minor version older and newer, and `kubectl kustomize`
    with any: https://kubernetes.io/releases/version-skew-policy/#kubectl
    """
    if explicit := _explicit(KUBECTL):
        return explicit
    if on_path := shutil.which("kubectl"):
        return Path(on_path)
    return own_kubectl(progress)


def own_kubectl(progress: Progress = SILENT) -> Path:
    """Return the kubectl of the pinned version, whatever is on PATH; found as by ``resolve``."""
    return _resolve([KUBECTL], progress)["kubectl"][0]


def vault(progress: Progress = SILENT) -> Path:
    """Return Vault, or OpenBao, for tests: OPSLIB_VAULT, then PATH, then as ``resolve`` does."""
    if explicit := _explicit(VAULT_SERVER):
        return explicit
    if on_path := shutil.which("vault") or shutil.which("bao"):
        return Path(on_path)
    return _resolve([VAULT_SERVER], progress)[VAULT_SERVER.name][0]


def programs(tools: Sequence[Tool], progress: Progress = SILENT) -> dict[str, Path]:
    """Return programs by name, found as by ``resolve``."""
    return {name: path for name, (path, _) in _resolve(tools, progress).items()}


def _resolve(tools: Sequence[Tool], progress: Progress) -> dict[str, tuple[Path, str]]:
    found: dict[str, tuple[Path, str]] = {}
    missing: list[Tool] = []
    for tool in tools:
        if explicit := _explicit(tool):
            found[tool.name] = explicit, tool.variable
        elif asset := _from_assets(tool, progress):
            found[tool.name] = asset, _ASSETS
        elif tool.cached().exists():
            found[tool.name] = tool.cached(), "cache"
        else:
            missing.append(tool)
    to_build = [tool for tool in missing if not _download(tool, progress)]
    if to_build:
        golang.build(to_build, progress)
    for tool in missing:
        found[tool.name] = tool.cached(), "built" if tool in to_build else "downloaded"
    return {tool.name: found[tool.name] for tool in tools}


def _explicit(tool: Tool) -> Path | None:
    value = os.environ.get(tool.variable)
    if not value:
        return None
    path = Path(value).expanduser().absolute()
    if not _executable(path):
        raise InputError(
            f"{tool.variable} names {path}, which is not an executable file",
            where=tool.variable,
            expected=f"the path of {tool.name} {tool.version}",
            hint=f"correct it, or unset {tool.variable}",
        )
    return path


def _from_assets(tool: Tool, progress: Progress) -> Path | None:
    folder = os.environ.get(_ASSETS)
    if not folder or tool.name not in _ASSET_NAMES:
        return None
    if not Path(folder).is_dir():
        raise InputError(
            f"{_ASSETS} names {folder}, which is not a folder",
            where=_ASSETS,
            expected="a folder with etcd, kube-apiserver and kubectl",
        )
    path = Path(folder).absolute() / tool.name
    if not _executable(path):
        return None
    if tool.name == "kube-apiserver" and not _same_minor(path):
        # A controller manager must not be newer than its API server:
        # https://kubernetes.io/releases/version-skew-policy/
        progress.update(f"{path} is not of {KUBERNETES}'s minor version: not used")
        return None
    return path


def _same_minor(apiserver: Path) -> bool:
    try:
        said = run([apiserver, "--version"], timeout=20).text
    except OpslibError:
        return False
    match = re.search(r"v\d+\.\d+", said)
    return match is not None and match[0] == KUBERNETES.rpartition(".")[0]


def _executable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _download(tool: Tool, progress: Progress) -> bool:
    """Fetch one program into the cache; False, with the reason told, where that cannot be done."""
    wanted = artefact(tool)
    if wanted is None:
        progress.update(f"{tool.name} is not published for this machine: it will be built")
        return False
    target = tool.cached()
    try:
        sum_ = expected_sum(wanted)
        if not wanted.member:
            fetch(wanted.url, target, sum_, mode=0o755, progress=progress)
        else:
            archive = target.with_name(wanted.path.rpartition("/")[2])
            fetch(wanted.url, archive, sum_, progress=progress)
            _extract(archive, wanted.member, target)
    except DownloadError as error:
        progress.update(f"{tool.name} will be built: {error.what}")
        return False
    return True


def _extract(archive: Path, member: str, target: Path) -> None:
    """Take one regular file out of a verified archive, and drop the archive."""
    made = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with _opened(archive, member) as stream, open(made, "wb") as output:
            shutil.copyfileobj(stream, output)
        made.chmod(0o755)
        os.replace(made, target)
    except (KeyError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise DownloadError(f"{archive.name} holds no {member}", where=str(archive)) from error
    finally:
        made.unlink(missing_ok=True)
        archive.unlink(missing_ok=True)


@contextlib.contextmanager
def _opened(archive: Path, member: str) -> Iterator[IO[bytes]]:
    """Open a member of a tar or zip archive; KeyError where it is not there or not a file."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as pack, pack.open(member) as stream:
            yield stream
        return
    with tarfile.open(archive) as tar, _member(tar, member) as stream:
        yield stream


def _member(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    """Open one member; KeyError where it is not there or not a file."""
    stream = tar.extractfile(name)
    if stream is None:
        raise KeyError(name)
    return stream
