"""How far a rollout is: kubectl is asked the same, and says the same."""

from __future__ import annotations

import pytest

from opslib.core.errors import DeadlineExceeded, InputError
from opslib.rollout import find_target, status
from opslib.rollout.status import daemon_set, deployment, stateful_set

from .conftest import BAD, GOOD, Json, Shop


def _same(shop: Shop, kind: str, name: str) -> None:
    target = find_target(shop.server, f"{kind}/{name}", shop.namespace)
    ours = status(shop.server, target, watch=False)
    theirs = shop.kubectl("rollout", "status", f"{kind}/{name}", "--watch=false")
    said = theirs.stdout.strip() or theirs.stderr.strip().removeprefix("error: ")
    assert ours.message == said
    assert ours.ok == (theirs.returncode == 0)


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet"])
def test_a_good_rollout_ends_in_kubectls_words(shop: Shop, kind: str) -> None:
    """A rollout is waited for; its verdict is kubectl's, for each kind that has rollouts."""
    target = shop.make("web", kind)
    verdict = status(shop.server, target, timeout=120)
    assert verdict.ok
    assert verdict.done
    assert verdict.available == verdict.replicas > 0
    _same(shop, kind.lower(), "web")


def test_a_hanging_rollout_names_its_reason_at_the_deadline(shop: Shop) -> None:
    """Out of time is an error of its own, and it says why the pods are not ready."""
    target = shop.make("web")
    status(shop.server, target, timeout=120)
    shop.image(target, BAD)
    shop.until(target, lambda found: "cannot pull image" in found.reason)
    with pytest.raises(DeadlineExceeded, match="cannot pull image") as caught:
        status(shop.server, target, timeout=1.5)
    assert BAD in caught.value.what
    _same(shop, "deployment", "web")


def test_past_the_progress_deadline_it_has_failed(shop: Shop) -> None:
    """The controller's own deadline ends the wait with a verdict that is not ok, as in kubectl."""
    target = shop.make("web", simulate="never-ready", progressDeadlineSeconds=2)
    verdict = status(shop.server, target, timeout=120)
    assert not verdict.ok
    assert verdict.done
    assert verdict.message == 'deployment "web" exceeded its progress deadline'
    _same(shop, "deployment", "web")


def test_scaled_to_zero_is_rolled_out(shop: Shop) -> None:
    """Nothing wanted and nothing there is a success."""
    target = shop.make("web", replicas=0)
    assert status(shop.server, target, timeout=120).ok
    _same(shop, "deployment", "web")


def test_a_partitioned_stateful_set(shop: Shop) -> None:
    """Only the pods above the partition are waited for."""
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
    target = shop.make("db", "StatefulSet", updateStrategy=rolling)
    shop.until(target, lambda found: found.ready)
    shop.image(target, "registry.example.com/shop:v3")
    verdict = status(shop.server, target, timeout=120)
    assert verdict.message == "partitioned roll out complete: 1 new pods have been updated..."
    _same(shop, "statefulset", "db")


def test_on_delete_has_no_status(shop: Shop) -> None:
    """A strategy without a rollout is refused in kubectl's words."""
    target = shop.make("db", "StatefulSet", updateStrategy={"type": "OnDelete"})
    with pytest.raises(InputError, match="only available for RollingUpdate"):
        status(shop.server, target, watch=False)


def test_another_revision_is_refused(shop: Shop) -> None:
    """--revision holds the wait to one rollout."""
    target = shop.make("web")
    status(shop.server, target, timeout=120)
    assert status(shop.server, target, timeout=120, revision=1).ok
    with pytest.raises(InputError, match="desired revision"):
        status(shop.server, target, revision=7)


def test_deleted_while_watched(shop: Shop) -> None:
    """A workload that is deleted meanwhile ends the wait with a clear error."""
    target = shop.make("web", simulate="never-ready")
    shop.until(target, lambda found: bool(found.pods))

    class Deleting:
        def update(self, what: str, done: float = 0, total: float | None = None) -> None:
            del what, done, total
            if shop.server.find(target.path):
                shop.server.request("DELETE", target.path)

    with pytest.raises(InputError, match="deleted"):
        status(shop.server, target, timeout=60, progress=Deleting())


def _deployment(**state: int) -> Json:
    return {
        "metadata": {"name": "foo", "generation": state.pop("generation", 1)},
        "spec": {"replicas": state.pop("wanted", 2)},
        "status": {"observedGeneration": 1, **state},
    }


@pytest.mark.parametrize(
    ("live", "message", "done"),
    [
        (
            _deployment(updatedReplicas=1, replicas=2),
            (
                'Waiting for deployment "foo" rollout to finish: '
                "1 out of 2 new replicas have been updated..."
            ),
            False,
        ),
        (
            _deployment(updatedReplicas=2, replicas=3),
            (
                'Waiting for deployment "foo" rollout to finish: '
                "1 old replicas are pending termination..."
            ),
            False,
        ),
        (
            _deployment(updatedReplicas=2, replicas=2, availableReplicas=1),
            (
                'Waiting for deployment "foo" rollout to finish: '
                "1 of 2 updated replicas are available..."
            ),
            False,
        ),
        (
            _deployment(updatedReplicas=2, replicas=2, availableReplicas=2),
            'deployment "foo" successfully rolled out',
            True,
        ),
        (
            _deployment(generation=2, updatedReplicas=2, replicas=2, availableReplicas=2),
            "Waiting for deployment spec update to be observed...",
            False,
        ),
    ],
)
def test_each_step_of_a_deployment(live: Json, message: str, done: bool) -> None:
    """Each number that is behind is named, in the order in which kubectl looks."""
    verdict = deployment(live)
    assert (verdict.message, verdict.done, verdict.ok) == (message, done, True)


def test_each_step_of_the_others() -> None:
    """DaemonSets and StatefulSets that the controller has not seen are waited for."""
    old = {"metadata": {"name": "foo", "generation": 2}, "spec": {"replicas": 1}}
    assert "to be observed" in daemon_set({**old, "status": {"observedGeneration": 1}}).message
    assert "to be observed" in stateful_set({**old, "status": {"observedGeneration": 1}}).message
    behind = {"observedGeneration": 2, "desiredNumberScheduled": 3, "updatedNumberScheduled": 1}
    assert "1 out of 3 new pods" in daemon_set({**old, "status": behind}).message
    behind["updatedNumberScheduled"] = 3
    assert "0 of 3 updated pods are available" in daemon_set({**old, "status": behind}).message


def test_names_as_people_write_them(shop: Shop) -> None:
    """Short kinds and bare names find the workload; a near name is offered for a wrong one."""
    shop.make("web", image=GOOD)
    for text in ("deploy/web", "deployment/web", "deployments.apps/web", "web"):
        assert str(find_target(shop.server, text, shop.namespace)) == 'deployment "web"'
    with pytest.raises(InputError) as caught:
        find_target(shop.server, "deploy/wed", shop.namespace)
    assert "web" in str(caught.value.expected)
    with pytest.raises(InputError, match="has no rollouts"):
        find_target(shop.server, "service/web", shop.namespace)
    shop.make("web", "DaemonSet")
    with pytest.raises(InputError, match="several workloads"):
        find_target(shop.server, "web", shop.namespace)
