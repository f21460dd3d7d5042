"""Health of real objects: where raw kstatus is blind, and by rules that a repository carries."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from opslib.core.clock import now
from opslib.core.errors import OpslibError, Problems
from opslib.core.model import ResourceKey
from opslib.reconcile.health import Health, assess
from opslib.reconcile.health_pods import Children, read_children, with_pods
from opslib.reconcile.plan import Action
from opslib.reconcile.session import Session, open_session
from opslib.reconcile.wait import HealthOf, health_of
from opslib.source.mirror import Source

from .conftest import Workbench, config_map, deployment
from .loops import Repository

F, C, P = Health.FAILED, Health.CURRENT, Health.IN_PROGRESS


def pod(mode: str) -> str:
    """Return the YAML of a Pod that the simulated kubelet treats in a certain way."""
    return f"""apiVersion: v1
kind: Pod
metadata:
  name: p
  annotations: {{opslib.dev/simulate: "{mode}"}}
spec:
  containers:
    - name: app
      image: registry.example/app:1
      readinessProbe: {{httpGet: {{path: /, port: 80}}}}
"""


def job(ttl: int, mode: str = "") -> str:
    """Return the YAML of a Job that is cleared away ``ttl`` seconds after its end."""
    return f"""apiVersion: batch/v1
kind: Job
metadata:
  name: migrate
spec:
  ttlSecondsAfterFinished: {ttl}
  backoffLimit: 0
  template:
    metadata:
      annotations: {{opslib.dev/simulate: "{mode}"}}
    spec:
      restartPolicy: Never
      containers:
        - name: app
          image: registry.example/migrate:1
"""


BAD_IMAGE = "registry.example/app:v2-does-not-exist"


def test_a_deployment_names_the_image_that_it_lacks(bench: Workbench) -> None:
    """A Deployment without its image says so at once, is Failed soon, and mended by the next."""
    bench.apply(deployment("web"))
    prepared = bench.plan(deployment("web", image=BAD_IMAGE), "b")
    kinds = {t.key: t.kind for t in prepared.desired.targets}
    bench.write(prepared, wait=False)
    until(lambda: health_of(bench.server, kinds)[0], P, "ImagePull")
    applied = bench.apply(deployment("web", image=BAD_IMAGE), "b", timeout=1)
    state = applied.health[0]
    assert state.health is P
    assert "ImagePull" in state.message
    assert BAD_IMAGE in state.message

    live, pods = bench.live("deployments", "web", "apps/v1"), children(bench)
    assert live is not None
    plain = assess(live)
    soon = with_pods(live, plain, pods, now() + timedelta(seconds=60))
    assert (plain.health, soon.health) == (P, F)
    mended = bench.apply(deployment("web", image="registry.example/app:3"), "c", timeout=90)
    assert mended.ok, mended.health
    assert health_of(bench.server, kinds)[0].health is C


def test_a_crash_loop_is_told_and_goes_on(bench: Workbench) -> None:
    """A Deployment whose pods crash is in progress, however long: they may wait for others."""
    text = deployment("web").replace(
        "labels: {app: web}", "labels: {app: web, opslib.dev/simulate: crash-loop}"
    )
    until(watcher(bench, text), P, "CrashLoopBackOff")
    live, pods = bench.live("deployments", "web", "apps/v1"), children(bench)
    assert live is not None
    later = with_pods(live, assess(live), pods, now() + timedelta(hours=1))
    assert later.health is P
    assert "CrashLoopBackOff" in later.message


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet", "Job"])
def test_other_workloads_name_their_pods_too(bench: Workbench, kind: str) -> None:
    """A StatefulSet, a DaemonSet and a Job without their image say so."""
    if kind == "Job":
        text = job(3600).replace("registry.example/migrate:1", BAD_IMAGE)
    else:
        text = deployment("web", image=BAD_IMAGE).replace("kind: Deployment", f"kind: {kind}")
        text = text.replace("  replicas: 1\n", "" if kind == "DaemonSet" else "  replicas: 1\n")
    until(watcher(bench, text), P, BAD_IMAGE)


def test_what_is_deleted_meanwhile_is_not_waited_for(bench: Workbench) -> None:
    """Nobody brings it back but who waits here, and a loop does so in its next pass."""
    text = deployment("web").replace(
        "labels: {app: web}", "labels: {app: web, opslib.dev/simulate: never-ready}"
    )
    path = f"/apis/apps/v1/namespaces/{bench.namespace}/deployments/web"

    class Deleting:
        def update(self, what: str, done: float = 0, total: float | None = None) -> None:
            del done, total
            if what == "waiting for health" and bench.server.find(path):
                bench.server.request("DELETE", path)

    applied = bench.write(bench.plan(text), timeout=120, progress=Deleting())
    assert [state.health for state in applied.health] == [Health.NOT_FOUND]
    assert applied.seconds < 100


def children(bench: Workbench) -> Children:
    """Return the pods and ReplicaSets of the test's namespace."""
    return read_children(bench.server, bench.namespace)


BALANCER = """apiVersion: v1
kind: Service
metadata: {name: front}
spec:
  type: LoadBalancer
  selector: {app: front}
  ports: [{port: 80}]
"""


def until(look: Callable[[], HealthOf], health: Health, words: str = "") -> HealthOf:
    """Look again and again until the health is this one, with these words."""
    deadline = time.monotonic() + 90
    while True:
        found = look()
        if found.health is health and words in found.message:
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def watcher(bench: Workbench, text: str) -> Callable[[], HealthOf]:
    """Apply one object without waiting; return what looks at its health."""
    prepared = bench.plan(text)
    applied = bench.write(prepared, wait=False)
    assert not applied.failures
    kinds = {t.key: t.kind for t in prepared.desired.targets}
    return lambda: health_of(bench.server, kinds)[0]


@pytest.mark.parametrize(
    ("mode", "words"),
    [("image-pull-error", "ImagePullBackOff"), ("crash-loop", "CrashLoopBackOff")],
)
def test_pods_that_cannot_run(bench: Workbench, mode: str, words: str) -> None:
    """A pod in image pull back-off or in a crash loop is Failed, and says why."""
    until(watcher(bench, pod(mode)), F, words)


def test_an_evicted_pod_is_failed(bench: Workbench) -> None:
    """A pod in phase Failed is Failed; raw kstatus calls it current."""
    look = watcher(bench, pod(""))
    until(look, C)
    path = f"/api/v1/namespaces/{bench.namespace}/pods/p/status"
    status = {"phase": "Failed", "reason": "Evicted", "message": "the node was low on memory"}
    bench.server.request(
        "PATCH", path, body={"status": status}, content_type="application/merge-patch+json"
    )
    until(look, F, "low on memory")


def test_a_pod_that_never_gets_ready_is_in_progress(bench: Workbench) -> None:
    """A pod that runs and is not ready is no success."""
    until(watcher(bench, pod("never-ready")), P, "runs and is not ready")


def test_a_balancer_without_an_address_is_in_progress(bench: Workbench) -> None:
    """A Service of type LoadBalancer is current only when somebody gave it an address."""
    look = watcher(bench, BALANCER)
    until(look, P, "the load balancer has no address yet")
    path = f"/api/v1/namespaces/{bench.namespace}/services/front/status"
    address = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}]}}}
    bench.server.request("PATCH", path, body=address, content_type="application/merge-patch+json")
    until(look, C, "192.0.2.9")


def test_a_paused_deployment(bench: Workbench) -> None:
    """A paused Deployment is current when it is whole, and says that it waits when it is not."""
    look = watcher(bench, deployment("web"))
    until(look, C)
    pause = {"spec": {"paused": True}}
    bench.patch("deployments", "web", pause, "apps/v1")
    until(look, C, "its rollout is paused")
    image = {
        "template": {"spec": {"containers": [{"name": "app", "image": "registry.example/b:2"}]}}
    }
    bench.patch("deployments", "web", {"spec": image}, "apps/v1")
    until(look, P, "paused and waits to be resumed")


@pytest.mark.parametrize("ttl", [0, 1])
def test_a_job_that_its_ttl_clears_away_is_no_loss(bench: Workbench, ttl: int) -> None:
    """An apply that waits for a Job with a TTL ends well, also when the Job is gone by then."""
    applied = bench.apply(job(ttl), timeout=60)
    assert applied.ok, applied.health
    assert applied.health[0].health is C
    deadline = time.monotonic() + 90
    while bench.live("jobs", "migrate", "batch/v1"):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_job_that_fails_is_failed(bench: Workbench) -> None:
    """A Job whose pod fails is Failed with the reason, not current because it started."""
    until(watcher(bench, job(3600, "crash-loop")), F, "the job failed")


RULES = """apiVersion: opslib.dev/v1alpha1
kind: HealthRules
rules:
  - group: {group}
    kind: Queue
    failed: has(status.shards) && status.shards.exists(s, s.state == 'lost')
    current: has(status.inSync) && status.inSync >= spec.replicas
"""

CRD = """apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: queues.{group}}}
spec:
  group: {group}
  scope: Namespaced
  names: {{kind: Queue, plural: queues, singular: queue}}
  versions:
    - name: v1
      served: true
      storage: true
      subresources: {{status: {{}}}}
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec: {{type: object, x-kubernetes-preserve-unknown-fields: true}}
            status: {{type: object, x-kubernetes-preserve-unknown-fields: true}}
"""

QUEUE = "apiVersion: {group}/v1\nkind: Queue\nmetadata: {{name: q}}\nspec: {{replicas: 3}}\n"


@pytest.fixture
def group(bench: Workbench) -> Iterator[str]:
    """Return an API group of one's own; its definition goes with the test."""
    name = f"g{uuid.uuid4().hex[:8]}.example.dev"
    yield name
    root = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    if bench.server.find(f"{root}/queues.{name}"):
        bench.server.request("DELETE", f"{root}/queues.{name}")


def session_of(bench: Workbench, repository: Repository) -> Session:
    """Open a session on a repository."""
    return open_session(
        bench.server,
        Source(str(repository.folder), "", "app"),
        app=bench.app.name,
        namespace=bench.namespace,
    )


def test_a_repository_brings_its_rules(bench: Workbench, tmp_path: Path, group: str) -> None:
    """Apply waits for a custom resource by the rule of the repository's health.yaml."""
    repository = Repository(tmp_path / "repo")
    both = CRD.format(group=group) + "---\n" + QUEUE.format(group=group)
    repository.commit({"app/q.yaml": both, "health.yaml": RULES.format(group=group)})
    session = session_of(bench, repository)
    planned = session.plan(session.fetch())
    applied = session.apply(planned, timeout=3)
    by_key = {state.key: state for state in applied.health}
    key = ResourceKey(group, "Queue", bench.namespace, "q")
    assert not applied.ok
    assert by_key[key].health is P
    assert by_key[key].message == "neither failed nor current yet by health.yaml:4"

    kinds = {key: session.discovery.of({"apiVersion": f"{group}/v1", "kind": "Queue"}, "q.yaml")}
    path = f"/apis/{group}/v1/namespaces/{bench.namespace}/queues/q/status"

    def report(status: dict[str, object]) -> HealthOf:
        body = {"status": status}
        bench.server.request("PATCH", path, body=body, content_type="application/merge-patch+json")
        return health_of(bench.server, kinds, planned.health)[0]

    assert report({"inSync": 2}).health is P
    assert report({"inSync": 3}).health is C
    assert report({"shards": [{"state": "lost"}]}).health is F
    degraded = [{"type": "Degraded", "status": "True", "message": "one disk is slow"}]
    found = report({"shards": [], "conditions": degraded})
    assert (found.health, found.message) == (F, "Degraded: one disk is slow")
    assert report({"conditions": []}).health is C
    applied = session.apply(session.plan(session.fetch()), timeout=60)
    assert applied.ok, applied.health


def test_a_wrong_rule_stops_the_plan(bench: Workbench, tmp_path: Path) -> None:
    """A mistake in health.yaml is bad input: file, line, kind and field, and nothing is written."""
    repository = Repository(tmp_path / "repo")
    bad = RULES.format(group="a.example.dev").replace("status.inSync >= ", "status.inSync >> ")
    repository.commit({"app/c.yaml": QUEUE.format(group="a.example.dev"), "health.yaml": bad})
    session = session_of(bench, repository)
    revision = session.fetch()
    with pytest.raises(OpslibError) as caught:
        session.plan(revision)
    assert isinstance(caught.value, Problems)
    assert caught.value.exit_code == 2
    assert "health.yaml:7" in str(caught.value)
    assert "current of a.example.dev/Queue" in str(caught.value)


def test_a_job_that_ended_is_not_run_again(bench: Workbench, tmp_path: Path) -> None:
    """At the same commit a Job that its TTL cleared away is no drift; the next commit runs it."""
    repository = Repository(tmp_path / "repo")
    first = repository.commit({"app/job.yaml": job(0)})
    session = session_of(bench, repository)
    applied = session.apply(session.plan(session.fetch()), timeout=60)
    assert applied.ok, applied.health
    deadline = time.monotonic() + 90
    while bench.live("jobs", "migrate", "batch/v1"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    planned = session.plan(session.fetch())
    change = planned.prepared.plan.changes[0]
    assert (change.action, change.reason.split(" and ")[0]) == (
        Action.UNCHANGED,
        "it ended at this commit",
    )
    again = session.apply(planned, timeout=20)
    assert (again.ok, again.health) == (True, ())
    second = repository.commit({"app/c.yaml": config_map("c", k="v")})
    assert first != second
    plan = session.plan(session.fetch()).prepared.plan
    assert {str(c.key.kind): c.action for c in plan.changes} == {
        "Job": Action.CREATE,
        "ConfigMap": Action.CREATE,
    }
