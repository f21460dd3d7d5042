"""Upstream's integration tests, and those of its controller's own process, on what opslib sealed.

https://github.com/bitnami-labs/sealed-secrets/tree/v0.40.0 : integration/controller_test.go,
pkg/controller/{controller,main,server}_test.go. ``upstream.py`` says which row is which test.
"""

from __future__ import annotations

import contextlib
import functools
import json
import subprocess
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from opslib.kube.client import Cluster
from opslib.sandbox import cluster as sandboxes
from opslib.sandbox.cluster import Status
from opslib.sandbox.sealed import NAME
from opslib.seal import age, certificates
from opslib.seal.controller import Controller
from opslib.seal.sealed import read_sealed
from opslib.seal.sealing import Options, seal
from opslib.seal.secret import read_secrets
from opslib.seal.wire import DOMAIN, Scope

from . import parts
from .conftest import Verb
from .parts import Pair, dumped, secret
from .running import Running, defined, running, until

TRUE = "true"
MANAGED, PATCH = f"{DOMAIN}/managed", f"{DOMAIN}/patch"
OLD = {"foo": "bar1", "foo2": "bar2"}
DAY = timedelta(days=1)


@contextlib.contextmanager
def _home(sandbox: Status, server: Cluster) -> Iterator[str]:
    """Make a namespace for a controller, which goes with it."""
    name = f"t-{uuid.uuid4().hex[:10]}"
    sandboxes.make_namespace(sandbox.name, name, timeout=120)
    try:
        yield name
    finally:
        server.request("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture(scope="module")
def definitions(server: Cluster) -> Iterator[None]:
    """Define SealedSecrets for the tests of this file, and find the controllers' programs."""
    for version in (parts.NEWEST, parts.OLDER[0]):
        parts.controller(version)
    with defined(server):
        yield


@pytest.fixture(scope="module")
def controller(
    sandbox: Status,
    server: Cluster,
    definitions: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Running]:
    """Run a controller for all namespaces but those of the other controllers here."""
    del definitions
    folder = tmp_path_factory.mktemp("controller")
    fast = ("--rate-limit=1000", "--rate-limit-burst=1000", "--kubeclient-qps=-1")
    with _home(sandbox, server) as name, running(sandbox.name, server, name, folder, *fast) as one:
        yield one


@pytest.fixture
def sealed(controller: Running) -> Callable[..., dict[str, Any]]:
    """Return what seals a Secret for the running controller."""
    cert = certificates.parse(
        Controller(controller.cluster, controller.namespace).certificate(), ""
    )

    def make(document: dict[str, Any], options: Options | None = None) -> dict[str, Any]:
        (made,) = seal(read_secrets(dumped(document), "in"), cert, options or Options())
        return made.manifest

    return make


def _marked(values: dict[str, str], namespace: str, **metadata: Any) -> dict[str, Any]:
    return secret(values, "s", namespace, metadata={"labels": {"mylabel": "myvalue"}, **metadata})


def _synced(controller: Running, namespace: str, name: str = "s") -> None:
    until(lambda: controller.synced(namespace, name), f"{name} unsealed", 30)


def _refused(controller: Running, namespace: str, name: str = "s") -> None:
    """Wait until the controller has given up on a SealedSecret."""
    key = f"{namespace}/{name}"
    until(
        lambda: any(
            key in line and "giving up" in line for line in controller.log.read_text().splitlines()
        ),
        f"end of the tries for {key}",
        30,
    )


def _until_holds(controller: Running, namespace: str, name: str, wanted: dict[str, bytes]) -> None:
    until(lambda: controller.secret(namespace, name) == wanted, f"Secret of {sorted(wanted)}", 30)


def _judged(controller: Running, namespace: str, name: str) -> bool:
    return controller.synced(namespace, name) is not None


def _told(controller: Running, namespace: str, name: str) -> bool:
    return "ErrUnsealFailed" in controller.events(namespace, name)


def _another(controller: Running, namespace: str, name: str, uid: str) -> bool:
    """Tell whether there is a Secret other than the one that had this uid."""
    found = _live(controller, namespace, name)
    return found is not None and found["metadata"]["uid"] != uid


def _live(controller: Running, namespace: str, name: str = "s") -> dict[str, Any] | None:
    return controller.cluster.find(f"/api/v1/namespaces/{namespace}/secrets/{name}")


def _create(controller: Running, document: dict[str, Any]) -> None:
    namespace = document["metadata"]["namespace"]
    controller.cluster.request("POST", f"/api/v1/namespaces/{namespace}/secrets", body=document)


def _delete(controller: Running, namespace: str) -> None:
    controller.cluster.request("DELETE", f"/api/v1/namespaces/{namespace}/secrets/s")


Sealed = Callable[..., dict[str, Any]]


def test_simple_change(controller: Running, sealed: Sealed, namespace: str) -> None:
    """Create, update, renamed and appended keys: the Secret is what was sealed last."""
    states = ({"foo": "bar"}, {"foo": "bar2"}, {"foo2": "bar2"}, {"foo2": "bar2", "more": "x"})
    for values in states:
        controller.apply(sealed(_marked(values, namespace)), namespace)
        wanted = {key: text.encode() for key, text in values.items()}
        _until_holds(controller, namespace, "s", wanted)
        _synced(controller, namespace)
    found = _live(controller, namespace)
    assert found is not None
    assert found["metadata"]["labels"] == {"mylabel": "myvalue"}
    assert [owner["name"] for owner in found["metadata"]["ownerReferences"]] == ["s"]
    until(lambda: "Unsealed" in controller.events(namespace, "s"), "event")


PRESENT: dict[str, tuple[dict[str, str] | None, dict[str, str], dict[str, str], int]] = {
    "managed": (OLD, {MANAGED: TRUE}, {"foo": "bar"}, 1),
    "managed and patch": (OLD, {MANAGED: TRUE, PATCH: TRUE}, {"foo": "bar", "foo2": "bar2"}, 1),
    "patch": (OLD, {PATCH: TRUE}, {"foo": "bar", "foo2": "bar2"}, 0),
    "patch and empty": (None, {PATCH: TRUE}, {"foo": "bar"}, 0),
}
"""The Secret that is there: its values (None: no data, no labels), its annotations, the values
afterwards, the number of its owners."""


@pytest.mark.parametrize("row", PRESENT)
def test_secret_already_exists(
    controller: Running, sealed: Sealed, namespace: str, row: str
) -> None:
    """Managed is taken over, patch is filled in, both are both; labels and annotations so too."""
    values, annotations, wanted, owners = PRESENT[row]
    labels = {"labels": {"mylabel": "myvalue", "anotherlabel": "anothervalue"}} if values else {}
    _create(
        controller,
        secret(values or {}, "s", namespace, metadata={**labels, "annotations": annotations}),
    )
    controller.apply(sealed(_marked({"foo": "bar"}, namespace)), namespace)
    _synced(controller, namespace)
    assert controller.secret(namespace, "s") == {k: v.encode() for k, v in wanted.items()}
    found = _live(controller, namespace)
    assert found is not None
    metadata = found["metadata"]
    patched = PATCH in annotations
    assert metadata.get("annotations") == (annotations if patched else None)
    kept = {"anotherlabel": "anothervalue"} if patched and values else {}
    assert metadata["labels"] == {"mylabel": "myvalue", **kept}
    assert len(metadata.get("ownerReferences") or []) == owners


def test_an_owned_secret_is_made_again(controller: Running, sealed: Sealed, namespace: str) -> None:
    """Recreation with an owned Secret, and with one that was taken over."""
    controller.apply(sealed(_marked({"foo": "bar"}, namespace)), namespace)
    _create(controller, secret(OLD, "t", namespace, metadata={"annotations": {MANAGED: TRUE}}))
    controller.apply(sealed(secret({"foo": "bar"}, "t", namespace)), namespace)
    for name in ("s", "t"):
        _synced(controller, namespace, name)
        before = _live(controller, namespace, name)
        assert before is not None
        controller.cluster.request("DELETE", f"/api/v1/namespaces/{namespace}/secrets/{name}")
        again = functools.partial(_another, controller, namespace, name, before["metadata"]["uid"])
        until(again, "another Secret", 30)
        assert controller.secret(namespace, name) == {"foo": b"bar"}


@pytest.mark.parametrize("annotations", [{}, {PATCH: TRUE}], ids=["unmanaged", "patch"])
def test_a_secret_of_somebody_is_not_made_again(
    controller: Running, sealed: Sealed, namespace: str, annotations: dict[str, str]
) -> None:
    """Recreation without ownership: what was deleted stays away."""
    _create(controller, secret(OLD, "s", namespace, metadata={"annotations": annotations}))
    controller.apply(sealed(_marked({"foo": "bar"}, namespace)), namespace)
    if annotations:
        _synced(controller, namespace)
    else:
        _refused(controller, namespace)
        assert controller.secret(namespace, "s") == {k: v.encode() for k, v in OLD.items()}
    _delete(controller, namespace)
    # What comes later is done: by then the controller has seen the deletion, and let it be.
    controller.apply(sealed(secret({"a": "b"}, "later", namespace)), namespace)
    _synced(controller, namespace, "later")
    assert controller.secret(namespace, "s") is None


def test_wrong_key(controller: Running, namespace: str, two: Pair) -> None:
    """Same name, wrong key: no Secret, an event, and the status says so."""
    (made,) = seal(
        read_secrets(dumped(_marked({"foo": "bar"}, namespace)), "in"), two.certificate, Options()
    )
    controller.apply(made.manifest, namespace)
    until(lambda: controller.synced(namespace, "s") is False, "a refusal", 30)
    until(lambda: "ErrUnsealFailed" in controller.events(namespace, "s"), "event", 30)
    assert controller.secret(namespace, "s") is None


def test_type_and_immutable(controller: Running, sealed: Sealed, namespace: str) -> None:
    """Custom type, immutable; and the update of an immutable one fails with its reason."""
    text = '{"auths": {"https://index.docker.io/v1/": {"auth": "c3R...zE2"}}}'
    document = secret(
        {".dockerconfigjson": text},
        "s",
        namespace,
        type="kubernetes.io/dockerconfigjson",
        immutable=True,
    )
    controller.apply(sealed(document), namespace)
    _synced(controller, namespace)
    found = _live(controller, namespace)
    assert found is not None
    assert (found["type"], found["immutable"]) == ("kubernetes.io/dockerconfigjson", True)
    assert controller.secret(namespace, "s") == {".dockerconfigjson": text.encode()}
    other = {**document, "data": secret({".dockerconfigjson": '{"auths": {}}'})["data"]}
    controller.apply(sealed(other), namespace)
    until(lambda: controller.synced(namespace, "s") is False, "a refusal", 30)
    until(
        lambda: (
            "the target Secret is immutable"
            in controller.events(namespace, "s").get("ErrUpdateFailed", "")
        ),
        "event",
        30,
    )


ELSEWHERE = [
    (Scope.STRICT, "name", False),
    (Scope.STRICT, "namespace", False),
    (Scope.CLUSTER, "name", True),
    (Scope.CLUSTER, "namespace", True),
    (Scope.NAMESPACE, "name", True),
    (Scope.NAMESPACE, "namespace", False),
]


def test_different_name_and_namespace(controller: Running, sealed: Sealed, namespace: str) -> None:
    """Each scope under another name and from another namespace: as the scope allows, no more."""
    for scope, what, opens in ELSEWHERE:
        name = f"{scope}-{what}"
        document = secret(
            {"foo": "bar"},
            "elsewhere" if what == "name" else name,
            "elsewhere" if what == "namespace" else namespace,
            metadata={"annotations": {scope.annotation: TRUE} if scope.annotation else {}},
        )
        manifest = sealed(document)
        manifest["metadata"].update(name=name, namespace=namespace)
        controller.apply(manifest, namespace)
        until(functools.partial(_judged, controller, namespace, name), name, 30)
        assert controller.synced(namespace, name) is opens, name
        assert controller.secret(namespace, name) == ({"foo": b"bar"} if opens else None)
        if not opens:
            until(functools.partial(_told, controller, namespace, name), f"event of {name}", 30)


@pytest.mark.parametrize("scope", list(Scope))
def test_rotate(controller: Running, sealed: Sealed, namespace: str, scope: Scope) -> None:
    """Rotate, RotateKeepScope: other ciphertexts, under the same scope, which unseal as before."""
    here = Controller(controller.cluster, controller.namespace, per_second=1000)
    annotations = {scope.annotation: TRUE} if scope.annotation else {}
    manifest = sealed(_marked({"foo": "temporal"}, namespace, annotations=annotations))
    fresh = here.rotate(manifest)
    assert fresh.keys() == {"foo"}
    assert fresh["foo"] != manifest["spec"]["encryptedData"]["foo"]
    manifest["spec"]["encryptedData"] = fresh
    assert here.verify(manifest)
    for other in set(Scope) - {scope}:
        wrong = json.loads(json.dumps(manifest))
        wrong["metadata"]["annotations"] = {other.annotation: TRUE} if other.annotation else {}
        assert not here.verify(wrong)


@pytest.mark.parametrize(
    "probe",
    ['{{ fail "no" }}', '{{ if eq .password "hunter2" }}{{ fail "guessed it" }}{{ end }}'],
)
def test_verify_and_rotate_ignore_the_template(
    controller: Running, sealed: Sealed, namespace: str, probe: str
) -> None:
    """AttemptUnsealIgnoresTemplate, RotateIgnoresTemplate: also a template that always fails.

    The controller answers the same whatever a template asks of the values; and it is not even
    sent one to rotate.
    """
    here = Controller(controller.cluster, controller.namespace, per_second=1000)
    manifest = sealed(secret({"password": "hunter2"}, "s", namespace))
    manifest["spec"]["template"]["data"] = {"probe": probe}
    assert here.verify(manifest)
    assert here.rotate(manifest).keys() == {"password"}
    whole = here._post("/v1/rotate", manifest)
    assert whole["spec"]["encryptedData"].keys() == {"password"}


def test_http(controller: Running, seal: Verb) -> None:
    """HttpCert, HttpReadyz: the certificate of the newest key, by the service proxy."""
    done = seal(*controller.words, "--fetch-cert")
    assert done.code == 0, done.err
    assert certificates.parse(done.out.encode(), "").fingerprint == controller.fingerprint()
    base = f"/api/v1/namespaces/{controller.namespace}/services/http:{NAME}:http/proxy"
    assert b"".join(controller.cluster.stream(f"{base}/readyz")) == b"ok"
    assert "before v0.40.0" not in done.err
    fetched = Controller(controller.cluster, controller.namespace)
    assert fetched.certificate()
    assert fetched.news() == []


def test_the_namespace_of_the_kubeconfig(
    seal: Verb, controller: Running, namespace: str, tmp_path: Path
) -> None:
    """A Secret without a namespace gets that of --namespace, else that of the kubeconfig."""
    text = yaml.safe_load(Path(controller.kubeconfig).read_text())
    text["contexts"][0]["context"]["namespace"] = namespace
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(text))
    words = ("--kubeconfig", tmp_path / "kubeconfig", *controller.words[2:])
    document = dumped(secret({"foo": "bar"}, "nons", ""))
    for more, wanted in (((), namespace), (("-n", "argns"), "argns")):
        done = seal(*words, *more, stdin=document)
        assert done.code == 0, done.err
        (made,) = read_sealed(done.out.encode(), "out")
        assert made.namespace == wanted
        here = Controller(controller.cluster, controller.namespace, per_second=1000)
        assert here.verify(made.manifest)


def test_each_kubeseal_and_the_controller(
    controller: Running, sealed: Sealed, namespace: str
) -> None:
    """The real kubeseals validate what is sealed here, and refuse it under another name.

    What each seals for the controller's certificate is judged the same by both.
    """
    here = Controller(controller.cluster, controller.namespace, per_second=1000)
    good = sealed(secret({"a": "value"}, "s", namespace))
    bad = {**good, "metadata": {**good["metadata"], "name": "other"}}
    document = dumped(secret({"a": "value"}, "s", namespace))
    for version in (*parts.OLDER, parts.NEWEST):
        words = [str(parts.kubeseal(version)), *controller.words]
        for manifest, right in ((good, True), (bad, False)):
            done = subprocess.run(
                [*words, "--validate"], input=dumped(manifest), capture_output=True, check=False
            )
            assert (done.returncode == 0) is right, (version, done.stderr)
        theirs = subprocess.run(words, input=document, capture_output=True, check=True).stdout
        assert here.verify(json.loads(theirs))


@pytest.fixture
def home(sandbox: Status, server: Cluster, definitions: None) -> Iterator[str]:
    """Return a namespace for a controller of the test's own."""
    del definitions
    with _home(sandbox, server) as name:
        yield name


Start = Callable[..., contextlib.AbstractContextManager[Running]]


@pytest.fixture
def start(sandbox: Status, server: Cluster, home: str, tmp_path: Path) -> Start:
    """Return what runs a controller for its own namespace only, with options."""

    def begin(*options: str, program: Path | None = None) -> Any:
        words = ("--all-namespaces=false", *options)
        return running(sandbox.name, server, home, tmp_path, *words, program=program)

    return begin


def _with_key(
    server: Cluster, home: str, pair: Pair, name: str, *, age: timedelta, labelled: bool = True
) -> None:
    """Put a key into the cluster as the controller would have, of some age."""
    made = pair.secret(name)
    cert = pair.certificate_pem(datetime.now(UTC) - age)
    made["data"]["tls.crt"] = parts.secret({"x": cert})["data"]["x"]
    if not labelled:
        del made["metadata"]["labels"]
    server.request("POST", f"/api/v1/namespaces/{home}/secrets", body=made)


def _opens(running_: Running, home: str, pair: Pair) -> bool:
    """Tell whether a controller unseals what was sealed for a key."""
    (made,) = seal(
        read_secrets(dumped(secret({"a": "b"}, "x", home)), "in"), pair.certificate, Options()
    )
    return Controller(running_.cluster, home).verify(made.manifest)


def test_key_cutoff(server: Cluster, home: str, start: Start, one: Pair) -> None:
    """KeyCutoff: a key from before the cut-off is not sealed with any more, and still unseals."""
    _with_key(server, home, one, "sealed-secrets-keyold", age=DAY)
    now = format_datetime(datetime.now(UTC))
    with start(f"--key-cutoff-time={now}") as running_:
        assert running_.fingerprint() != one.fingerprint
        assert _opens(running_, home, one)


def test_renew_stale_key(server: Cluster, home: str, start: Start, one: Pair) -> None:
    """RenewStaleKey, InitKeyRotation: a key as old as the period is followed by another.

    The values of the old one are then what ``opslib seal status --stale`` tells.
    """
    _with_key(server, home, one, "sealed-secrets-keyold", age=29 * DAY + timedelta(hours=24))
    with start("--key-renew-period=720h") as running_:
        until(lambda: running_.fingerprint() != one.fingerprint, "another key", 30)
        assert _opens(running_, home, one)


def test_legacy_secret(
    seal: Verb, server: Cluster, home: str, *, start: Start, one: Pair, tmp_path: Path
) -> None:
    """LegacySecret, ReuseKey: a key without label, named as the prefix, is used; none is made.

    It has to be in the backup, too.
    """
    _with_key(server, home, one, "sealed-secrets-key", age=DAY, labelled=False)
    with start("--key-renew-period=0") as running_:
        assert running_.fingerprint() == one.fingerprint
        assert _opens(running_, home, one)
        words = (*running_.words, "-w", tmp_path / "s.yaml")
        assert seal(*words, stdin=dumped(secret({"a": "b"}, "s", home))).code == 0
        (tmp_path / "key.pem").write_bytes(one.pem)
        proof = ("--in", tmp_path / "s.yaml", "--live", *running_.words)
        done = seal("backup", tmp_path / "key.pem", *proof)
        assert done.code == 0, done.out + done.err
        (tmp_path / "key.pem").write_bytes(parts.pair().pem)
        lacking = seal("backup", tmp_path / "key.pem", *proof)
        assert lacking.code == 1
        assert f"{one.fingerprint}  is a key of the cluster and not in the backup" in lacking.out


def test_an_older_controller_is_told(
    seal: Verb, server: Cluster, home: str, start: Start, tmp_path: Path
) -> None:
    """The real v0.27.1 works with what is sealed here, and each use of it warns of its version.

    Its metrics name the version; without them, that it lacks what came with v0.39.
    """
    old = parts.OLDER[0]
    told = f"is {old}: before v0.40.0 whoever can reach it"
    path = tmp_path / "s.yaml"
    with start(program=parts.controller(old)) as running_:
        words = running_.words
        done = seal(*words, "-w", path, stdin=dumped(secret({"a": "b"}, "s", home)))
        assert done.code == 0, done.err
        assert done.err.count(told) == 1
        for verb in (("--validate", "-f", path), ("--re-encrypt", "-f", path)):
            done = seal(*verb, *words)
            assert (done.code, done.err.count(told)) == (0, 1), done.err
        (made,) = read_sealed(path.read_bytes(), "s.yaml")
        running_.apply(made.manifest, home)
        until(lambda: running_.secret(home, "s") == {"a": b"b"}, "Secret", 30)
        server.request("DELETE", f"/api/v1/namespaces/{home}/services/{NAME}-metrics")
        done = seal(*words, "--validate", "-f", path)
        assert "is older than v0.39.0: before v0.40.0" in done.err


def test_the_image_tells_the_version(server: Cluster, namespace: str) -> None:
    """Where the metrics are not there: by the image of the pods behind the Service."""
    pods = f"/api/v1/namespaces/{namespace}/pods"
    service = {"metadata": {"name": "x"}, "spec": {"selector": {"app": "x"}}}
    for number, (image, wanted) in enumerate(
        [
            ("docker.io/bitnami/sealed-secrets-controller:0.27.1", "is v0.27.1: before"),
            ("registry:5000/sealed-secrets-controller:v0.39.1@sha256:" + "0" * 64, "is v0.39.1:"),
            ("bitnami/sealed-secrets-controller:0.40.0", ""),
            ("bitnami/sealed-secrets-controller:1.0.0", ""),
            ("bitnami/sealed-secrets-controller:latest", ""),
        ]
    ):
        name = f"p{number}"
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": {"app": name}},
            "spec": {"schedulerName": "nobody", "containers": [{"name": "c", "image": image}]},
        }
        server.request("POST", pods, body=pod)
        service["spec"] = {"selector": {"app": name}}
        told = age.warning(server, namespace, service, f"/api/v1/namespaces/{namespace}/none")
        assert wanted in told if wanted else not told or ":latest" in image, (image, told)
