"""The ways to the programs, in their order, with small stand-ins for the programs."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
import time
import zipfile
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opslib.core.errors import InputError
from opslib.sandbox import golang, tools
from opslib.sandbox.binaries import kubectl, resolve, vault
from opslib.sandbox.download import ChecksumError, DownloadError
from opslib.sandbox.pins import expected_sum, find_sum
from opslib.sandbox.tools import CONTROL_PLANE, KUBECTL, Tool, artefact

from .conftest import Site, Told, script

DEAD = "http://127.0.0.1:9"
"""Nobody listens on the discard port here."""


def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    for component in tools.VERSIONS:
        monkeypatch.setenv(f"OPSLIB_MIRROR_{component.upper()}", DEAD)


def fill_cache(*left_out: str) -> None:
    for tool in (*CONTROL_PLANE, KUBECTL):
        if tool.name not in left_out:
            script(tool.cached())


def fake_go(
    monkeypatch: pytest.MonkeyPatch, folder: Path, body: str = "", version: str = ""
) -> Path:
    """Put a go on PATH that notes what it was asked and makes a stand-in."""
    log = folder / "go.log"
    script(
        folder / "bin" / "go",
        f'[ "$1" = version ] && echo "go version go{version or "1.99.0"} linux/amd64" && exit\n'
        f'echo "$GOFLAGS $GOTOOLCHAIN $CGO_ENABLED $GOPROXY $(pwd) $*" >> {log}\n'
        f"ls go.mod go.sum >/dev/null || exit 9\n{body}\n"
        'while [ "$1" != -o ]; do shift; done\nprintf "#!/bin/sh\\n" > "$2"; chmod 755 "$2"',
    )
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:/usr/bin:/bin")
    return log


def serve(site: Site, monkeypatch: pytest.MonkeyPatch, tool: Tool, body: bytes) -> None:
    """Publish a tool on the site as its project would, and pin it."""
    monkeypatch.setenv(f"OPSLIB_MIRROR_{tool.component.upper()}", f"{site.url}/{tool.component}/")
    wanted = artefact(tool)
    assert wanted is not None
    pack = zipped if wanted.path.endswith(".zip") else archive
    content = pack(wanted.member, body) if wanted.member else body
    site.files[f"/{tool.component}/{wanted.path}"] = content
    pins = Path(os.environ["OPSLIB_CACHE"]).parent / "pins.json"
    known = json.loads(pins.read_text()) if pins.exists() else {}
    known.setdefault(tool.component, {})[wanted.path] = hashlib.sha256(content).hexdigest()
    pins.write_text(json.dumps(known))
    monkeypatch.setenv("OPSLIB_PINS", str(pins))


def archive(member: str, body: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, data in ((member, body), ("../escape", b"x")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def zipped(member: str, body: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as pack:
        pack.writestr(member, body)
        pack.writestr("../escape", b"x")
    return stream.getvalue()


def test_own_settings_come_first(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program named by its variable is used, though assets and cache have one too."""
    fill_cache()
    script(tmp_path / "assets" / "etcd")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "assets"))
    mine = script(tmp_path / "mine")
    for tool in CONTROL_PLANE:
        monkeypatch.setenv(tool.variable, str(mine))
    found = resolve()
    assert {found.etcd, found.kube_apiserver, found.kwok, found.kwokctl} == {mine}
    assert "etcd: OPSLIB_ETCD" in found.origin


@pytest.mark.parametrize("kind", ["missing", "folder", "not executable"])
def test_a_setting_that_names_nothing_usable(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A wrong setting is bad input that names its variable; no other way is tried."""
    fill_cache()
    path = tmp_path / "x"
    if kind == "folder":
        path.mkdir()
    elif kind == "not executable":
        path.write_text("")
    monkeypatch.setenv("OPSLIB_KUBE_SCHEDULER", str(path))
    with pytest.raises(InputError, match="OPSLIB_KUBE_SCHEDULER") as caught:
        resolve()
    assert str(path) in str(caught.value)


def test_kubebuilder_assets(bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """KUBEBUILDER_ASSETS gives etcd and kube-apiserver; the rest comes from elsewhere."""
    fill_cache()
    assets = tmp_path / "assets"
    script(assets / "etcd")
    script(assets / "kube-apiserver", f"echo Kubernetes {tools.KUBERNETES}")
    script(assets / "kube-scheduler")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(assets))
    found = resolve()
    assert (found.etcd, found.kube_apiserver) == (assets / "etcd", assets / "kube-apiserver")
    assert found.kube_scheduler == tools.KUBE_SCHEDULER.cached()
    assert "etcd: KUBEBUILDER_ASSETS" in found.origin
    assert "kube-scheduler: cache" in found.origin


def test_assets_of_another_release(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: Told
) -> None:
    """An API server older than our controllers is left aside, and that is said."""
    fill_cache()
    script(tmp_path / "kube-apiserver", "echo Kubernetes v1.30.1")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    assert resolve(told).kube_apiserver == tools.KUBE_APISERVER.cached()
    assert "not used" in told.text


def test_assets_that_are_no_folder(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """KUBEBUILDER_ASSETS must name a folder."""
    monkeypatch.setenv("KUBEBUILDER_ASSETS", "/nowhere/at/all")
    with pytest.raises(InputError, match="KUBEBUILDER_ASSETS"):
        resolve()


def test_cache_is_keyed_by_version_and_platform(bare: Path) -> None:
    """Each component has a folder that names its version, system and processor."""
    fill_cache()
    found = resolve()
    assert found.etcd.is_relative_to(bare / "bin")
    assert re.fullmatch(rf"etcd-{tools.ETCD}-[a-z]+-[a-z0-9]+", found.etcd.parent.name)
    assert found.kwok.parent.name.startswith(f"kwok-{tools.KWOK}-")
    assert found.origin.count("cache") == len(CONTROL_PLANE)


def test_download_of_everything(
    bare: Path, site: Site, monkeypatch: pytest.MonkeyPatch, told: Told
) -> None:
    """With an empty cache all programs come from the releases; the next time from the cache."""
    for tool in CONTROL_PLANE:
        serve(site, monkeypatch, tool, f"#!/bin/sh\necho {tool.name}\n".encode())
    found = resolve(told)
    assert found.origin.count("downloaded") == len(CONTROL_PLANE)
    for tool in CONTROL_PLANE:
        assert os.access(tool.cached(), os.X_OK)
        assert f"echo {tool.name}\n" in tool.cached().read_text()
    assert not list(bare.rglob("*escape*"))
    assert not list(bare.rglob("*.tar.gz"))
    asked = len(site.asked)
    assert resolve().origin.count("cache") == len(CONTROL_PLANE)
    assert len(site.asked) == asked


def test_wrong_checksum_stops_everything(
    bare: Path, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A download that is not the pinned file is an error; it is neither used nor built around."""
    fill_cache("kwok")
    serve(site, monkeypatch, tools.KWOK_CONTROLLER, b"good")
    site.files = dict.fromkeys(site.files, b"evil")
    log = fake_go(monkeypatch, tmp_path)
    with pytest.raises(ChecksumError):
        resolve()
    assert not tools.KWOK_CONTROLLER.cached().exists()
    assert not log.exists()


def test_offline_falls_through_to_the_build(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: Told
) -> None:
    """Without a network the programs are built, in seconds, and the reason is told."""
    offline(monkeypatch)
    log = fake_go(monkeypatch, tmp_path)
    begin = time.monotonic()
    found = resolve(told)
    assert time.monotonic() - begin < 30  # one server that swallows packets takes 4 s
    assert found.origin.count("built") == len(CONTROL_PLANE)
    assert "kwok will be built: cannot reach 127.0.0.1:9" in told.text
    assert "building kube-apiserver" in told.text
    said = log.read_text()
    assert said.count("-mod=readonly local 0") == len(CONTROL_PLANE)
    assert f"gitVersion={tools.KUBERNETES}" in said
    assert "sigs.k8s.io/kwok/cmd/kwokctl" in said


def test_no_pin_no_download(
    bare: Path, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: Told
) -> None:
    """Without a sum to trust a file is not even asked for; it is built, and that is said."""
    fill_cache("etcd")
    serve(site, monkeypatch, tools.ETCD_SERVER, b"etcd")
    monkeypatch.delenv("OPSLIB_PINS")
    fake_go(monkeypatch, tmp_path)
    assert "etcd: built" in resolve(told).origin
    assert site.asked == []
    assert "no pinned sum" in told.text


def test_vault_setting_then_path_then_release_then_build(
    bare: Path, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The named one, else vault or bao on PATH, else the official release, else a build."""
    log = fake_go(monkeypatch, tmp_path)
    assert vault() == tools.VAULT_SERVER.cached()
    assert "github.com/hashicorp/vault" in log.read_text()
    tools.VAULT_SERVER.cached().unlink()
    serve(site, monkeypatch, tools.VAULT_SERVER, b"official")
    assert vault().read_bytes() == b"official"
    assert os.access(vault(), os.X_OK)
    assert not [path for path in bare.rglob("*") if path.suffix == ".zip" or path.name == "escape"]
    bao = script(tmp_path / "bin" / "bao")
    assert vault() == bao
    mine = script(tmp_path / "mine")
    monkeypatch.setenv("OPSLIB_VAULT", str(mine))
    assert vault() == mine


@pytest.mark.parametrize("tool", [tools.ETCD_SERVER, tools.KUBECTL], ids=lambda t: t.name)
def test_published_checksum_file_where_allowed(
    bare: Path, site: Site, monkeypatch: pytest.MonkeyPatch, tool: Tool
) -> None:
    """With OPSLIB_ALLOW_UNPINNED=checksum-file the project's own checksum file decides."""
    serve(site, monkeypatch, tool, b"body")
    monkeypatch.delenv("OPSLIB_PINS")
    monkeypatch.setenv("OPSLIB_ALLOW_UNPINNED", "checksum-file")
    wanted = artefact(tool)
    assert wanted is not None
    content = site.files[f"/{tool.component}/{wanted.path}"]
    right = hashlib.sha256(content).hexdigest()
    name = wanted.path.rpartition("/")[2]
    line = right if tool is KUBECTL else f"{'0' * 64}  other\n{right}  {name}"
    site.files[f"/{tool.component}/{wanted.checksums}"] = line.encode()
    assert expected_sum(wanted) == right


def test_unknown_trust_is_refused(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt OPSLIB_ALLOW_UNPINNED is bad input, not a yes."""
    monkeypatch.setenv("OPSLIB_ALLOW_UNPINNED", "yes")
    wanted = artefact(tools.ETCD_SERVER)
    assert wanted is not None
    with pytest.raises(InputError, match="checksum-file"):
        expected_sum(wanted)


@pytest.mark.parametrize("text", ["[", "[]", '{"etcd": 1}', '{"etcd": {"x": "123"}}'])
def test_broken_pins_are_bad_input(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """A file of pins that cannot be read names itself and what it should hold."""
    pins = tmp_path / "pins.json"
    pins.write_text(text)
    monkeypatch.setenv("OPSLIB_PINS", str(pins))
    wanted = artefact(tools.ETCD_SERVER)
    assert wanted is not None
    with pytest.raises(InputError) as caught:
        expected_sum(wanted)
    assert str(pins) in str(caught.value)


def test_own_pins_name_files_of_the_pinned_versions() -> None:
    """Each entry of pins.json is a file of the version that the kit uses."""
    pins = json.loads(files("opslib.sandbox").joinpath("pins.json").read_text())
    assert pins
    for component, entries in pins.items():
        for path, value in entries.items():
            assert path.startswith(f"{tools.VERSIONS[component]}/")
            assert re.fullmatch("[0-9a-f]{64}", value)


@given(
    names=st.lists(
        st.from_regex(r"[a-z][a-z0-9.-]{0,12}", fullmatch=True), min_size=1, unique=True
    ),
    data=st.data(),
)
def test_sums_are_found_by_name(names: list[str], data: st.DataObject) -> None:
    """In any list of sums each name gets its own; a name that is not there gets none."""
    sums = {name: hashlib.sha256(name.encode()).hexdigest() for name in names}
    text = "# sums\n" + "".join(
        f"{sums[name]} {data.draw(st.sampled_from([' ', '*']))}{name}\n" for name in names
    )
    assert all(find_sum(text, name, "x") == sums[name] for name in names)
    with pytest.raises(DownloadError):
        find_sum(text, "NOT-THERE", "x")


def test_versions_are_those_of_the_pinned_modules() -> None:
    """tools.py and the go.mod files name the same versions, so both ways give the same programs."""
    wanted = {
        "kubernetes": ("k8s.io/kubernetes", tools.KUBERNETES),
        "etcd": ("go.etcd.io/etcd/server/v3", tools.ETCD),
        "kwok": ("sigs.k8s.io/kwok", tools.KWOK),
        "vault": ("github.com/hashicorp/vault", tools.VAULT),
    }
    for component, (module, version) in wanted.items():
        assert re.search(
            rf"(?m)^(?:require |\t){re.escape(module)} {version}\b", golang._go_mod(component)
        )


def test_kubectl_setting_then_path_then_cache(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The named kubectl is used, else the one on PATH, else the kit's own."""
    fill_cache()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert kubectl() == KUBECTL.cached()
    on_path = script(tmp_path / "bin" / "kubectl")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert kubectl() == on_path
    named = script(tmp_path / "named")
    monkeypatch.setenv("OPSLIB_KUBECTL", str(named))
    assert kubectl() == named


def test_machine_without_a_release(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: Told
) -> None:
    """Where a project publishes nothing for the machine, such as macOS, the program is built."""
    for module in (tools, golang):
        monkeypatch.setattr(module, "machine", lambda: ("darwin", "arm64"))
    assert artefact(tools.KUBE_APISERVER) is None
    assert artefact(tools.KWOKCTL) is not None
    fill_cache("kube-apiserver")
    fake_go(monkeypatch, tmp_path)
    assert "kube-apiserver: built" in resolve(told).origin
    assert "not published for this machine" in told.text
