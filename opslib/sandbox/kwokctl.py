"""Running kwokctl: what it is told, in what environment, and what of its files is put right.

Options: https://kwok.sigs.k8s.io/docs/generated/apis/#config.kwok.x-k8s.io/v1alpha1
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opslib.core.clock import stamp
from opslib.core.errors import OpslibError
from opslib.core.files import private_dir, write_atomic
from opslib.core.proc import Finished, run
from opslib.sandbox import processes
from opslib.sandbox.ports import LOOPBACK
from opslib.sandbox.state import Place
from opslib.sandbox.tools import KUBERNETES

if TYPE_CHECKING:
    from opslib.sandbox.binaries import Binaries

COMPONENTS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kwok-controller",
)

PATIENT_FOR_TEN_SECONDS = frozenset(COMPONENTS) - {"etcd", "kube-apiserver"}
"""They need the API server, and end where it takes longer to start, as on a busy machine:
https://github.com/kubernetes/kubernetes/blob/master/cmd/kube-controller-manager/app/controllermanager.go
("failed to wait for apiserver being healthy")."""

_APISERVER = {
    # Five files of 50 MB: weeks of a busy sandbox, and a bound for the disk.
    "audit-log-maxsize": "50",
    "audit-log-maxbackup": "4",
    # Each line is on its way to the file before the client has its answer: evidence first.
    "audit-log-mode": "blocking",
    # Simulated nodes have no names that resolve.
    "kubelet-preferred-address-types": "InternalIP",
}


def prepare(where: Place, binaries: Binaries, ports: Mapping[str, int], kubectl: Path) -> None:
    """Write the configuration of a sandbox that is about to be created."""
    private_dir(where.root).chmod(0o700)
    private_dir(where.root / "home")
    policy = files("opslib.sandbox").joinpath("audit-policy.yaml").read_text(encoding="utf-8")
    write_atomic(where.root / "audit-policy.yaml", policy, mode=0o600, sync=False)
    _write_sample_logs(where)
    documents = [json.dumps(_configuration(where, binaries, ports, kubectl), indent=2)]
    documents += [json.dumps(_cluster_logs(where), indent=2), *_stages()]
    text = "\n---\n".join(documents) + "\n"
    write_atomic(where.root / "config.yaml", text, mode=0o600, sync=False)


def create(where: Place, binaries: Binaries, kubectl: Path, *, timeout: float) -> None:
    """Create and start the cluster; it answers when this returns, or OpslibError is raised."""
    args: list[str | Path] = [
        "--name",
        "c",
        "--config",
        where.root / "config.yaml",
        "create",
        "cluster",
    ]
    # kwokctl adds a context to a kubeconfig: to one that nobody reads, not to the user's.
    args += ["--kubeconfig", where.root / "home" / "kubeconfig"]
    _kwokctl(where, binaries, kubectl, args, timeout)


def start(where: Place, binaries: Binaries, kubectl: Path, *, timeout: float) -> None:
    """Start the components that are not running."""
    _mend_pid_files(where)
    _mend_links(where, binaries)
    _kwokctl(where, binaries, kubectl, ["--name", "c", "start", "cluster"], timeout)


def move_ports(where: Place, changes: Mapping[int, int]) -> None:
    """Give an existing, stopped cluster other ports, in all the files that name them."""
    pattern = re.compile(r"(?<!\d)(" + "|".join(map(str, changes)) + r")(?!\d)")
    for name in ("kwok.yaml", "kubeconfig.yaml", "kubeconfig"):
        path = where.work / name
        if path.exists():
            text = pattern.sub(lambda m: str(changes[int(m[1])]), path.read_text(encoding="utf-8"))
            write_atomic(path, text, mode=0o600)


def write_kubeconfig(where: Place, port: int) -> None:
    """Write the kubeconfig that users get: whole in itself, for its owner only."""

    def data(name: str) -> str:
        return base64.b64encode((where.pki / name).read_bytes()).decode()

    context = f"opslib-{where.name}"
    text = f"""apiVersion: v1
kind: Config
current-context: {context}
clusters:
- name: {context}
  cluster:
    server: {server(port)}
    certificate-authority-data: {data("ca.crt")}
contexts:
- name: {context}
  context:
    cluster: {context}
    user: {context}
users:
- name: {context}
  user:
    client-certificate-data: {data("admin.crt")}
    client-key-data: {data("admin.key")}
"""
    write_atomic(where.kubeconfig, text, mode=0o600)


def server(port: int) -> str:
    return f"https://{LOOPBACK}:{port}"


def _configuration(
    where: Place, binaries: Binaries, ports: Mapping[str, int], kubectl: Path
) -> dict[str, Any]:
    apiserver = [
        {"key": key, "value": value, "override": False} for key, value in _APISERVER.items()
    ]
    node_ip = [{"key": "node-ip", "value": LOOPBACK, "override": True}]
    # Alone, they need not wait for the lease of a predecessor that was killed.
    alone = [{"key": "leader-elect", "value": "false", "override": False}]
    # Their own limit (20 requests a second) spares a server that others need, too; with it the
    # status of a hundred new Deployments takes ten seconds.
    unlimited = [
        {"key": "kube-api-qps", "value": "1000", "override": False},
        {"key": "kube-api-burst", "value": "2000", "override": False},
    ]
    return {
        "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
        "kind": "KwokctlConfiguration",
        "options": {
            "runtime": "binary",
            # kwokctl's default is all addresses, with an etcd that asks for no credentials.
            "bindAddress": LOOPBACK,
            "kubeVersion": KUBERNETES,
            "kubeAuthorization": True,
            "kubeAdmission": True,
            "kubeAuditPolicy": str(where.root / "audit-policy.yaml"),
            "etcdBinary": str(binaries.etcd),
            "kubeApiserverBinary": str(binaries.kube_apiserver),
            "kubeControllerManagerBinary": str(binaries.kube_controller_manager),
            "kubeSchedulerBinary": str(binaries.kube_scheduler),
            "kwokControllerBinary": str(binaries.kwok),
            "kubectlBinary": str(kubectl),
            "quietPull": True,
            **ports,
        },
        "componentsPatches": [
            {"name": "kube-apiserver", "extraArgs": apiserver},
            {"name": "kube-controller-manager", "extraArgs": [*alone, *unlimited]},
            {"name": "kube-scheduler", "extraArgs": alone},
            {"name": "kwok-controller", "extraArgs": node_ip},
        ],
    }


def _cluster_logs(where: Place) -> dict[str, Any]:
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "ClusterLogs",
        "metadata": {"name": "pods"},
        "spec": {
            "logs": [
                {
                    "logsFile": str(where.pod_log),
                    "previousLogsFile": str(where.root / "pods-previous.log"),
                    "follow": True,
                }
            ]
        },
    }


def _stages() -> list[str]:
    folder = files("opslib.sandbox").joinpath("stages")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".yaml"))
    return [folder.joinpath(name).read_text(encoding="utf-8") for name in names]


def _write_sample_logs(where: Place) -> None:
    """Write what every simulated container says, in the format of the CRI.

    https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md
    """
    lines = ("starting", "configuration loaded", "listening on :8080", "GET /healthz 200")
    crash = ("starting", "configuration loaded", "fatal: cannot go on", "exit")
    for name, texts in ((where.pod_log.name, lines), ("pods-previous.log", crash)):
        rows = "".join(map(log_row, texts))
        write_atomic(where.root / name, rows, mode=0o600, sync=False)


def log_row(text: str) -> str:
    """Return one line of a container's log as the container runtime writes it."""
    return f"{stamp()} stdout F {text}\n"


def _environment(where: Place, kubectl: Path) -> dict[str, str]:
    """A small environment with a home of its own: nothing of the user's is read or written."""
    env = {
        "HOME": str(where.root / "home"),
        "PATH": f"{kubectl.parent}{os.pathsep}{os.defpath}",
        "KWOK_WORKDIR": str(where.root),
        "KWOK_KUBECTL_BINARY": str(kubectl),
        "TMPDIR": tempfile.gettempdir(),
        "NO_PROXY": "*",
    }
    return env | {name: os.environ[name] for name in ("LANG", "TZ") if name in os.environ}


def _kwokctl(
    where: Place, binaries: Binaries, kubectl: Path, args: list[str | Path], timeout: float
) -> None:
    """Run kwokctl; raise OpslibError where it fails, or etcd or the API server has ended.

    Where another component has ended this returns early: it can be started again.
    """
    program = private_dir(where.root / "bin") / "kwokctl"
    # Started from the sandbox's folder, it is found and ended with the sandbox.
    program.unlink(missing_ok=True)
    program.symlink_to(binaries.kwokctl)
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(
            run,
            [program, *args],
            timeout=max(timeout, 1),
            cwd=where.root,
            env=_environment(where, kubectl),
            check=False,
        )
        try:
            ended = _watch(where, work)
        except BaseException:
            # The pool would wait for kwokctl, which knows nothing of the interruption.
            processes.end(where.root / "bin")
            raise
        done = work.result()
    said = (done.out + done.err).decode(errors="replace")
    write_atomic(where.root / "kwokctl.log", said, mode=0o600, sync=False)
    if ended in PATIENT_FOR_TEN_SECONDS:
        return
    if ended:
        raise OpslibError(f"{ended} ended at the start")
    if done.code != 0:
        raise OpslibError(f"kwokctl failed: {_reason(where, done)}")


def _reason(where: Place, done: Finished) -> str:
    """Return kwokctl's last error, out of its JSON log line, without our own long paths."""
    line = done.last_error_line
    with contextlib.suppress(ValueError, AttributeError):
        said = json.loads(line)
        line = str(said.get("err") or said.get("msg") or line)
    return line.replace(f"{where.work / 'bin'}/", "").strip()


def _watch(where: Place, work: Future[Finished]) -> str:
    """Wait for kwokctl; end it where a component died, for which it would wait two minutes."""
    suspect = ""
    while True:
        with contextlib.suppress(TimeoutError):
            work.exception(timeout=0.2)
            return ""
        started = {path.stem for path in (where.work / "pids").glob("*.pid")}
        gone = sorted(started - processes.owned(where.work / "bin").keys())
        if gone and gone[0] == suspect:
            processes.end(where.root / "bin")
            return suspect
        suspect = gone[0] if gone else ""


def last_words(where: Place, components: Iterable[str]) -> str:
    """Return the last line of the named components' logs, cut to what a person reads."""
    said = []
    for component in components:
        log = where.work / "logs" / f"{component}.log"
        if log.exists():
            lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            said += [f"{component}: {line[-300:]}" for line in lines[-1:]]
    return "; ".join(said)


def _mend_pid_files(where: Place) -> None:
    """Make kwokctl's pid files true: it takes any process that has the number for its own."""
    running = processes.owned(where.work / "bin")
    for component in COMPONENTS:
        path = where.work / "pids" / f"{component}.pid"
        path.unlink(missing_ok=True)
        if pids := running.get(component):
            write_atomic(path, str(pids[0]), mode=0o600, sync=False)


def _mend_links(where: Place, binaries: Binaries) -> None:
    """Point the cluster's programs to where they are now; the cache may have been cleared."""
    programs = {
        "etcd": binaries.etcd,
        "kube-apiserver": binaries.kube_apiserver,
        "kube-controller-manager": binaries.kube_controller_manager,
        "kube-scheduler": binaries.kube_scheduler,
        "kwok-controller": binaries.kwok,
    }
    for component, program in programs.items():
        link = where.work / "bin" / component
        if not link.exists():
            link.unlink(missing_ok=True)
            link.symlink_to(program)
