"""Simulated pods: what they show when all is well, and when they are made to fail."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import pytest
import yaml

from opslib.core.clock import parse_stamp
from opslib.kube.client import Cluster
from opslib.sandbox import cluster
from opslib.sandbox.binaries import kubectl
from opslib.sandbox.cluster import Status

from .conftest import wait_for

Pod = dict[str, Any]
SIMULATE = "opslib.dev/simulate"


def pod(
    mode: str = "", *, image: str = "registry.example/app:v1", label: str = "", **spec: Any
) -> Pod:
    """Return a pod of two containers; ``mode`` goes to the annotation, ``label`` to the label."""
    containers = [
        {"name": "app", "image": image, "readinessProbe": {"httpGet": {"path": "/", "port": 80}}},
        {"name": "side", "image": "registry.example/side:v1"},
    ]
    return {
        "metadata": {
            "name": "p",
            "labels": {SIMULATE: label} if label else {},
            "annotations": {SIMULATE: mode} if mode else {},
        },
        "spec": {"containers": containers, **spec},
    }


def create(sandbox: Status, namespace: str, body: Pod) -> None:
    with cluster.api(sandbox.name) as api:
        api.json("POST", f"/api/v1/namespaces/{namespace}/pods", body)


def get(sandbox: Status, namespace: str, name: str = "p") -> Pod:
    with cluster.api(sandbox.name) as api:
        found: Pod = api.json("GET", f"/api/v1/namespaces/{namespace}/pods/{name}")
    return found


def until(
    sandbox: Status, namespace: str, holds: Callable[[Pod], object], *, seconds: float = 90
) -> Pod:
    """Wait until something holds for the pod's status, and return the pod."""

    def look() -> Pod | None:
        found = get(sandbox, namespace)
        return found if holds(found["status"]) else None

    return wait_for(look, seconds=seconds)


def conditions(found: Pod) -> dict[str, str]:
    """Return the conditions that the pod has by now: none before anybody looked at it."""
    return {c["type"]: c["status"] for c in found["status"].get("conditions", [])}


def states(found: Pod) -> list[str]:
    """Return what each container waits for, or the name of its state."""
    return [
        c["state"].get("waiting", {}).get("reason") or next(iter(c["state"]))
        for c in found["status"].get("containerStatuses", [])
    ]


def waits(reason: str) -> Callable[[Pod], bool]:
    return lambda status: reason in states({"status": status})


def ready(status: Pod) -> bool:
    return conditions({"status": status}).get("Ready") == "True"


def events(sandbox: Status, namespace: str) -> dict[str, str]:
    """Return the pod's events: reason to message."""
    with cluster.api(sandbox.name) as api:
        items = api.json("GET", f"/api/v1/namespaces/{namespace}/events")["items"]
    return {e["reason"]: e["message"] for e in items if e["involvedObject"]["name"] == "p"}


def versions(server: Cluster, namespace: str, body: Pod) -> list[Pod]:
    """Create the pod; return each of its versions until it is ready, as a watch tells them."""
    path = f"/api/v1/namespaces/{namespace}/pods"
    _, since = server.list(path)
    server.request("POST", path, body=body)
    found: list[Pod] = []
    for line in server.stream(path, query={"watch": True, "resourceVersion": since}, timeout=90):
        found.append(json.loads(line)["object"])
        if ready(found[-1]["status"]):
            return found
    raise AssertionError(f"the watch ended before the pod was ready: {found[-1:]}")


def seconds_to_ready(found: Pod) -> float:
    """Return how long after its start the pod was ready, by its own times: whole seconds."""
    (at,) = (c["lastTransitionTime"] for c in found["status"]["conditions"] if c["type"] == "Ready")
    started = (c["state"]["running"]["startedAt"] for c in found["status"]["containerStatuses"])
    return (parse_stamp(at) - parse_stamp(min(started))).total_seconds()


def test_healthy_pod(sandbox: Status, server: Cluster, namespace: str) -> None:
    """A pod runs first, unready, and is ready about a second later, as the kubelet would show."""
    seen = versions(server, namespace, pod())
    started = next(one for one in seen if one["status"].get("phase") == "Running")
    assert not ready(started["status"])
    condition = next(c for c in started["status"]["conditions"] if c["type"] == "Ready")
    assert condition["reason"] == "ContainersNotReady"
    assert condition["message"] == "containers with unready status: [app side]"
    found = seen[-1]
    assert 0 <= seconds_to_ready(found) < 20
    expected = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady"]
    assert conditions(found) == dict.fromkeys([*expected, "PodScheduled"], "True")
    for status in found["status"]["containerStatuses"]:
        assert (status["ready"], status["started"], status["restartCount"]) == (True, True, 0)
        assert status["state"]["running"]["startedAt"]
    assert found["status"]["podIP"]
    assert found["status"]["hostIP"] == "127.0.0.1"
    wait_for(lambda: {"Scheduled", "Pulled", "Started"} <= events(sandbox, namespace).keys())


def test_ready_after(server: Cluster, namespace: str) -> None:
    """The annotation opslib.dev/ready-after sets when the pod gets ready."""
    body = pod()
    body["metadata"]["annotations"]["opslib.dev/ready-after"] = "4s"
    assert seconds_to_ready(versions(server, namespace, body)[-1]) >= 3


def test_readiness_gates_open(sandbox: Status, namespace: str) -> None:
    """A pod with a readiness gate gets ready, its gate's condition being true."""
    create(sandbox, namespace, pod(readinessGates=[{"conditionType": "example.com/gate"}]))
    assert conditions(until(sandbox, namespace, ready))["example.com/gate"] == "True"


@pytest.mark.parametrize("how", ["annotation", "label", "tag"])
def test_image_that_cannot_be_pulled(sandbox: Status, namespace: str, how: str) -> None:
    """Such a pod stays Pending in ImagePullBackOff, with the image in the message and events."""
    image = "registry.example/app:v2-does-not-exist" if how == "tag" else "registry.example/app:v1"
    mode = "image-pull-error"
    create(
        sandbox,
        namespace,
        pod(mode if how == "annotation" else "", label=mode if how == "label" else "", image=image),
    )
    first = until(sandbox, namespace, lambda s: s.get("containerStatuses"))
    assert states(first)[0] in {"ErrImagePull", "ImagePullBackOff"}
    found = until(sandbox, namespace, waits("ImagePullBackOff"))
    assert found["status"]["phase"] == "Pending"
    assert conditions(found)["Ready"] == conditions(found)["ContainersReady"] == "False"
    assert conditions(found)["Initialized"] == conditions(found)["PodScheduled"] == "True"
    app, side = found["status"]["containerStatuses"]
    assert app["state"]["waiting"]["message"].startswith(f'Back-off pulling image "{image}"')
    assert (app["ready"], app["started"], app["restartCount"]) == (False, False, 0)
    assert ("running" in side["state"]) == (how == "tag"), "only the bad image is bad"
    wait_for(lambda: events(sandbox, namespace).keys() >= {"Pulling", "Failed", "BackOff"})
    told = events(sandbox, namespace)
    assert image in told["BackOff"]
    assert image in told["Pulling"]


def test_init_image_that_cannot_be_pulled(sandbox: Status, namespace: str) -> None:
    """A bad image of an init container keeps the pod from being initialized."""
    init = [{"name": "init", "image": "registry.example/init:does-not-exist"}]
    create(sandbox, namespace, pod(initContainers=init))
    found = until(
        sandbox,
        namespace,
        lambda s: "ImagePullBackOff" in str(s.get("initContainerStatuses")),
    )
    assert conditions(found)["Initialized"] == "False"
    assert states(found) == ["PodInitializing", "PodInitializing"]


def test_mended_image(sandbox: Status, namespace: str) -> None:
    """A pod whose image is mended in place starts and gets ready."""
    create(sandbox, namespace, pod(image="registry.example/app:does-not-exist"))
    until(sandbox, namespace, waits("ImagePullBackOff"))
    patch = {"spec": {"containers": [{"name": "app", "image": "registry.example/app:v1"}]}}
    with cluster.api(sandbox.name) as api:
        path = f"/api/v1/namespaces/{namespace}/pods/p"
        api.json("PATCH", path, patch, content_type="application/strategic-merge-patch+json")
    assert until(sandbox, namespace, ready)["status"]["phase"] == "Running"


def test_never_ready(sandbox: Status, namespace: str) -> None:
    """The pod runs and is not ready; its event says that the readiness probe failed."""
    create(sandbox, namespace, pod("never-ready"))
    wait_for(lambda: "Unhealthy" in events(sandbox, namespace))
    found = get(sandbox, namespace)
    assert found["status"]["phase"] == "Running"
    assert conditions(found)["Ready"] == "False"
    assert states(found) == ["running", "running"]
    assert not any(c["ready"] for c in found["status"]["containerStatuses"])
    said = events(sandbox, namespace)["Unhealthy"]
    assert said == "Readiness probe failed: HTTP probe failed with statuscode: 503"
    version = found["metadata"]["resourceVersion"]
    time.sleep(2)
    assert get(sandbox, namespace)["metadata"]["resourceVersion"] == version, "told once"


def test_ready_pod_that_gets_sick(sandbox: Status, namespace: str) -> None:
    """A live pod that gets the annotation loses its readiness, and finds it again without it."""
    create(sandbox, namespace, pod())
    until(sandbox, namespace, ready)
    for value, expected in (("never-ready", False), (None, True)):
        patch = {"metadata": {"annotations": {SIMULATE: value}}}
        with cluster.api(sandbox.name) as api:
            path = f"/api/v1/namespaces/{namespace}/pods/p"
            api.json("PATCH", path, patch, content_type="application/merge-patch+json")
        until(sandbox, namespace, ready if expected else lambda s: not ready(s))


@pytest.mark.parametrize(("code", "reason"), [("1", "Error"), ("137", "OOMKilled")])
def test_crash_loop(sandbox: Status, namespace: str, code: str, reason: str) -> None:
    """The containers end with the code, wait in CrashLoopBackOff, and start again and again."""
    body = pod("crash-loop")
    body["metadata"]["annotations"]["opslib.dev/exit-code"] = code
    create(sandbox, namespace, body)
    found = until(sandbox, namespace, waits("CrashLoopBackOff"))
    app = found["status"]["containerStatuses"][0]
    assert app["lastState"]["terminated"]["exitCode"] == int(code)
    assert app["lastState"]["terminated"]["reason"] == reason
    assert app["state"]["waiting"]["message"].startswith(
        "back-off 5s restarting failed container=app"
    )
    assert found["status"]["phase"] == "Running"
    assert conditions(found)["Ready"] == "False"
    assert "Back-off restarting failed container" in wait_for(
        lambda: events(sandbox, namespace).get("BackOff")
    )
    if code == "1":

        def again(status: Pod) -> bool:
            return bool(
                status["containerStatuses"][0]["restartCount"] == 1
                and waits("CrashLoopBackOff")(status)
            )

        later = until(sandbox, namespace, again)["status"]["containerStatuses"][0]
        assert "back-off 10s" in later["state"]["waiting"]["message"]


def job(mode: str) -> dict[str, Any]:
    spec = pod(mode)
    spec["metadata"].pop("name")
    spec["spec"]["restartPolicy"] = "Never"
    return {"metadata": {"name": "j"}, "spec": {"template": spec, "backoffLimit": 0}}


@pytest.mark.parametrize(("mode", "condition"), [("", "Complete"), ("crash-loop", "Failed")])
def test_jobs_end(sandbox: Status, namespace: str, mode: str, condition: str) -> None:
    """A Job's pod completes; one that crashes and may not restart makes the Job fail."""
    path = f"/apis/batch/v1/namespaces/{namespace}/jobs"
    with cluster.api(sandbox.name) as api:
        api.json("POST", path, job(mode))

        def ended() -> bool:
            found = api.json("GET", f"{path}/j")["status"].get("conditions", [])
            return any(c["type"] == condition and c["status"] == "True" for c in found)

        wait_for(ended)


def test_deleted_pod_goes(sandbox: Status, namespace: str) -> None:
    """A pod that is deleted is gone soon."""
    create(sandbox, namespace, pod())
    path = f"/api/v1/namespaces/{namespace}/pods/p"
    until(sandbox, namespace, ready)
    with cluster.api(sandbox.name) as api:
        api.json("DELETE", path)
        wait_for(lambda: api.send("GET", path)[0] == 404)


def test_logs_answer(sandbox: Status, namespace: str) -> None:
    """Kubectl reads each container's log, its tail, that of the last start, and follows it."""
    create(sandbox, namespace, pod())
    until(sandbox, namespace, ready)
    base = [str(kubectl()), "--kubeconfig", str(sandbox.kubeconfig), "-n", namespace, "logs", "p"]

    def logs(*more: str) -> str:
        return subprocess.run(
            [*base, *more], stdout=subprocess.PIPE, text=True, timeout=30, check=True
        ).stdout

    assert "listening on :8080\n" in logs("-c", "app")
    assert len(logs("-c", "side", "--tail=2").splitlines()) == 2
    assert "fatal" in logs("-c", "app", "--previous")
    assert logs("--all-containers", "--prefix").count("starting") == 2


def test_followed_log(sandbox: Status, namespace: str) -> None:
    """Who follows a log sees a line that is said later."""
    create(sandbox, namespace, pod())
    until(sandbox, namespace, ready)
    base = [str(kubectl()), "--kubeconfig", str(sandbox.kubeconfig), "-n", namespace, "logs", "p"]
    heard: list[str] = []
    with subprocess.Popen(
        [*base, "-c", "app", "-f", "--tail=0"], stdout=subprocess.PIPE, text=True
    ) as follower:
        stream = follower.stdout
        assert stream is not None
        reader = threading.Thread(target=lambda: heard.append(stream.readline()))
        reader.start()
        try:

            def spoken() -> list[str]:
                cluster.say(sandbox.name, f"hello {namespace}")
                return heard

            wait_for(spoken)
        finally:
            follower.kill()
            reader.join()
    assert heard == [f"hello {namespace}\n"]


def test_stages_agree_on_what_is_simulated() -> None:
    """Each pod stage but the deletion reads the mode by the same expression."""
    read: set[str] = set()
    names: list[str] = []
    for entry in files("opslib.sandbox").joinpath("stages").iterdir():
        stage = yaml.safe_load(entry.read_text())
        assert entry.name == f"{stage['metadata']['name']}.yaml"
        if stage["spec"]["resourceRef"]["kind"] == "Pod" and "delete" not in entry.name:
            keys = [e["jq"]["key"] for e in stage["spec"]["selector"]["matchExpressions"]]
            read |= {key for key in keys if SIMULATE in key}
            names.append(entry.name)
            assert any(SIMULATE in key for key in keys)
    assert len(names) == 9
    assert len(read) == 1
