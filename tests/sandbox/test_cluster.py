"""Up, down and status of real control planes, and what happens when parts of them are killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from opslib.core.errors import InputError, OpslibError
from opslib.core.settings import cache_dir
from opslib.sandbox import cluster, kwokctl, ports, processes, state, tools
from opslib.sandbox.binaries import kubectl
from opslib.sandbox.cluster import Status

from .conftest import Told, script, wait_for

MARK = "/api/v1/namespaces/default/configmaps"


def kill(name: str, *components: str) -> None:
    """Kill components of a sandbox as a crash does, and wait until they are gone."""
    folder = state.place(name).work / "bin"
    pids = [pid for component in components for pid in processes.owned(folder)[component]]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: all(map(processes.gone, pids)))


def leave_mark(name: str) -> None:
    """Write an object by which kept data can be told from new data."""
    with cluster.api(name) as api:
        api.json("POST", MARK, {"metadata": {"name": "mark"}})


def has_mark(name: str) -> bool:
    with cluster.api(name) as api:
        found = api.send("GET", f"{MARK}/mark")[0] == 200
        api.send("DELETE", f"{MARK}/mark")
        return found


def test_running(sandbox: Status) -> None:
    """After up the sandbox says it runs, with ready nodes, at the pinned version."""
    now = cluster.status(sandbox.name)
    assert (now.state, now.nodes, now.version) == ("running", 3, tools.KUBERNETES)
    assert now.server.startswith("https://127.0.0.1:")
    assert now == sandbox
    assert sandbox.name in cluster.names()


@pytest.mark.alone
def test_second_up_changes_nothing_and_is_quick(sandbox: Status) -> None:
    """A second up gives the same status in under 0.3 s, and imports no Kubernetes client."""
    times = []
    for _ in range(5):  # the best of five: the control planes go on beside it
        begin = time.monotonic()
        again = cluster.up(sandbox.name)
        times.append(time.monotonic() - begin)
        assert again == sandbox
    assert min(times) < 0.3
    code = (
        "import sys; from opslib.sandbox import cluster\n"
        f"print(cluster.up({sandbox.name!r}).state, 'kubernetes' in sys.modules)"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert said.stdout == "running False\n"


def test_components_listen_on_the_loopback_address_only(sandbox: Status) -> None:
    """No component, least of all the unprotected etcd, can be reached from another machine."""
    args = [
        Path(f"/proc/{pid}/cmdline").read_text()
        for pids in processes.owned(state.place(sandbox.name).work / "bin").values()
        for pid in pids
    ]
    assert len(args) == len(kwokctl.COMPONENTS)
    assert not any("0.0.0.0" in line for line in args)  # noqa: S104  # looked for, not bound
    known = state.read(state.place(sandbox.name))
    assert known is not None
    hexes = {f"{port:04X}" for port in known.ports.values()}
    listening = [
        fields[1].split(":")
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for line in Path(table).read_text().splitlines()[1:]
        if (fields := line.split())[3] == "0A" and fields[1].split(":")[1] in hexes
    ]
    assert {port for _, port in listening} == hexes
    assert {address for address, _ in listening} == {"0100007F"}


def test_files_are_their_owners_alone(sandbox: Status) -> None:
    """Nobody else can enter the sandbox's folder or read the key in its kubeconfig."""
    where = state.place(sandbox.name)
    assert stat.S_IMODE(where.root.stat().st_mode) == 0o700
    assert stat.S_IMODE(where.root.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(sandbox.kubeconfig.stat().st_mode) == 0o600


def test_environment(sandbox: Status) -> None:
    """The printed variables name the files; an absent sandbox is an error with the way out."""
    env = cluster.environment(sandbox.name)
    assert env["KUBECONFIG"] == str(sandbox.kubeconfig)
    assert env["OPSLIB_AUDIT_LOG"] == str(sandbox.audit_log)
    assert sandbox.audit_log.stat().st_size > 0
    with pytest.raises(OpslibError, match="there is no sandbox nobody") as caught:
        cluster.environment("nobody")
    assert "opslib sandbox up --name nobody" in str(caught.value)


def test_kubeconfig_is_whole_in_itself(sandbox: Status, tmp_path: Path) -> None:
    """A copy of the kubeconfig works elsewhere: it refers to no other file."""
    copy = tmp_path / "kubeconfig"
    copy.write_bytes(sandbox.kubeconfig.read_bytes())
    assert str(state.place(sandbox.name).root) not in copy.read_text()
    done = subprocess.run(
        [kubectl(), "--kubeconfig", copy, "get", "nodes", "-o", "name"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    assert done.stdout.split() == ["node/node-0", "node/node-1", "node/node-2"]


@pytest.mark.parametrize("name", ["", "A", "a_b", "-a", "a-", "../x", "a/b", "x" * 41, "a\n"])
def test_bad_names(name: str) -> None:
    """A name that is no DNS label is bad input, wherever it is given, and makes no folder."""
    for verb in (cluster.up, cluster.down, cluster.status, cluster.environment):
        with pytest.raises(InputError, match="cannot be the name"):
            verb(name)


def test_absent() -> None:
    """A sandbox that was never started is absent, and taking it down says there was none."""
    assert cluster.status("nobody").state == "absent"
    assert cluster.down("nobody") is False
    assert "nobody" not in cluster.names()


def test_side_by_side(sandbox: Status, victim: Status) -> None:
    """Two sandboxes run at once, with ports and objects of their own."""
    leave_mark(victim.name)
    with cluster.api(sandbox.name) as api:
        assert api.send("GET", f"{MARK}/mark")[0] == 404
    assert has_mark(victim.name)
    both = [state.read(state.place(s.name)) for s in (sandbox, victim)]
    used = [set(known.ports.values()) for known in both if known]
    assert len(used) == 2
    assert not used[0] & used[1]


def test_more_nodes(victim: Status) -> None:
    """Asking for more nodes adds them to the running sandbox; asking for fewer removes none."""
    assert victim.nodes == 1
    assert cluster.up(victim.name, nodes=4).nodes == 4
    assert cluster.up(victim.name, nodes=1).nodes == 4


@pytest.mark.parametrize(
    "components",
    [
        ("kube-apiserver",),
        ("etcd",),
        ("kwok-controller",),
        ("kube-controller-manager", "kube-scheduler"),
        kwokctl.COMPONENTS,
    ],
    ids="+".join,
)
def test_killed_components_are_named_and_started_again(
    victim: Status, components: tuple[str, ...]
) -> None:
    """Status names what is dead; up starts it on its data and says so."""
    leave_mark(victim.name)
    kill(victim.name, *components)
    now = cluster.status(victim.name)
    assert now.nodes == 0
    if len(components) == len(kwokctl.COMPONENTS):
        assert (now.state, now.detail) == ("stopped", "no component is running")
    else:
        verb = "is" if len(components) == 1 else "are"
        assert now.state == "broken"
        assert now.detail == f"{', '.join(components)} {verb} not running"
    again = cluster.up(victim.name, nodes=1)
    assert again.state == "running"
    assert "started again, data kept" in again.detail
    assert has_mark(victim.name)
    assert cluster.status(victim.name).state == "running"


def test_hanging_api_server(victim: Status) -> None:
    """An API server that runs and does not answer is told from a dead one, and replaced."""
    leave_mark(victim.name)
    pid = processes.owned(state.place(victim.name).work / "bin")["kube-apiserver"][0]
    os.kill(pid, signal.SIGSTOP)
    now = cluster.status(victim.name)
    assert now.state == "broken"
    assert now.detail == "kube-apiserver does not answer: no answer within 3 s"
    assert cluster.up(victim.name, nodes=1).state == "running"
    assert has_mark(victim.name)


def test_port_taken_while_it_was_down(victim: Status) -> None:
    """A stopped sandbox whose ports were taken comes back on others, with its data."""
    leave_mark(victim.name)
    kill(victim.name, *kwokctl.COMPONENTS)
    before = state.read(state.place(victim.name))
    assert before is not None
    with socket.socket() as first, socket.socket() as second:
        for thief, name in ((first, "kubeApiserverPort"), (second, "kwokControllerPort")):
            thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            thief.bind(("127.0.0.1", before.ports[name]))
            thief.listen()
        again = cluster.up(victim.name, nodes=1)
    assert again.state == "running"
    assert again.server != kwokctl.server(before.api_port)
    assert again.server in victim.kubeconfig.read_text()
    assert has_mark(victim.name)
    known = state.read(state.place(victim.name))
    assert known is not None
    with cluster.api(victim.name) as api:
        node = api.json("GET", "/api/v1/nodes/node-0")
    port = node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"]
    assert port == known.ports["kwokControllerPort"] != before.ports["kwokControllerPort"]


def test_cleared_cache(victim: Status, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sandbox whose programs moved, as after clearing the cache, starts from where they are."""
    kill(victim.name, *kwokctl.COMPONENTS)
    for link in (state.place(victim.name).work / "bin").iterdir():
        link.unlink()
        link.symlink_to("/nowhere/at/all")
    assert cluster.up(victim.name, nodes=1).state == "running"


def test_recycled_pid(victim: Status) -> None:
    """A pid file that names a process of somebody else neither stops the start nor costs a life."""
    where = state.place(victim.name)
    kill(victim.name, *kwokctl.COMPONENTS)
    with subprocess.Popen(["sleep", "600"]) as stranger:
        try:
            for component in kwokctl.COMPONENTS:
                (where.work / "pids" / f"{component}.pid").write_text(str(stranger.pid))
            assert cluster.status(victim.name).state == "stopped"
            assert cluster.up(victim.name, nodes=1).state == "running"
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_destroyed_data(spare: str, told: Told) -> None:
    """A sandbox that cannot be started on its data is created anew, and that is said."""
    cluster.up(spare, nodes=1)
    leave_mark(spare)
    kill(spare, *kwokctl.COMPONENTS)
    for path in (state.place(spare).work / "etcd").rglob("*"):
        if path.is_file():
            path.write_bytes(b"\xff" * 100)
    again = cluster.up(spare, nodes=1, progress=told)
    assert again.state == "running"
    assert "created anew, data lost" in again.detail
    assert "created anew, data lost" in told.text
    assert not has_mark(spare)


@pytest.mark.parametrize("seconds", [0.3, 1.5, 3.0])
def test_killed_while_it_is_created(spare: str, seconds: float) -> None:
    """Kill -9 at any moment of a creation leaves what the next up clears and replaces."""
    code = f"from opslib.sandbox import cluster; cluster.up({spare!r}, nodes=1)"
    with subprocess.Popen([sys.executable, "-c", code]) as first:
        where = state.place(spare)
        wait_for(where.root.exists)
        if seconds > 1:
            wait_for(lambda: processes.owned(where.work / "bin"))
        assert cluster.status(spare).detail == "it is being created"
        time.sleep(seconds / 10)
        first.kill()
    now = cluster.status(spare)
    assert (now.state, now.detail) == ("broken", "it was never created whole")
    assert spare in cluster.names()
    again = cluster.up(spare, nodes=1)
    assert again.state == "running"
    assert "half made" in again.detail
    found = processes.owned(where.work / "bin")
    assert {name: len(pids) for name, pids in found.items()} == dict.fromkeys(kwokctl.COMPONENTS, 1)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_interrupted_by_the_keyboard(spare: str, moment: str) -> None:
    """Ctrl-C during a creation takes back all of it, before and after components were started."""
    code = f"from opslib.sandbox import cluster; cluster.up({spare!r}, nodes=1)"
    where = state.place(spare)
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) as first:
        folder = where.root if moment == "before" else where.work
        wait_for(lambda: processes.owned(folder / "bin"))
        first.send_signal(signal.SIGINT)
        first.communicate(timeout=90)
    assert first.returncode != 0
    assert cluster.status(spare).state == "absent"
    assert processes.owned(where.root) == {}


def test_stale_folder(spare: str) -> None:
    """A folder with anything in it that is no sandbox is replaced."""
    where = state.place(spare)
    (where.work / "etcd").mkdir(parents=True)
    where.state.write_text("{")
    assert cluster.status(spare).state == "broken"
    assert cluster.up(spare, nodes=1).state == "running"


def test_two_starts_at_once(spare: str) -> None:
    """Of two processes one creates, the other waits, and both get the same answer."""
    code = (
        "import sys; from opslib.sandbox import cluster\n"
        "class P:\n"
        "    def update(self, label, done=0, total=None): print(label, file=sys.stderr)\n"
        "print('loaded', flush=True); sys.stdin.readline()\n"
        f"s = cluster.up({spare!r}, nodes=1, progress=P()); print(s.state, s.server, s.nodes)"
    )
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with ExitStack() as stack:
        both = [
            stack.enter_context(subprocess.Popen([sys.executable, "-c", code], text=True, **pipes))
            for _ in range(2)
        ]
        for one in both:  # who is still loading when the other is done need not wait for it
            assert one.stdout is not None
            assert one.stdout.readline() == "loaded\n"
        with ThreadPoolExecutor(2) as pool:
            ends = list(pool.map(lambda one: one.communicate("\n", timeout=120), both))
    assert [one.returncode for one in both] == [0, 0]
    assert ends[0][0] == ends[1][0]
    assert ends[0][0].startswith("running https://127.0.0.1:")
    said = ends[0][1] + ends[1][1]
    assert said.count("starting the control plane") == 1
    assert said.count("waiting: sandbox") == 1


def test_port_taken_at_the_start(spare: str, monkeypatch: pytest.MonkeyPatch, told: Told) -> None:
    """A port that is taken between choosing and using it costs another try, not the start."""
    real = ports.pick
    with socket.socket() as thief:
        thief.bind(("127.0.0.1", 0))
        thief.listen()
        bad = thief.getsockname()[1]
        choices = iter([[bad, *real(5)]])
        monkeypatch.setattr(
            ports, "pick", lambda count, avoid=(): next(choices, None) or real(count, avoid)
        )
        assert cluster.up(spare, nodes=1, progress=told).state == "running"
    assert "a port was taken meanwhile, trying others" in told.labels


def test_component_that_cannot_run(
    spare: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A component that ends at once is named with its last words, soon, and nothing is left."""
    real = tools.ETCD_SERVER.cached()
    body = f'case "$*" in *--version*) exec {real} --version;; esac; echo "disk on fire"; exit 7'
    monkeypatch.setenv("OPSLIB_ETCD", str(script(tmp_path / "etcd", body)))
    begin = time.monotonic()
    with pytest.raises(OpslibError, match="etcd ended at the start") as caught:
        cluster.up(spare, nodes=1)
    assert time.monotonic() - begin < 20
    assert "disk on fire" in str(caught.value)
    assert cluster.status(spare).state == "absent"
    assert processes.owned(state.place(spare).root) == {}


GAVE_UP = """#!/bin/bash
case "$*" in *--version*) exec {real} --version;; esac
echo x >> {starts}
if [ $(wc -l < {starts}) -le {times} ]; then exec -a "$0" sleep {seconds}; fi
exec -a "$0" {real} "$@"
"""
"""A component that ends by itself the first times, as where the API server is slow to start."""


@pytest.mark.parametrize("times", [1, 9])
def test_component_that_gave_up_waiting(
    spare: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """What needs the API server, and ended before that was ready, is started once more."""
    starts = tmp_path / "starts"
    program = tmp_path / "kube-controller-manager"
    real = tools.KUBE_CONTROLLER_MANAGER.cached()
    text = GAVE_UP.format(real=real, starts=starts, times=times, seconds=int(times == 1))
    program.write_text(text, encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("OPSLIB_KUBE_CONTROLLER_MANAGER", str(program))
    if times == 1:
        assert cluster.up(spare, nodes=1).state == "running"
    else:
        with pytest.raises(OpslibError, match="kube-controller-manager ended at the start"):
            cluster.up(spare, nodes=1)
    assert len(starts.read_text().split()) == 2


@pytest.mark.parametrize("variable", ["OPSLIB_KUBE_APISERVER", "OPSLIB_KWOKCTL"])
def test_program_of_another_platform(
    spare: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """A file that is no program of this machine is one clear line that names it."""
    path = tmp_path / "program"
    path.write_bytes(b"\x00\x01junk")
    path.chmod(0o755)
    monkeypatch.setenv(variable, str(path))
    with pytest.raises(OpslibError, match=r"does not come up: .*[Ee]xec format error") as caught:
        cluster.up(spare, nodes=1)
    assert variable in str(caught.value)
    assert '"level":"ERROR"' not in str(caught.value)
    assert cluster.status(spare).state == "absent"


def test_deadline(spare: str) -> None:
    """A start that is not done in time ends with a clear error and leaves no process."""
    with pytest.raises(OpslibError, match=f"sandbox {spare} does not come up"):
        cluster.up(spare, nodes=1, timeout=1)
    assert cluster.status(spare).state == "absent"
    assert processes.owned(state.place(spare).root) == {}


def test_down_removes_everything(spare: str) -> None:
    """After down there is no process, no folder and no name; a second down finds nothing."""
    cluster.up(spare, nodes=1)
    where = state.place(spare)
    assert processes.owned(where.work / "bin")
    assert cluster.down(spare) is True
    assert processes.owned(where.work / "bin") == {}
    assert not where.root.exists()
    assert spare not in cluster.names()
    assert cluster.down(spare) is False


def test_home_is_left_alone(spare: str, tmp_path: Path) -> None:
    """Up and down with another HOME change nothing in it: no ~/.kube, no ~/.kwok, no cache."""
    home = tmp_path / "home"
    (home / ".kube").mkdir(parents=True)
    (home / ".kube" / "config").write_text("mine: true\n")
    before = snapshot(home)
    code = (
        "import sys; from opslib.sandbox import cluster\n"
        f"s = cluster.up({spare!r}, nodes=1); print(s.state); cluster.down({spare!r})"
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
    env |= {"HOME": str(home), "OPSLIB_CACHE": str(cache_dir())}
    env["KUBECONFIG"] = str(home / ".kube" / "config")
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        env=env,
        check=True,
    )
    assert done.stdout == "running\n"
    assert snapshot(home) == before


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mtime_ns,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in folder.rglob("*")
    }


def test_another_version_is_created_anew(spare: str) -> None:
    """A stopped sandbox of other versions of the programs is not started on their data."""
    cluster.up(spare, nodes=1)
    leave_mark(spare)
    where = state.place(spare)
    known = json.loads(where.state.read_text())
    known["versions"]["kubernetes"] = "v1.30.0"
    where.state.write_text(json.dumps(known))
    assert cluster.up(spare, nodes=1).state == "running", "a running one is left alone"
    kill(spare, *kwokctl.COMPONENTS)
    again = cluster.up(spare, nodes=1)
    assert "it was of other versions" in again.detail
    assert not has_mark(spare)
