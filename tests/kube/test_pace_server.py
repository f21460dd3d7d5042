"""The pace against a real API server: where it settles, and through a storm of refusals."""

from __future__ import annotations

import itertools
import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from opslib.core.errors import OpslibError
from opslib.kube.client import APPLY, MERGE, Cluster, connect
from opslib.kube.pace import MOST, Pacer, workers
from opslib.reconcile.retry import retrying
from opslib.sandbox import cluster as sandboxes
from opslib.sandbox.cluster import Status

DEADLINE = 90.0
FLOW = "/apis/flowcontrol.apiserver.k8s.io/v1"


class Writer:
    """Writes ConfigMaps in bulk as a user of its own, and counts the answers by status."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster.paced()
        self.namespace = namespace
        self.answers: Counter[int] = Counter()
        self._number = itertools.count()

    @property
    def pacer(self) -> Pacer:
        """Return what says how many go at once."""
        return self.cluster.pacer

    def one(self) -> None:
        """Create or change one object, as an apply does."""
        name = f"c{next(self._number) % 50}"
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": self.namespace},
            "data": {"k": uuid.uuid4().hex},
        }
        retrying(lambda: self._send(name, body), seconds=DEADLINE)

    def _send(self, name: str, body: dict[str, Any]) -> None:
        path = f"/api/v1/namespaces/{self.namespace}/configmaps/{name}"
        query: dict[str, str | bool] = {"fieldManager": "opslib-pace", "force": True}
        try:
            self.cluster.request("PATCH", path, query=query, body=body, content_type=APPLY)
        except Exception as error:
            self.answers[getattr(error, "code", 0)] += 1
            raise
        self.answers[200] += 1

    def until(self, done: Callable[[], bool], *, beside: Callable[[], None] | None = None) -> None:
        """Write until a condition holds; what runs ``beside`` may change the server meanwhile."""
        stop, until = threading.Event(), time.monotonic() + DEADLINE
        side = threading.Thread(target=beside or (lambda: None))
        side.start()

        def write() -> None:
            while not stop.is_set():
                self.one()

        with workers() as pool:
            jobs = [pool.submit(write) for _ in range(MOST)]
            while not done() and time.monotonic() < until:
                stop.wait(0.05)
            stop.set()
            for job in jobs:
                job.result()
        side.join()
        assert done(), (self.pacer.pace, self.pacer.lowest, self.answers)


@pytest.fixture
def writer(server: Cluster, sandbox: Status, namespace: str, tmp_path: Path) -> Iterator[Writer]:
    """Return a writer with a service account, whose requests are a flow of their own."""
    accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    server.request("POST", accounts, body={"metadata": {"name": "writer"}})
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"]}]
    roles = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    server.request("POST", f"{roles}/roles", body={"metadata": {"name": "w"}, "rules": rules})
    subject = {"kind": "ServiceAccount", "name": "writer", "namespace": namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "w"}
    binding = {"metadata": {"name": "w"}, "subjects": [subject], "roleRef": role}
    server.request("POST", f"{roles}/rolebindings", body=binding)
    token = server.request("POST", f"{accounts}/writer/token", body={})["status"]["token"]
    config = yaml.safe_load(Path(sandboxes.environment(sandbox.name)["KUBECONFIG"]).read_text())
    config["users"][0]["user"] = {"token": token}
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config))
    path.chmod(0o600)
    connected = connect(path)
    yield Writer(connected, namespace)
    connected.close()


def test_a_write_that_lost_its_right_while_it_waited_is_not_sent(
    server: Cluster, namespace: str
) -> None:
    """Asked when the turn has come, not when the work was handed in; reads go on."""
    may = threading.Event()
    may.set()
    cluster = server.paced(may.is_set)
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    body = {"metadata": {"name": "late"}}
    pace = cluster.pacer.pace
    turns = [cluster.pacer._begin() for _ in range(pace.width)]
    with workers() as pool:
        write = pool.submit(cluster.request, "POST", path, body=body)
        read = pool.submit(cluster.find, f"{path}/late")
        may.clear()
        for turn in turns:
            turn.sent = False
            cluster.pacer._end(turn)
        with pytest.raises(OpslibError, match="stopped before"):
            write.result()
        assert read.result() is None
    assert server.find(f"{path}/late") is None
    assert cluster.pacer.pace == pace


@pytest.fixture
def flow(server: Cluster, namespace: str) -> Iterator[Callable[[int], None]]:
    """Return what sets how large a share of the server the writer has; 0 refuses all it sends.

    https://kubernetes.io/docs/concepts/cluster-administration/flow-control/
    """
    level = {
        "type": "Limited",
        "limited": {
            "nominalConcurrencyShares": 30,
            "borrowingLimitPercent": 0,
            "limitResponse": {"type": "Reject"},
        },
    }
    subject = {
        "kind": "ServiceAccount",
        "serviceAccount": {"name": "writer", "namespace": namespace},
    }
    everything = [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]}]
    schema = {
        "priorityLevelConfiguration": {"name": namespace},
        "matchingPrecedence": 50,
        "rules": [{"subjects": [subject], "resourceRules": everything}],
    }
    levels, schemas = f"{FLOW}/prioritylevelconfigurations", f"{FLOW}/flowschemas"
    metadata = {"metadata": {"name": namespace}}
    server.request("POST", levels, body={**metadata, "spec": level})
    server.request("POST", schemas, body={**metadata, "spec": schema})

    def share(shares: int) -> None:
        spec = {"spec": {"limited": {"nominalConcurrencyShares": shares}}}
        server.request("PATCH", f"{levels}/{namespace}", body=spec, content_type=MERGE)

    yield share
    server.request("DELETE", f"{schemas}/{namespace}")
    server.request("DELETE", f"{levels}/{namespace}")


@pytest.mark.alone
def test_it_settles(writer: Writer) -> None:
    """A thousand writes to a server nearby: more at once than one, and it knows the rate."""
    writer.until(lambda: writer.answers[200] >= 1000)
    pacer = writer.pacer
    print(
        f"1000 writes: settled at {pacer.pace.width} at once, {pacer.pace.rate:.0f} a second, "
        f"between {int(pacer.lowest)} and {int(pacer.highest)} on the way"
    )
    assert set(writer.answers) == {200}
    assert 1 < pacer.highest <= MOST
    assert pacer.pace.rate > 0


@pytest.mark.alone
def test_a_storm_of_refusals_slows_it_down_and_it_recovers(
    writer: Writer, flow: Callable[[int], None]
) -> None:
    """Priority and fairness refuses all: down to one or two, no write lost; then up again."""
    writer.until(lambda: writer.answers[200] >= 100)

    def storm() -> None:
        flow(0)
        until = time.monotonic() + DEADLINE
        while writer.pacer.pace.width > 2 and time.monotonic() < until:
            time.sleep(0.05)
        writer.pacer.highest = writer.pacer.pace.limit
        flow(30)

    writer.pacer.lowest, writer.pacer.highest = MOST, MOST
    writer.until(lambda: writer.pacer.lowest < 3 <= writer.pacer.highest < MOST, beside=storm)
    pacer = writer.pacer
    print(
        f"{writer.answers[429]} requests refused with 429: down to {int(pacer.lowest)} at once, "
        f"then up to {int(pacer.highest)}; {writer.answers[200]} writes, none lost"
    )
    assert writer.answers[429] > 0
    assert set(writer.answers) == {200, 429}
