"""The small parts: names, ports, processes, the record of a sandbox, its configuration."""

from __future__ import annotations

import os
import signal
import socket
import string
import subprocess
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from opslib.core.errors import InputError
from opslib.sandbox import kwokctl, ports, processes, state
from opslib.sandbox.binaries import Binaries
from opslib.sandbox.state import PORTS, Place, State

from .conftest import script, wait_for

SIX = dict(zip(PORTS, range(20001, 20007), strict=True))


@given(name=st.text(string.ascii_lowercase + string.digits + "-", min_size=1, max_size=40))
def test_names_are_dns_labels(name: str) -> None:
    """A name is taken when it neither begins nor ends with a hyphen, and stays in its folder."""
    if name.startswith("-") or name.endswith("-"):
        with pytest.raises(InputError):
            state.place(name)
    else:
        assert state.place(name).root.parent == state.folder()


@given(name=st.text(max_size=60))
def test_any_text_is_refused_or_a_plain_name(name: str) -> None:
    """Whatever is given as a name, no path outside the sandboxes' folder comes of it."""
    try:
        where = state.place(name)
    except InputError:
        return
    assert where.root == state.folder() / name
    assert "/" not in name
    assert "." not in name


def test_state_folder_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state folder that is a file is bad input that names OPSLIB_STATE."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("OPSLIB_STATE", str(tmp_path / "file"))
    with pytest.raises(InputError, match="cannot be made") as caught:
        state.folder()
    assert "OPSLIB_STATE" in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "{}", '{"ports": {}, "versions": {}}', '{"ports": 1}']
)
def test_a_broken_record_is_none(tmp_path: Path, text: str) -> None:
    """A record that is not whole reads as a sandbox that was never created whole."""
    where = Place("x", tmp_path)
    where.state.write_text(text)
    assert state.read(where) is None


def test_record_comes_back(tmp_path: Path) -> None:
    """What was written is read, from a file that only its owner can read."""
    where = Place("x", tmp_path)
    known = State(ports=SIX, versions={"etcd": "v1"}, origin="cache")
    state.write(where, known)
    assert state.read(where) == known
    assert where.state.stat().st_mode & 0o777 == 0o600


def test_ports_of_others_are_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The ports of a sandbox that is stopped now are not given to another one."""
    monkeypatch.setenv("OPSLIB_STATE", str(tmp_path))
    where = state.place("stopped")
    where.root.mkdir()
    state.write(where, State(ports=SIX, versions={}))
    assert state.others("new") == set(SIX.values())
    assert state.others("stopped") == set()


def test_picked_ports_are_free_and_distinct() -> None:
    """Ports are distinct, free, and not among those to avoid."""
    found = ports.pick(20)
    assert len(set(found)) == 20
    assert all(map(ports.is_free, found))
    assert not set(found) & set(ports.pick(20, avoid=found))


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])  # noqa: S104  # both must be noticed
def test_a_port_in_use_is_noticed(address: str) -> None:
    """A port that somebody listens on, on whatever address, is not free."""
    with socket.socket() as server:
        server.bind((address, 0))
        server.listen()
        port = server.getsockname()[1]
        assert not ports.is_free(port)
        assert ports.still_taken([port], seconds=0) == [port]
    assert ports.still_taken([port], seconds=5) == []


def test_only_processes_of_the_folder_are_found_and_ended(tmp_path: Path) -> None:
    """A program of the same name elsewhere is not ours; ours ends even if it ignores SIGTERM."""
    mine, other = tmp_path / "mine", tmp_path / "other"
    for folder in (mine, other):
        folder.mkdir()
        (folder / "etcd").symlink_to("/bin/sh")
    with (
        subprocess.Popen(
            [mine / "etcd", "-c", "trap '' TERM; while :; do sleep 0.1; done"]
        ) as ours,
        subprocess.Popen([other / "etcd", "-c", "while :; do sleep 0.1; done"]) as theirs,
    ):
        try:
            wait_for(lambda: processes.owned(mine) and processes.owned(other))
            assert processes.owned(mine) == {"etcd": [ours.pid]}
            assert processes.end(mine, names=["kube-apiserver"]) == []
            assert processes.end(mine, grace=0.2) == ["etcd"]
            assert processes.gone(ours.pid)
            assert processes.owned(mine) == {}
            assert processes.owned(other) == {"etcd": [theirs.pid]}
            processes._signal(mine, theirs.pid, signal.SIGKILL)
            assert not processes.gone(theirs.pid)
        finally:
            ours.kill()
            theirs.kill()


def test_processes_as_ps_lists_them() -> None:
    """Commands with spaces in their path, as under macOS's Application Support, are kept whole."""
    text = "    1 /sbin/launchd\n  42 /Users/me/Application Support/x/bin/etcd --name a b\n\n"
    listed = list(processes.parse_ps(text))
    assert listed[1] == (42, "/Users/me/Application Support/x/bin/etcd --name a b")


def test_a_pid_that_is_gone() -> None:
    """Signalling a process that has ended is nothing."""
    with subprocess.Popen(["true"]) as process:
        process.wait()
    assert processes.gone(process.pid)
    processes._signal(Path("/nowhere"), process.pid, signal.SIGKILL)


def configured(tmp_path: Path) -> tuple[Place, list[dict[str, object]]]:
    where = Place("x", tmp_path / "x")
    tool = script(tmp_path / "tool")
    kwokctl.prepare(where, Binaries(tool, tool, tool, tool, tool, tool, "test"), SIX, tool)
    return where, list(yaml.safe_load_all((where.root / "config.yaml").read_text()))


def test_configuration(tmp_path: Path) -> None:
    """The configuration binds to the loopback address and brings all stages and the logs."""
    where, documents = configured(tmp_path)
    first = documents[0]
    options = first["options"]
    assert isinstance(options, dict)
    assert options["bindAddress"] == "127.0.0.1"
    assert options["etcdPort"] == SIX["etcdPort"]
    kinds = [document["kind"] for document in documents]
    assert kinds.count("ClusterLogs") == 1
    assert kinds.count("Stage") == 12
    assert where.pod_log.read_text().count("stdout F ") == 4


def test_ports_move_in_all_files(tmp_path: Path) -> None:
    """Only whole numbers are replaced, in each of the files that name ports."""
    where = Place("x", tmp_path)
    where.work.mkdir(parents=True)
    (where.work / "kwok.yaml").write_text("a: 20001 b: 120001 c: https://h:20001/ d: 20002")
    (where.work / "kubeconfig.yaml").write_text("server: https://127.0.0.1:20001")
    kwokctl.move_ports(where, {20001: 20002, 20002: 20003})
    assert (
        where.work / "kwok.yaml"
    ).read_text() == "a: 20002 b: 120001 c: https://h:20002/ d: 20003"
    assert (where.work / "kubeconfig.yaml").read_text() == "server: https://127.0.0.1:20002"


def test_environment_of_kwokctl_has_nothing_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither HOME, KUBECONFIG, proxies nor secrets of the caller reach the components."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    monkeypatch.setenv("KUBECONFIG", "/home/me/.kube/config")
    env = kwokctl._environment(Place("x", tmp_path), Path("/usr/bin/kubectl"))
    allowed = {"HOME", "PATH", "KWOK_WORKDIR", "KWOK_KUBECTL_BINARY", "TMPDIR", "NO_PROXY"}
    assert env.keys() <= allowed | {"LANG", "TZ"}
    assert env["HOME"] == str(tmp_path / "home")
    assert os.environ["HOME"] not in env.values()
