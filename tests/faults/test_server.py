"""The API server dies, hangs, is busy or refuses in the middle of an apply."""

from __future__ import annotations

import contextlib
import random
import ssl
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import pytest
import yaml

from opslib.core.errors import OpslibError
from opslib.kube.client import Cluster, connect
from opslib.kube.errors import ApiError
from opslib.reconcile import planner
from opslib.reconcile.app import App
from opslib.reconcile.apply import Applied
from opslib.reconcile.planner import Prepared
from opslib.sandbox import cluster as sandboxes
from opslib.sandbox.cluster import Status
from opslib.sandbox.state import place

from .cutter import cutting
from .parts import Asked, Bench, Program, audited, overhear, wait_for
from .test_kill import Field, _names, config, service

KEPT = [f"c{i}" for i in range(10)]
OLD = "---\n".join((config(*KEPT), config("gone1", "gone2", "gone3"), service("s", "t")))
NEW = "---\n".join((config(*KEPT, "new", value="2"), service("s", "t", "u")))
OUTCOMES: Counter[str] = Counter()


@pytest.fixture(scope="module")
def own() -> Iterator[Status]:
    """Bring up a control plane whose parts these tests may kill and stop."""
    name = f"faults-{uuid.uuid4().hex[:8]}"
    yield sandboxes.up(name, nodes=1)
    sandboxes.down(name)


@pytest.fixture(scope="module")
def apiserver(own: Status) -> Iterator[Program]:
    """Return the API server's program."""
    program = Program(own, "kube-apiserver")
    yield program
    sandboxes.down(own.name)
    program.reap()


@pytest.fixture
def field(own: Status) -> Iterator[Field]:
    """Return a namespace with a bystander, and what is applied before the fault."""
    config_file = sandboxes.environment(own.name)["KUBECONFIG"]
    name = f"f-{uuid.uuid4().hex[:8]}"
    cluster = connect(config_file)
    # Without waiting for its default account: the controllers see these faults, too.
    cluster.request("POST", "/api/v1/namespaces", body={"metadata": {"name": name}})
    one = Field(cluster, config_file, name)
    body = {"metadata": {"name": "bystander"}, "data": {"k": "mine"}}
    cluster.request("POST", f"/api/v1/namespaces/{name}/configmaps", body=body)
    assert one.apply(OLD, "a")
    yield one
    cluster.close()


def _bench(field: Field, kubeconfig: str | Path = "") -> Bench:
    return Bench(connect(kubeconfig or field.kubeconfig), field.namespace, App(field.app))


def _ready(own: Status) -> bool:
    with contextlib.suppress(OSError), sandboxes.api(own.name) as api:
        return api.send("GET", "/readyz")[0] == 200
    return False


def _once(due: Callable[[Asked], bool], strike: Callable[[], None]) -> Callable[[Asked], None]:
    """Return a listener that strikes at the first request for which it is due."""
    lock, struck = threading.Lock(), threading.Event()

    def meet(asked: Asked) -> None:
        with lock:
            if struck.is_set() or not due(asked):
                return
            struck.set()
        strike()

    return meet


def _fifth(number: int = 5) -> Callable[[Asked], bool]:
    count = iter(range(1, 10**6))
    return lambda asked: asked.writes and asked.method == "PATCH" and next(count) == number


def _is_inventory(asked: Asked) -> bool:
    return asked.writes and "/opslib-system/" in asked.path and "inventory" in str(asked.body)


def _settling(asked: Asked) -> bool:
    return _is_inventory(asked) and "gone1" not in str(asked.body)


MOMENTS: dict[str, Callable[[], Callable[[Asked], bool]]] = {
    "the inventory is written ahead": lambda: _is_inventory,
    "half of the objects are written": _fifth,
    "the first object is deleted": lambda: lambda asked: asked.method == "DELETE",
    "the inventory is settled": lambda: _settling,
}


def _hold(field: Field, bench: Bench, prepared: Prepared, fault: str, **options: Any) -> str:
    """Apply while a fault strikes; all that is said of it must be true. Return the outcome."""
    before, began = field.objects(), time.monotonic()
    outcome, told, applied = "raised before a write", "", Applied()
    try:
        applied = bench.write(prepared, **options)
        outcome = "converged" if applied.ok else "ended with errors"
        told = "; ".join(applied.summary()["failures"] + applied.summary()["unhealthy"])
    except OpslibError as error:
        told = str(error)
    took = time.monotonic() - began
    print(f"{fault}: {outcome} after {took:.1f} s {' '.join(told.split())[:200]}")
    OUTCOMES[outcome] += 1
    wait_for(lambda: _ready_cluster(field), seconds=90, why="the server does not come back")
    middle = field.objects()
    assert middle["configmaps/bystander"] == before["configmaps/bystander"]
    for name in _names(NEW) & before.keys():
        assert middle[name][0] == before[name][0], f"{name} was made anew"
    assert set(middle) - {"configmaps/bystander"} <= field.inventory(), "an object is untracked"
    _is_true(applied, prepared, before, middle)
    if not applied.ok or outcome == "raised before a write":
        assert told
    return outcome


def _ready_cluster(field: Field) -> bool:
    with contextlib.suppress(OpslibError):
        field.objects()
        return True
    return False


def _is_true(
    applied: Applied, prepared: Prepared, before: dict[str, Any], middle: dict[str, Any]
) -> None:
    """What it says to be written and deleted is; what is not done it says not to be done."""
    failed = {failure.key for failure in applied.failures}
    pruned = False
    for change in prepared.plan.writes:
        name = f"{change.key.kind.lower()}s/{change.key.name}"
        if change.action == "delete":
            assert (name in middle) == (change.key not in applied.deleted) or change.key in failed
            pruned |= name not in middle
        elif change.key in applied.written:
            assert middle[name] != before.get(name) or name.startswith("services/")
        else:
            assert change.key in failed or middle.get(name) == before.get(name), name
    assert not pruned or not (
        failed - {c.key for c in prepared.plan.writes if c.action == "delete"}
    )


def _converges(field: Field) -> None:
    """The next apply makes it whole."""
    before = field.objects()
    assert field.apply(NEW, "b")
    after = field.objects()
    assert set(after) == {*_names(NEW), "configmaps/bystander"}
    assert field.inventory() == _names(NEW)
    assert after["configmaps/bystander"] == before["configmaps/bystander"]
    assert all(after[f"configmaps/{name}"][1] == {"k": "2"} for name in KEPT)


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_server_is_killed_and_comes_back(
    field: Field, own: Status, apiserver: Program, moment: str
) -> None:
    """SIGKILL in the middle, started again a second later: nothing is lost, wrong or untold."""
    bench = _bench(field)
    prepared = bench.plan(NEW, "b")
    timer = threading.Timer(1, apiserver.start)

    def strike() -> None:
        apiserver.kill()
        timer.start()

    overhear(bench.cluster, before=_once(MOMENTS[moment](), strike))
    try:
        _hold(field, bench, prepared, f"API server killed as {moment}")
    finally:
        timer.join()
        wait_for(lambda: _ready(own), seconds=90)
    _converges(field)


def test_a_server_that_stays_away(field: Field, own: Status, apiserver: Program) -> None:
    """The apply ends about when it was told to, names each object that it did not write."""
    bench = _bench(field)
    prepared = bench.plan(NEW, "b")
    overhear(bench.cluster, before=_once(_fifth(), apiserver.kill))
    applied = bench.write(prepared, timeout=4)
    apiserver.start()
    wait_for(lambda: _ready(own), seconds=90)
    assert applied.seconds < 12
    missing = {c.key for c in prepared.plan.writes if c.action != "delete"} - set(applied.written)
    assert missing <= {failure.key for failure in applied.failures}
    assert not applied.deleted
    print(f"server away: {len(missing)} objects named after {applied.seconds:.1f} s")
    OUTCOMES["ended with errors"] += 1
    assert set(field.objects()) - {"configmaps/bystander"} <= field.inventory()
    _converges(field)


@pytest.mark.parametrize("moment", ["half of the objects are written", "the inventory is settled"])
def test_etcd_stops_for_a_while(field: Field, own: Status, moment: str) -> None:
    """A store that does not answer for three seconds delays the apply, and nothing else."""
    bench = _bench(field)
    prepared = bench.plan(NEW, "b")
    etcd, thawed = Program(own, "etcd"), threading.Event()

    def freeze() -> None:
        with etcd.frozen():
            thawed.wait(3)

    thread = threading.Thread(target=freeze)
    overhear(bench.cluster, before=_once(MOMENTS[moment](), thread.start))
    _hold(field, bench, prepared, f"etcd stopped for 3 s as {moment}")
    thread.join()
    wait_for(lambda: _ready(own))
    _converges(field)


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
    cluster = wait_for(lambda: _connected(kubeconfig), seconds=20)
    with wait_for(lambda: _hog(own, field, kubeconfig, cluster), seconds=20, why="no seat"):
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
    verbs = ("get", "list", "patch", "delete", "create", "update")
    places = (field.namespace, "opslib-system")
    return sum(one.code == 429 for place in places for one in audited(own, place, verbs))


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
    """With one seat for four writers the server says 429 again and again; the apply goes on."""
    refused = _refusals(own, field)
    with throttled(1) as kubeconfig:
        bench = _bench(field, kubeconfig)
        outcome = _hold(field, bench, bench.plan(NEW, "b"), "one seat for the whole apply")
    storm = _refusals(own, field) - refused
    print(f"{storm} requests were answered by 429")
    assert storm > 3
    assert outcome == "converged"
    _converges(field)


@pytest.mark.parametrize("moment", MOMENTS)
def test_all_requests_are_answered_by_429_for_a_while(
    field: Field, own: Status, throttled: Callable[[int], Any], moment: str
) -> None:
    """Two seconds without a seat, begun at any moment, delay the apply and no more."""
    with throttled(30) as kubeconfig:
        bench = _bench(field, kubeconfig)
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
        begun.wait(45)

    overhear(bench.cluster, before=_once(MOMENTS[moment](), strike))
    _hold(field, bench, prepared, f"no seat for 2 s as {moment}")
    thread.join()
    print(f"{_refusals(own, field) - refused} requests were answered by 429")
    _converges(field)


def test_connections_that_break(field: Field, own: Status, tmp_path: Path) -> None:
    """Of many connections cut at any byte, before or after the answer, none leaves a lie."""
    seed = random.SystemRandom().randrange(10**6)
    found = yaml.safe_load(Path(field.kubeconfig).read_text(encoding="utf-8"))
    address = found["clusters"][0]["cluster"]["server"]
    cuts = 0
    for attempt in range(4):
        with cutting(int(address.rpartition(":")[2]), share=0.0, seed=seed + attempt) as cutter:
            found["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{cutter.port}"
            path = tmp_path / "kubeconfig"
            path.write_text(yaml.safe_dump(found), encoding="utf-8")
            assert field.apply(OLD, "a")
            bench = _bench(field, path)
            prepared = bench.plan(NEW, "b")
            cutter.share = 0.08
            _hold(field, bench, prepared, f"connections cut (seed {seed + attempt})")
            cuts += cutter.cuts
            bench.cluster.close()
        _converges(field)
    print(f"{cuts} connections cut")
    assert cuts > 10


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
    bench = _bench(field)
    prepared = bench.plan(NEW, "b")
    with _broken_webhook(field) as mend:
        timer = threading.Timer(2, mend)
        timer.start()
        outcome = _hold(field, bench, prepared, "a webhook without an endpoint for 2 s")
        timer.join()
    assert outcome == "converged"
    _converges(field)


def test_a_webhook_that_stays_broken(field: Field, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each object that it keeps out is named with its reason, and nothing is deleted."""
    bench = _bench(field)
    prepared = bench.plan(NEW, "b")
    with _broken_webhook(field):
        outcome = _hold(field, bench, prepared, "a broken webhook", timeout=4)
        assert outcome == "ended with errors"
        monkeypatch.setattr(planner, "RETRY_SECONDS", 1.0)  # this one does not pass
        with pytest.raises(AssertionError, match="failed calling webhook"):
            bench.plan(NEW, "b")
    assert {f"configmaps/gone{i}" for i in (1, 2, 3)} <= field.objects().keys()
    _converges(field)


def test_the_faults_are_counted() -> None:
    """Every fault ended in one of the outcomes that are allowed."""
    print(f"{OUTCOMES.total()} faults: {dict(OUTCOMES)}, 0 lies, 0 wrong deletes")
    assert OUTCOMES.total() >= 15
