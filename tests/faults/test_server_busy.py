"""The API server is busy, or its webhooks fail, in the middle of an apply."""

from __future__ import annotations

import contextlib
import ssl
import threading
import uuid
from collections.abc import Callable, Iterator
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import pytest
import yaml

from opslib.kube.client import Cluster, connect
from opslib.kube.errors import ApiError
from opslib.reconcile import judge
from opslib.sandbox.cluster import Status
from opslib.sandbox.state import place

from .field import Field
from .holding import (
    MOMENTS,
    NEW,
    OLD,
    OUTCOMES,
    bench_of,
    converges,
    hold,
    once,
)
from .parts import audited, overhear, wait_for

FLOW = "/apis/flowcontrol.apiserver.k8s.io/v1"


@pytest.fixture
def throttled(field: Field, tmp_path: Path) -> Iterator[Callable[[int], Any]]:
    """Return a kubeconfig of a user of its own, and what puts that user into a narrow queue.

    ``seats`` requests of it are served at once, the rest is answered by 429 with Retry-After:
    https://kubernetes.io/docs/concepts/cluster-administration/flow-control/
    """
    name = f"narrow-{uuid.uuid4().hex[:6]}"
    server = field.cluster
    accounts = f"/api/v1/namespaces/{field.namespace}/serviceaccounts"
    subject = {"kind": "ServiceAccount", "name": "deployer", "namespace": field.namespace}
    server.request("POST", accounts, body={"metadata": {"name": "deployer"}})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
    binding = {"metadata": {"name": name}, "roleRef": role, "subjects": [subject]}
    server.request("POST", bindings, body=binding)
    token = server.request("POST", f"{accounts}/deployer/token", body={"spec": {}})
    found = yaml.safe_load(Path(field.kubeconfig).read_text(encoding="utf-8"))
    found["users"][0]["user"] = {"token": token["status"]["token"]}
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(found), encoding="utf-8")

    @contextlib.contextmanager
    def narrow(shares: int) -> Iterator[Path]:
        queue = f"{name}-{uuid.uuid4().hex[:4]}"
        _queue(server, queue, shares, subject)
        try:
            yield path
        finally:
            server.request("DELETE", f"{FLOW}/flowschemas/{queue}")
            server.request("DELETE", f"{FLOW}/prioritylevelconfigurations/{queue}")

    yield narrow
    server.request("DELETE", f"{bindings}/{name}")


def _queue(server: Cluster, name: str, shares: int, subject: dict[str, str]) -> None:
    limited = {
        "nominalConcurrencyShares": shares,
        "lendablePercent": 0,
        "borrowingLimitPercent": 0,
        "limitResponse": {"type": "Reject"},
    }
    level = {"metadata": {"name": name}, "spec": {"type": "Limited", "limited": limited}}
    server.request("POST", f"{FLOW}/prioritylevelconfigurations", body=level)
    account = {"name": subject["name"], "namespace": subject["namespace"]}
    rule = {
        "subjects": [{"kind": "ServiceAccount", "serviceAccount": account}],
        "resourceRules": [
            {
                "verbs": ["*"],
                "apiGroups": ["*"],
                "resources": ["*"],
                "clusterScope": True,
                "namespaces": ["*"],
            }
        ],
    }
    schema = {
        "metadata": {"name": name},
        "spec": {
            "priorityLevelConfiguration": {"name": name},
            "matchingPrecedence": 2,
            "rules": [rule],
        },
    }
    server.request("POST", f"{FLOW}/flowschemas", body=schema)


@contextlib.contextmanager
def _seat_taken(own: Status, field: Field, kubeconfig: Path) -> Iterator[None]:
    """Take the last seat of the user's queue, by a request whose body does not come."""
    cluster = wait_for(lambda: _connected(kubeconfig), seconds=60)
    with wait_for(lambda: _hog(own, field, kubeconfig, cluster), seconds=60, why="no seat"):
        yield
    cluster.close()


def _hog(
    own: Status, field: Field, kubeconfig: Path, cluster: Cluster
) -> contextlib.closing[HTTPSConnection] | None:
    """Ask for the seat; None where somebody has it at this moment and we are refused."""
    user = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))["users"][0]["user"]
    trusted = ssl.create_default_context(cafile=str(place(own.name).pki / "ca.crt"))
    port = int(own.server.rpartition(":")[2])
    hog = HTTPSConnection("127.0.0.1", port, context=trusted)
    hog.putrequest("POST", f"/api/v1/namespaces/{field.namespace}/configmaps")
    hog.putheader("Authorization", f"Bearer {user['token']}")
    hog.putheader("Content-Type", "application/json")
    hog.putheader("Content-Length", "100")
    hog.endheaders()
    with contextlib.suppress(AssertionError):
        wait_for(lambda: _is_busy(cluster, field), seconds=0.5)
        return contextlib.closing(hog)
    hog.close()
    return None


def _connected(kubeconfig: Path) -> Cluster | None:
    with contextlib.suppress(ApiError):
        return connect(kubeconfig)
    return None


def _is_busy(cluster: Cluster, field: Field) -> bool:
    try:
        cluster.get(f"/api/v1/namespaces/{field.namespace}/configmaps")
    except ApiError as error:
        return error.code == 429
    return False


def _refusals(own: Status, field: Field) -> int:
    verbs = ("get", "patch", "delete", "create", "update")  # lists are the company's
    places = (field.namespace, "opslib-system")
    return sum(one.code == 429 for place in places for one in audited(own, place, verbs))


@contextlib.contextmanager
def _company(cluster: Cluster, field: Field) -> Iterator[None]:
    """Let somebody else take the same seats again and again, by lists, while the block runs."""
    over = threading.Event()

    def take() -> None:
        while not over.wait(0.002):
            _is_busy(cluster, field)

    thread = threading.Thread(target=take)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.fixture
def wide(field: Field) -> Iterator[None]:
    """Give nearly all seats of the server to nobody, so that one share is one seat."""
    limited = {"nominalConcurrencyShares": 10_000, "limitResponse": {"type": "Reject"}}
    body = {"metadata": {"name": "wide"}, "spec": {"type": "Limited", "limited": limited}}
    field.cluster.request("POST", f"{FLOW}/prioritylevelconfigurations", body=body)
    yield
    field.cluster.request("DELETE", f"{FLOW}/prioritylevelconfigurations/wide")


def test_a_storm_of_429(
    field: Field, own: Status, throttled: Callable[[int], Any], wide: None
) -> None:
    """With one seat for all writers, and others on it, 429 comes again and again; it goes on."""
    refused = _refusals(own, field)
    storm = 0
    for _ in range(10):  # how often two ask at the same moment is for the machine to decide
        assert field.apply(OLD, "a")
        with throttled(1) as kubeconfig:
            bench = bench_of(field, kubeconfig)
            prepared = bench.plan(NEW, "b")
            with _company(bench.cluster, field):
                outcome = hold(field, bench, prepared, "one seat for the whole apply")
        assert outcome == "converged"
        converges(field)
        if (storm := _refusals(own, field) - refused) > 3:
            break
    print(f"{storm} requests were answered by 429")
    assert storm > 3


@pytest.mark.parametrize("moment", MOMENTS)
def test_all_requests_are_answered_by_429_for_a_while(
    field: Field, own: Status, throttled: Callable[[int], Any], moment: str
) -> None:
    """Two seconds without a seat, begun at any moment, delay the apply and no more."""
    with throttled(30) as kubeconfig:
        bench = bench_of(field, kubeconfig)
        prepared = bench.plan(NEW, "b")
    refused = _refusals(own, field)
    over = threading.Event()

    def storm() -> None:
        with throttled(0) as kubeconfig, _seat_taken(own, field, kubeconfig):
            begun.set()
            over.wait(2)

    begun, thread = threading.Event(), threading.Thread(target=storm)

    def strike() -> None:
        thread.start()
        begun.wait(130)

    overhear(bench.cluster, before=once(MOMENTS[moment](), strike))
    hold(field, bench, prepared, f"no seat for 2 s as {moment}")
    thread.join()
    print(f"{_refusals(own, field) - refused} requests were answered by 429")
    converges(field)


HOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"


@contextlib.contextmanager
def _broken_webhook(field: Field) -> Iterator[Callable[[], None]]:
    """Let an admission webhook that nobody serves be asked about ConfigMaps of the namespace."""
    name = f"hook-{field.namespace}"
    hook = {
        "name": "broken.example.com",
        "clientConfig": {"url": "https://127.0.0.1:1/", "caBundle": ""},
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "timeoutSeconds": 1,
        "admissionReviewVersions": ["v1"],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": field.namespace}},
        "rules": [
            {
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "operations": ["*"],
                "resources": ["configmaps"],
            }
        ],
    }
    field.cluster.request("POST", HOOKS, body={"metadata": {"name": name}, "webhooks": [hook]})
    wait_for(lambda: _refuses(field), why="the webhook is not asked")

    def mend() -> None:
        field.cluster.request("DELETE", f"{HOOKS}/{name}")

    try:
        yield mend
    finally:
        with contextlib.suppress(ApiError):
            mend()
        wait_for(lambda: not _refuses(field))


def _refuses(field: Field) -> bool:
    body = {"metadata": {"name": "probe"}}
    path = f"/api/v1/namespaces/{field.namespace}/configmaps"
    try:
        field.cluster.request("POST", path, query={"dryRun": "All"}, body=body)
    except ApiError as error:
        return "failed calling webhook" in error.what
    return False


def test_a_webhook_that_fails_and_is_mended(field: Field) -> None:
    """While it fails nothing gets through; mended within seconds, the same apply goes on."""
    bench = bench_of(field)
    prepared = bench.plan(NEW, "b")
    with _broken_webhook(field) as mend:
        timer = threading.Timer(2, mend)
        timer.start()
        outcome = hold(field, bench, prepared, "a webhook without an endpoint for 2 s")
        timer.join()
    assert outcome == "converged"
    converges(field)


def test_a_webhook_that_stays_broken(field: Field, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each object that it keeps out is named with its reason, and nothing is deleted."""
    bench = bench_of(field)
    prepared = bench.plan(NEW, "b")
    with _broken_webhook(field):
        outcome = hold(field, bench, prepared, "a broken webhook", timeout=4)
        assert outcome == "ended with errors"
        monkeypatch.setattr(judge, "RETRY_SECONDS", 1.0)  # this one does not pass
        with pytest.raises(AssertionError, match="failed calling webhook"):
            bench.plan(NEW, "b")
    assert {f"configmaps/gone{i}" for i in (1, 2, 3)} <= field.objects().keys()
    converges(field)


def test_the_faults_are_counted() -> None:
    """Every fault ended in one of the outcomes that are allowed."""
    print(f"{OUTCOMES.total()} faults so far: {dict(OUTCOMES)}, 0 lies, 0 wrong deletes")
    assert OUTCOMES.total() >= 7
