"""What containers write, of many pods at once."""

from __future__ import annotations

import itertools

import pytest

from opslib.core.errors import InputError
from opslib.rollout import logs, status

from .conftest import Shop


def test_the_lines_of_all_pods(shop: Shop) -> None:
    """Each pod's lines are there, named; kubectl reads the same text."""
    target = shop.make("web")
    status(shop.server, target, timeout=120)
    lines = list(logs(shop.server, target, namespace=shop.namespace))
    pods = {line.pod for line in lines}
    assert len(pods) == 2
    for pod in pods:
        mine = [line.text for line in lines if line.pod == pod]
        assert mine == shop.kubectl("logs", pod).stdout.splitlines()


def test_tail_and_selector(shop: Shop) -> None:
    """The newest lines only, by label."""
    target = shop.make("web", replicas=1)
    status(shop.server, target, timeout=120)
    every = [line.text for line in logs(shop.server, "app=web", namespace=shop.namespace)]
    two = [line.text for line in logs(shop.server, "app=web", namespace=shop.namespace, tail=2)]
    assert two == every[-2:]
    assert len(every) > 2


def test_follow_goes_on_and_ends_when_closed(shop: Shop) -> None:
    """A pod that comes later joins in; closing the iterator ends it."""
    target = shop.make("web", replicas=1)
    status(shop.server, target, timeout=120)
    following = logs(shop.server, target, namespace=shop.namespace, follow=True)
    first = next(following)
    shop.patch(target, {"spec": {"replicas": 2}})
    later = next(line for line in following if line.pod != first.pod)
    assert later.container == "main"
    following.close()  # type: ignore[attr-defined]  # it is a generator
    assert next(following, None) is None


def test_a_container_that_is_not_there(shop: Shop) -> None:
    """A wrong name is an error that lists the right ones; a selector without pods too."""
    target = shop.make("web", replicas=1)
    status(shop.server, target, timeout=120)
    with pytest.raises(InputError) as caught:
        logs(shop.server, target, namespace=shop.namespace, container="wrong")
    assert "main" in str(caught.value.expected)
    with pytest.raises(InputError, match="no pod has the labels"):
        logs(shop.server, "app=nothing", namespace=shop.namespace)


def test_a_pod_on_no_node_gives_a_warning(shop: Shop) -> None:
    """What cannot be read is said once, and the rest is read."""
    asked = {"requests": {"cpu": "4000"}}
    template = {
        "metadata": {"labels": {"app": "big"}},
        "spec": {"containers": [{"name": "main", "image": "x:1", "resources": asked}]},
    }
    target = shop.make("big", replicas=1, template=template)
    shop.until(target, lambda one: "cannot be placed" in one.reason)
    lines = logs(shop.server, target, namespace=shop.namespace)
    warned = list(itertools.islice(lines, 5))
    assert len(warned) == 1
    assert warned[0].container == ""
    assert "warning" in warned[0].text
