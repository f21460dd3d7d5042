"""The real Sealed Secrets controller beside a sandbox, as a process of this machine.

It reads its account from a fixed folder only, so it gets a mount namespace of its own with that
folder in it (Linux). The API server reaches it by a Service without a selector; as no endpoint
may be a loopback address, the controller listens on this machine's own address:
https://kubernetes.io/docs/concepts/services-networking/service/#services-without-selectors
"""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opslib.core.errors import DeadlineExceeded, InputError, OpslibError
from opslib.core.files import private_dir, write_atomic
from opslib.core.proc import run
from opslib.core.progress import SILENT, Progress
from opslib.sandbox import processes
from opslib.sandbox.api import Api
from opslib.sandbox.ports import LOOPBACK
from opslib.sandbox.tools import SEALED_SECRETS_CONTROLLER

NAMESPACE, NAME = "kube-system", "sealed-secrets-controller"
GROUP = "bitnami.com"
CRD = f"sealedsecrets.{GROUP}"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
BINDINGS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
_PROGRAM = "sealed-secrets-controller"
_SCRIPT = (
    'place=$(readlink -f /var/run) && mount -t tmpfs none "$place" && account="$1" && log="$2"'
    ' && shift 2 && mkdir -p "$place/secrets/kubernetes.io/serviceaccount"'
    ' && cp "$account"/* "$place/secrets/kubernetes.io/serviceaccount/"'
    ' && { "$@" </dev/null >"$log" 2>&1 & }'
)


@dataclass(frozen=True)
class Controller:
    """Where one controller is: its API server's port, its namespace, its folder.

    ``bits`` is the size of its keys, ``program`` another build than the kit's; the log is
    ``folder/log``.
    """

    port: int
    folder: Path
    namespace: str = NAMESPACE
    bits: int = 4096
    options: tuple[str, ...] = ()
    program: Path | None = None

    @property
    def running(self) -> bool:
        """Whether it runs, and asks the API server at its present port."""
        known = self.folder / "server"
        same = known.exists() and known.read_text() == str(self.port)
        return same and bool(self.pids)

    @property
    def pids(self) -> list[int]:
        """The ids of its processes."""
        return processes.owned(self.folder).get(_PROGRAM, [])


def missing() -> str:
    """Return why no controller can run on this machine; "" where one can."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return "it needs Linux, with unshare of util-linux"
    if run([*_own(), "true"], timeout=20, check=False).code:
        return "this system allows no mount namespaces to its users"
    try:
        address()
    except OpslibError as error:
        return error.what
    return ""


def built() -> bool:
    """Tell whether the controller's program is there already; else Go builds it first."""
    explicit = os.environ.get(SEALED_SECRETS_CONTROLLER.variable)
    return bool(explicit) or SEALED_SECRETS_CONTROLLER.cached().exists()


def ensure(api: Api, one: Controller, *, deadline: float, progress: Progress = SILENT) -> None:
    """Have the controller run and answer; one that does is left alone.

    ``deadline`` is in time.monotonic() seconds and does not count the build of the program.
    Raises InputError where this machine cannot run it, DeadlineExceeded with its last words.
    """
    if one.running and _answers(api, one.namespace):
        return
    if why := missing():
        raise InputError("the Sealed Secrets controller cannot run here", where=why)
    from opslib.sandbox.binaries import programs  # noqa: PLC0415  # start-up time

    begun = time.monotonic()
    name = SEALED_SECRETS_CONTROLLER.name
    program = one.program or programs([SEALED_SECRETS_CONTROLLER], progress)[name]
    deadline += time.monotonic() - begun
    progress.update("starting the Sealed Secrets controller")
    end(one)
    define(api)
    _may_all(api, one.namespace)
    _stand_in(api, one.namespace)
    port = serve(api, one.namespace, NAME, 8080)
    metrics = serve(api, one.namespace, f"{NAME}-metrics", 8081)
    start(api, one, program, (port, metrics), deadline)
    wait(lambda: _answers(api, one.namespace), deadline, lambda: last_words(one))


def end(one: Controller) -> None:
    """End the controller's process, if there is one."""
    processes.end(one.folder, grace=3)


def define(api: Api) -> None:
    """Make the kind SealedSecret known: its fields are the controller's to check."""
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    plain = {"type": "string"}
    properties = {"apiVersion": plain, "kind": plain, "metadata": {"type": "object"}}
    schema = {"type": "object", "properties": {**properties, "spec": free, "status": free}}
    version = {
        "name": "v1alpha1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": schema},
    }
    names = {
        "kind": "SealedSecret",
        "listKind": "SealedSecretList",
        "plural": "sealedsecrets",
        "singular": "sealedsecret",
    }
    body = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": CRD},
        "spec": {"group": GROUP, "names": names, "scope": "Namespaced", "versions": [version]},
    }
    _made(api, DEFINITIONS, CRD, body)


def serve(api: Api, namespace: str, name: str, number: int) -> int:
    """Make a Service and its endpoint on this machine; return the port to listen on."""
    here = address()
    with socket.socket() as free:
        free.bind((here, 0))
        port = int(free.getsockname()[1])
    base = f"/api/v1/namespaces/{namespace}"
    ports = [{"name": "http", "port": number, "targetPort": port}]
    _anew(api, f"{base}/services", name, {"apiVersion": "v1", "kind": "Service",
                                          "spec": {"ports": ports}})  # fmt: skip
    slices = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
    target = {"kind": "Pod", "name": NAME, "namespace": namespace}
    endpoint = {"addresses": [here], "conditions": {"ready": True}, "targetRef": target}
    body = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "endpoints": [endpoint],
        "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
    }
    _anew(api, slices, f"{name}-1", body)
    return port


def _stand_in(api: Api, namespace: str) -> None:
    """Make a pod for the process: the API server's proxy goes to addresses of pods only.

    No scheduler takes it, and nothing simulates it; its address is written here.
    """
    here = address()
    pods = f"/api/v1/namespaces/{namespace}/pods"
    container = {"name": "controller", "image": "sealed-secrets"}
    spec = {"schedulerName": "nobody", "containers": [container]}
    if not _there(api, f"{pods}/{NAME}"):
        _anew(api, pods, NAME, {"apiVersion": "v1", "kind": "Pod", "spec": spec})
    status = {"status": {"podIP": here, "podIPs": [{"ip": here}]}}
    merge = "application/merge-patch+json"
    api.json("PATCH", f"{pods}/{NAME}/status", status, content_type=merge)


def start(
    api: Api, one: Controller, program: Path, ports: tuple[int, int], deadline: float
) -> None:
    """Start the process; it is found later by the link that it is started as.

    ``ports`` are those of its API and of its metrics.
    """
    private_dir(one.folder)
    account = _account(api, one, deadline)
    link = one.folder / _PROGRAM
    link.unlink(missing_ok=True)
    link.symlink_to(program)
    words: list[str | Path] = [*_own(), "sh", "-c", _SCRIPT, "sh", account, one.folder / "log"]
    words += [link, f"--listen-addr={address()}:{ports[0]}"]
    words += [f"--listen-metrics-addr={address()}:{ports[1]}", f"--key-size={one.bits}"]
    words += one.options
    env = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    env |= {"KUBERNETES_SERVICE_HOST": LOOPBACK, "KUBERNETES_SERVICE_PORT": str(one.port)}
    write_atomic(one.folder / "server", str(one.port), mode=0o600, sync=False)
    run(words, timeout=30, env=env)


def wait(condition: Callable[[], bool], deadline: float, why: Callable[[], str]) -> None:
    """Wait until a condition holds; DeadlineExceeded with the reason where it does not."""
    while not condition():
        if time.monotonic() > deadline:
            raise DeadlineExceeded("the Sealed Secrets controller does not answer", where=why())
        time.sleep(0.1)


def last_words(one: Controller) -> str:
    """Return the last line of the controller's log."""
    log = one.folder / "log"
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1][-300:] if lines else str(log)


def address() -> str:
    """Return this machine's own address; nothing is sent. Raises InputError without a network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 9))
        except OSError:
            raise InputError("this machine has no address but the loopback one") from None
        return str(probe.getsockname()[0])


def _own() -> list[str | Path]:
    return ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]


def _answers(api: Api, namespace: str) -> bool:
    base = f"/api/v1/namespaces/{namespace}/services/http:{NAME}:http/proxy"
    code, answer = api.send("GET", f"{base}/v1/cert.pem")
    return code == 200 and answer.startswith(b"-----BEGIN CERTIFICATE-----")


def _account(api: Api, one: Controller, deadline: float) -> Path:
    """Write the files that a pod of the namespace's default account would have."""
    base = f"/api/v1/namespaces/{one.namespace}"
    account, root = f"{base}/serviceaccounts/default", f"{base}/configmaps/kube-root-ca.crt"
    wait(lambda: _there(api, account) and _there(api, root), deadline, lambda: account)
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"expirationSeconds": 365 * 86400}}  # fmt: skip
    token = str(api.json("POST", f"{account}/token", body)["status"]["token"])
    texts = {
        "ca.crt": str(api.json("GET", root)["data"]["ca.crt"]),
        "token": token,
        "namespace": one.namespace,
    }
    place = private_dir(one.folder / "account")
    for name, text in texts.items():
        write_atomic(place / name, text, mode=0o600, sync=False)
    return place


def _may_all(api: Api, namespace: str) -> None:
    group = "rbac.authorization.k8s.io"
    name = binding(namespace)
    body = {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": namespace}],
    }
    _made(api, BINDINGS, name, body)


def binding(namespace: str) -> str:
    """Return the name of the binding by which the controller of a namespace may do its work."""
    return f"opslib-sealed-secrets-{namespace}"


def _there(api: Api, path: str) -> bool:
    return api.send("GET", path)[0] == 200


def _made(api: Api, collection: str, name: str, body: Mapping[str, Any]) -> None:
    if not _there(api, f"{collection}/{name}"):
        api.json("POST", collection, body)


def _anew(api: Api, collection: str, name: str, body: Mapping[str, Any]) -> None:
    """Create an object in another's place."""
    api.send("DELETE", f"{collection}/{name}?gracePeriodSeconds=0")
    metadata = {**body.get("metadata", {}), "name": name}
    api.json("POST", collection, {**body, "metadata": metadata})
